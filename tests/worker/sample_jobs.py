"""Jobs that the worker's tests run, here and in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from broadcaster.errors import JobFailed
from broadcaster.jobs.function import job
from broadcaster.jobs.job import Job

seen: list[str] = []
"""What has happened in this process."""

gates: dict[str, asyncio.Event] = {}
"""Events that jobs wait for."""


def gate(name: str) -> asyncio.Event:
    """Return the event that jobs with this `gate` wait for."""
    return gates.setdefault(name, asyncio.Event())


class Note(Job):
    text: str

    async def handle(self) -> None:
        seen.append(self.text)


class NoteInThread(Job):
    text: str

    def handle(self) -> None:
        seen.append(self.text)


class Failing(Job, tries=3, backoff=[0.01, 0.02]):
    text: str

    async def handle(self) -> None:
        seen.append(self.text)
        raise ValueError(self.text)


class FailingOnce(Job, tries=2):
    text: str

    async def handle(self) -> None:
        seen.append(self.text)
        if seen.count(self.text) == 1:
            raise ValueError("the first time")


class GivingUp(Job, tries=0):
    async def handle(self) -> None:
        seen.append("giving up")
        raise JobFailed("it makes no sense")


class Leaving(Job):
    """Raises what would end a process."""

    kind: str

    async def handle(self) -> None:
        if self.kind == "exit":
            raise SystemExit(3)
        raise KeyboardInterrupt


class LeavingInTask(Job):
    """Raises what would end a process in a task of its own."""

    how: str

    async def handle(self) -> None:
        if self.how == "gather":
            await asyncio.gather(_leave(), asyncio.sleep(0))
        elif self.how == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(_leave())
        else:
            task = asyncio.create_task(_leave_when_cancelled())
            await asyncio.sleep(0)
            task.cancel()
            await task


async def _leave() -> None:
    await asyncio.sleep(0)
    sys.exit(4)


async def _leave_when_cancelled() -> None:
    try:
        await asyncio.sleep(30)
    finally:
        sys.exit(4)


class LeavingInThread(Job):
    def handle(self) -> None:
        raise SystemExit(3)


class Cancelling(Job):
    async def handle(self) -> None:
        raise asyncio.CancelledError


class Waiting(Job):
    gate: str

    async def handle(self) -> None:
        seen.append(f"begins {self.gate}")
        try:
            await gates[self.gate].wait()
        except asyncio.CancelledError:
            seen.append(f"cancelled {self.gate}")
            raise
        seen.append(f"ends {self.gate}")


class TooLong(Job, timeout=0.05):
    async def handle(self) -> None:
        await asyncio.sleep(30)


class Blocking(Job):
    """Holds up the event loop, as it should not."""

    seconds: float

    async def handle(self) -> None:
        time.sleep(self.seconds)  # noqa: ASYNC251 - the point
        seen.append("blocked")


@job(timeout=20)
def write_in_process(path: str, text: str) -> None:
    print("this goes to stderr")  # noqa: T201
    Path(path).write_text(f"{text} {os.getpid()}", encoding="utf-8")


@job(timeout=0.2)
def hang_in_process(path: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(path).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
    time.sleep(60)


@job(timeout=60)
def hang_deaf_in_process() -> None:
    """Hears no signal but the last one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(60)


@job(timeout=60)
def hold_the_interpreter_in_process(path: str) -> None:
    """As `hang_in_process`, in C code that lets no other thread run."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(path).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
    re.match(r"(a+)+$", "a" * 60 + "b")


@job(timeout=20)
def fail_in_process() -> None:
    raise ValueError("bad luck")


@job(timeout=20, tries=5)
def give_up_in_process() -> None:
    raise JobFailed("never again")


@job(timeout=20)
def die_in_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deaf(Job, timeout=0.05):
    """Goes on when it is cancelled, for a while."""

    async def handle(self) -> None:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
            if "deaf" not in seen:
                seen.append("deaf")


class Touchy(Job, tries=2, backoff=0.01):
    """Fails, and says so when it is given up."""

    text: str

    async def handle(self) -> None:
        raise ValueError(self.text)

    async def failed(self, error: BaseException) -> None:
        seen.append(f"failed {type(error).__name__}: {error}")


class TouchyInThread(Job):
    text: str

    def handle(self) -> None:
        raise ValueError(self.text)

    def failed(self, error: BaseException) -> None:
        seen.append(f"failed {error}")
        raise RuntimeError("the hook fails, too")
