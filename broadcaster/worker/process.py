"""Running a sync job in a process of its own, which can be killed at its deadline."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import msgspec

from broadcaster.errors import InvalidJob, JobError, JobFailed, JobTimedOut, UnknownJob
from broadcaster.worker.child import BOOTSTRAP, LENGTH, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

_BY_CODE = {error.code: error for error in (InvalidJob, JobFailed, UnknownJob)}


async def run_in_process(body: bytes, *, limit: float, modules: Sequence[str]) -> None:
    """
    Run the job in `body` and kill its process, and what it started, after `limit` seconds.

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
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limit):
            output = await _exchange(process, body)
            await process.wait()
    except TimeoutError:
        raise JobTimedOut(f"ran longer than {limit:g} s and was killed") from None
    finally:
        await _kill(process)
    _raise_for(output, process.returncode)


async def _exchange(process: asyncio.subprocess.Process, body: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise AssertionError("the process was started with pipes")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(LENGTH.pack(len(body)) + body)
        await process.stdin.drain()
    return await process.stdout.readline()


async def _kill(process: asyncio.subprocess.Process) -> None:
    # The group: also what the job itself has started.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()


def _raise_for(output: bytes, code: int | None) -> None:
    try:
        report = msgspec.json.decode(output, type=Report)
    except msgspec.DecodeError:
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        raise JobError(f"its process ended with {how} before the job did") from None
    if report.error:
        raise _BY_CODE.get(report.code, JobError)(report.error)
