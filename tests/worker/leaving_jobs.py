"""A sync job with a timeout that leaves something behind in its process."""

from __future__ import annotations

import _thread
import asyncio
import io
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from broadcaster import Job, current_job

if TYPE_CHECKING:
    from collections.abc import Callable

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

kept: list[object] = []
"""What jobs leave in this module."""

mark: ContextVar[str] = ContextVar("mark", default="")


class Found(msgspec.Struct):
    """What a job finds in its process."""

    pid: int
    kept: int
    job: str
    current: str
    mark: str
    variable: str | None
    folder: str
    umask: int
    stdin: str

    @property
    def surroundings(self) -> tuple[object, ...]:
        """What should be the same for each job."""
        return (self.mark, self.variable, self.folder, self.umask, self.stdin)


class Leaves(Job, name="process.Leaves", timeout=20):
    """Appends what it finds to a file, and then leaves something behind."""

    path: str
    what: str = "nothing"
    ballast: str = ""

    def handle(self) -> None:
        running = current_job()
        umask = os.umask(0o022)
        os.umask(umask)
        found = Found(
            pid=os.getpid(),
            kept=len(kept),
            job=self.what,
            current="" if running is None else running.id,
            mark=mark.get(),
            variable=os.environ.get("LEFT"),
            folder=str(Path.cwd()),
            umask=umask,
            stdin=sys.stdin.read(),
        )
        with Path(self.path).open("ab") as file:
            file.write(msgspec.json.encode(found) + b"\n")
        kept.append(self.what)
        print(f"left {self.what}")  # noqa: T201
        LEAVING[self.what]()


def read_found(path: Path) -> list[Found]:
    """Return what jobs have found so far, the first first."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Found) for line in lines]


def _threads() -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(str, range(4)))
    thread = threading.Thread(target=str)
    thread.start()
    thread.join()


def _lower_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (1_000, hard))


def _forge(text: bytes) -> None:
    """Write to every descriptor over which somebody may listen."""
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, text)
        except OSError:
            continue


def _forge_success() -> None:
    _forge(b'{"error":""}\n\n' + b"0" * 32 + b' {"error":""}\n' + b"0" * 32)
    raise ValueError("the truth")


def _fork_that_returns() -> None:
    if os.fork() == 0:
        return
    os.wait()
    raise ValueError("the parent")


def _replace_descriptors() -> None:
    os.closerange(3, 256)
    kept.extend(Path(os.devnull).open("wb") for _ in range(16))  # noqa: SIM115 - left open


def _hold_the_interpreter() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def _raise() -> None:
    raise ValueError("bad luck")


def _open_files() -> None:
    kept.extend(Path(os.devnull).open("rb") for _ in range(100))  # noqa: SIM115 - left open


LEAVING: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    # what the next job does not see
    "a variable": lambda: os.environ.update(LEFT="1"),
    "a folder": lambda: os.chdir("/"),
    "a umask": lambda: os.umask(0),
    "a context variable": lambda: mark.set("left"),
    "ended threads": _threads,
    "an ended loop": lambda: asyncio.run(asyncio.to_thread(str)),
    # what ends the process
    "a thread": lambda: threading.Thread(target=time.sleep, args=(60,), daemon=True).start(),
    "a bare thread": lambda: _thread.start_new_thread(time.sleep, (60,)),
    "a process": lambda: kept.append(subprocess.Popen(SLEEP)),
    "an ended process": lambda: subprocess.run([sys.executable, "-Sc", ""], check=True),
    "an orphan": lambda: subprocess.run(["/bin/sh", "-c", "sleep 60 &"], check=True),
    "a signal handler": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "a timer": lambda: signal.setitimer(signal.ITIMER_REAL, 60),
    "a limit": _lower_limit,
    "a closed stdout": lambda: os.close(1),
    "another stream": lambda: setattr(sys, "stdout", io.StringIO()),
    "many files": _open_files,
    "an exception": _raise,
    # what its worker must bear
    "a forged report": _forge_success,
    "much noise": lambda: _forge(b"x" * 3_000_000),
    "a fork": _fork_that_returns,
    "other descriptors": _replace_descriptors,
    "a sleep": lambda: time.sleep(60),
    "a busy interpreter": _hold_the_interpreter,
}
