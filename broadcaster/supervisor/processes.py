"""
What every parent says to the processes that it has started: signals and lines.

``supervise``, ``work --processes``, ``serve --workers`` and ``dev`` do it by these; asyncio's own
way loses the exit code of a process that ends at that moment.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    import logging
    import signal

NOT_STARTED = 71
"""Exit code of a process that the system has refused to start."""


class Numbered(Protocol):
    """What a signal is sent to: an `asyncio.subprocess.Process`."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def returncode(self) -> int | None:
        """How it ended; None as long as asyncio has not noticed."""
        ...


def send_signal(process: Numbered, number: signal.Signals) -> None:
    """
    Send `process` a signal; nothing if it has ended.

    Up to Python 3.13 `Process.send_signal` looks first whether the process has ended, and takes
    its exit code away from asyncio if it just has: then it seems to have ended with 255.
    """
    if process.returncode is None and _is_ours(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _is_ours(pid: int) -> bool:
    """Whether `pid` is still that of a child: nobody has been told of its end."""
    if sys.platform != "linux":
        return True
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # its number may be somebody else's by now
        return False
    return True


def say(process: asyncio.subprocess.Process, line: str) -> None:
    """Write `line` to the standard input of `process`; nothing if it has closed that."""
    if process.stdin is not None and not process.stdin.is_closing():
        process.stdin.write(f"{line}\n".encode())


def refused(log: logging.Logger, error: OSError) -> int:
    """Tell `log` that a process could not be started; return `NOT_STARTED`."""
    log.error("no process can be started: %s", error, extra={"event": "spawn"})
    return NOT_STARTED
