"""
The process between us and an embedded server; run as a program, standard library only.

Its standard input is a pipe whose other end we hold. When we end, however we end, the
pipe reads end-of-file, and the keeper stops the server and removes the runtime folder.
While the pipe is open it starts the server again whenever it dies. Should the keeper
itself be killed, the kernel ends the server (Linux only).

Usage: ``embedded_keeper.py RUNTIME_FOLDER SERVER_BINARY [SERVER_ARGUMENT...]``
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PID_FILE = "pid"
STOP_SECONDS = 5.0
LONGEST_PAUSE = 2.0
SHORT_LIFE = 1.0
MAX_SHORT_LIVES = 5
_PR_SET_PDEATHSIG = 1


def keep(folder: Path, command: list[str]) -> int:
    """Run `command` until standard input ends; return the exit code."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    short_lives = 0
    while short_lives < MAX_SHORT_LIVES:
        born = time.monotonic()
        server = _spawn(folder, command)
        if _input_ended_first(server, wake):
            _stop(server)
            shutil.rmtree(folder, ignore_errors=True)
            return 0
        short_lives = short_lives + 1 if time.monotonic() - born < SHORT_LIFE else 0
        pause = min(LONGEST_PAUSE, 0.05 * 2**short_lives)
        if _input_ends_within(pause):
            shutil.rmtree(folder, ignore_errors=True)
            return 0
    return 1


def _spawn(folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    (folder / "s").unlink(missing_ok=True)
    server = subprocess.Popen(  # noqa: S603 - the command comes from the launcher
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=_die_with_parent(),  # noqa: PLW1509 - this process has one thread
    )
    fresh = folder / f"{PID_FILE}.new"
    fresh.write_text(str(server.pid))
    fresh.rename(folder / PID_FILE)
    return server


def _input_ended_first(server: subprocess.Popen[bytes], wake: int) -> bool:
    while server.poll() is None:
        ready, _, _ = select.select([sys.stdin, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        if sys.stdin in ready and not os.read(0, 4096):
            return True
    return False


def _input_ends_within(seconds: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not os.read(0, 4096)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.send_signal(signal.SIGCONT)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _die_with_parent() -> Callable[[], Any] | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    return lambda: library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ignore(*_: object) -> None:
    """Be a handler, so that the wake-up descriptor is written."""


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), sys.argv[2:]))
