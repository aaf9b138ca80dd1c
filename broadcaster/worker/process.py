"""Running a sync job in a process of its own, which can be killed at its deadline."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from broadcaster.errors import (
    InvalidJob,
    JobError,
    JobFailed,
    JobTimedOut,
    ModelMissing,
    UnknownJob,
)
from broadcaster.worker.child import BOOTSTRAP, LENGTH, READY, Order, Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.jobs.outcome import Verdict

__all__ = ["STARTUP_SECONDS", "Order", "run_in_process"]

STARTUP_SECONDS = 30.0
MAX_REPORT = 1_048_576
"""Bytes; a report has a traceback of `MAX_TRACEBACK` characters of up to six bytes each."""

_BY_CODE: dict[str, Callable[[str], JobError]] = {
    **{error.code: error for error in (InvalidJob, JobFailed, UnknownJob)},
    ModelMissing.code: partial(ModelMissing, model="", key=None),
}


async def run_in_process(order: Order, *, limit: float, modules: Sequence[str]) -> Verdict | None:
    """
    Run the job of `order` and kill its process, and what it started, after `limit` seconds.

    The time begins when the process has imported `modules`, for which it has
    `STARTUP_SECONDS`. Returns what the job has said about itself.

    Raises:
        JobTimedOut: it was killed.
        JobError: it raised, or its process ended without a report. `JobFailed`,
            `UnknownJob` and `InvalidJob` come through as themselves.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        BOOTSTRAP,
        json.dumps(sys.path),
        *modules,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_REPORT,
        start_new_session=True,
    )
    try:
        output = await _within(
            STARTUP_SECONDS,
            _begin(process, msgspec.json.encode(order)),
            "took longer to start than",
        )
        if output == READY:
            output = await _within(limit, _line(process), "ran longer than")
        if not output:  # it is ending, or closed its pipe; its exit code tells how
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await process.wait()
    finally:
        code = process.returncode
        await _kill(process)
    return _verdict(output, code)


async def _within(seconds: float, reading: Awaitable[bytes], what: str) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError:
        raise JobTimedOut(f"{what} {seconds:g} s and was killed") from None


async def _begin(process: asyncio.subprocess.Process, body: bytes) -> bytes:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(LENGTH.pack(len(body)) + body)
            await process.stdin.drain()
    return await _line(process)


async def _line(process: asyncio.subprocess.Process) -> bytes:
    return await process.stdout.readline() if process.stdout is not None else b""


async def _kill(process: asyncio.subprocess.Process) -> None:
    # The group: also what the job itself has started.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()


def _verdict(output: bytes, code: int | None) -> Verdict | None:
    try:
        report = msgspec.json.decode(output, type=Report)
    except msgspec.DecodeError:
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        raise JobError(f"its process ended with {how} before the job did") from None
    said = report.said
    verdict = None if said is None else said.verdict
    if not report.error:
        return verdict
    error = _BY_CODE.get(report.code, JobError)(report.error)
    error.add_note(report.traceback)
    raise error
