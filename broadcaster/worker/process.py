"""A process that runs sync jobs, one at a time, and can be killed at a job's deadline."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING

import msgspec

from broadcaster.errors import JobError, JobTimedOut
from broadcaster.worker.frames import read_dump
from broadcaster.worker.orders import DUMP_SIGNAL, NONCE_BYTES, Report, order_frame
from broadcaster.worker.tries import with_place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from broadcaster.worker.frames import Place
    from broadcaster.worker.orders import Order

STARTUP_SECONDS = 30.0
WAKE_SECONDS = 10.0
"""Seconds that a process which has run a job may take to begin the next."""

MAX_LINE = 1_048_576
"""Bytes; a report has a traceback of `MAX_TRACEBACK` characters of up to six bytes each."""

DUMP_SECONDS = 0.2
"""What a process gets to say where it hangs before it is killed."""

MAX_DUMPED = 200
"""Lines; `faulthandler` writes a hundred frames at most."""

BOTTOM = b'  File "<string>"'
"""How the outermost frame is told, that of `BOOTSTRAP`."""

BOOTSTRAP = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from broadcaster.worker.child import main
main(int(sys.argv[2]), sys.argv[3:])
"""


class NeverBegan(Exception):
    """The process had ended before it began the job, which can be given to another."""


class JobProcess:
    """
    A process of its own session; make it with `start_process`.

    Args:
        lifeline: descriptor whose end tells the process that the worker is gone; it is
            closed when the process is killed.

    Attributes:
        jobs: how many have ended in it.
        expiry: when it ends unless it gets a job before.
    """

    def __init__(self, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self._process = process
        self._lifeline = lifeline
        self._busy = False
        self._noisy = False
        self.jobs = 0
        self.expiry: asyncio.TimerHandle | None = None

    @property
    def alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    async def run(self, order: Order, limit: float) -> Report:
        """
        Run the job of `order`; the caller kills the process if it raises or is worn.

        The time begins when the job does: a new process has imported what it needs, for
        which it has `STARTUP_SECONDS`.

        Raises:
            NeverBegan: it has run jobs before, and had ended.
            JobTimedOut: it took longer than `limit` seconds.
            JobError: the process ended without a report.
        """
        self._busy = True
        nonce = secrets.token_hex(NONCE_BYTES // 2).encode()
        patience = WAKE_SECONDS if self.jobs else STARTUP_SECONDS
        said = await _within(patience, self._begin(nonce, order), "took longer to start than")
        if said is None and self.jobs:
            raise NeverBegan(f"its process had ended after {self.jobs} jobs")
        if said == b"":
            try:
                said = await _within(limit, self._said(nonce), "ran longer than")
            except JobTimedOut as error:
                raise with_place(error, await self._hung_at()) from None
        if said is None:
            raise JobError(f"its process ended with {await self._how()} before the job did")
        try:
            report = msgspec.json.decode(said, type=Report)
        except msgspec.DecodeError:
            raise JobError("its process wrote a report that cannot be read") from None
        if self._noisy:
            report.worn = report.worn or "something else was written where its reports are"
        self.jobs += 1
        self._busy = False
        return report

    async def kill(self) -> None:
        """Kill it, and what it has started, and wait for its end."""
        if self.expiry is not None:
            self.expiry.cancel()
        # Of one that was idle when it ended nothing is left, and its number may be another's.
        if self._busy or self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._busy = False
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()

    async def _begin(self, nonce: bytes, order: Order) -> bytes | None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._process.stdin.write(order_frame(nonce, order))
                await self._process.stdin.drain()
        return await self._said(nonce)

    async def _said(self, nonce: bytes) -> bytes | None:
        """Return what stands behind `nonce` in the next line that begins with it."""
        stream = self._process.stdout
        if stream is None:
            return None
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # too long to be a report
                line = b"?"
            if line.startswith(nonce):
                return line[NONCE_BYTES:].strip()
            if not line:
                return None
            self._noisy = self._noisy or line != b"\n"

    async def _hung_at(self) -> Sequence[Place]:
        """Return where its main thread is, if it can say so in `DUMP_SECONDS`."""
        stream, lines = self._process.stdout, list[bytes]()
        if stream is None:
            return ()
        # What is no frame may be a line of a job that is too long.
        with contextlib.suppress(TimeoutError, ProcessLookupError, ValueError):
            async with asyncio.timeout(DUMP_SECONDS):
                self._process.send_signal(DUMP_SIGNAL)
                while len(lines) < MAX_DUMPED and (line := await stream.readline()):
                    lines.append(line)
                    if line.startswith(BOTTOM):
                        break
        return read_dump(lines)

    async def _how(self) -> str:
        with contextlib.suppress(TimeoutError):  # it is ending, or has closed its pipe
            async with asyncio.timeout(1.0):
                await self._process.wait()
        code = self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


async def start_process(modules: Sequence[str]) -> JobProcess:
    """Start a process that imports `modules` and waits for its first order."""
    theirs, lifeline = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            BOOTSTRAP,
            json.dumps(sys.path),
            str(theirs),
            *modules,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
            start_new_session=True,
            pass_fds=(theirs,),
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(theirs)
    return JobProcess(process, lifeline)


async def _within(seconds: float, reading: Awaitable[bytes | None], what: str) -> bytes | None:
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError:
        raise JobTimedOut(f"{what} {seconds:g} s and was killed") from None
