"""
The processes in which a worker runs its sync jobs with a timeout.

A process belongs to one job at a time, so that killing it at the job's deadline hurts no
other. After a job that ended well and left nothing behind it waits for the next.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from functools import partial
from typing import TYPE_CHECKING

from broadcaster.errors import InvalidJob, JobError, JobFailed, ModelMissing, UnknownJob
from broadcaster.worker.process import NeverBegan, start_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.jobs.outcome import Verdict
    from broadcaster.worker.orders import Order, Report
    from broadcaster.worker.process import JobProcess

logger = logging.getLogger("broadcaster.worker")

IDLE_SECONDS = 60.0
"""How long a process waits for its next job."""

MAX_IDLE = 16
"""Processes that wait at once, at most; of more, the one that has waited longest ends."""

END_SECONDS = 5.0
"""How long a worker waits for killed processes when it ends."""

_BY_CODE: dict[str, Callable[[str], JobError]] = {
    **{error.code: error for error in (InvalidJob, JobFailed, UnknownJob)},
    ModelMissing.code: partial(ModelMissing, model="", key=None),
}


class JobProcesses:
    """
    As many processes as jobs run in them, and some that wait; of one event loop.

    Args:
        modules: what they import.
        jobs: how many each runs before another takes its place; 1 uses none again.
    """

    def __init__(self, modules: Sequence[str], *, jobs: int) -> None:
        self._modules = modules
        self._jobs = jobs
        self._all: set[JobProcess] = set()
        self._idle: list[JobProcess] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def idle(self) -> int:
        """How many wait for a job."""
        return len(self._idle)

    async def run(self, order: Order, *, limit: float) -> Verdict | None:
        """
        Run the job of `order` and kill its process, and what it started, after `limit` seconds.

        Returns what the job has said about itself.

        Raises:
            JobTimedOut: it was killed; see `JobProcess.run` for when the time begins.
            JobError: it raised, or its process ended without a report. `JobFailed`,
                `UnknownJob` and `InvalidJob` come through as themselves.
        """
        while (used := self._take()) is not None:
            try:
                return await self._run(used, order, limit)
            except NeverBegan as error:
                logger.debug("%s", error, extra={"event": "process_lost"})
        return await self._run(await self._start(), order, limit)

    async def aclose(self) -> None:
        """End all processes, those of jobs that still run included, and wait for it."""
        self._closed = True
        self._idle.clear()
        for process in list(self._all):
            self._end_soon(process)
        if self._ending:
            _, late = await asyncio.wait(self._ending, timeout=END_SECONDS)
            for task in late:
                task.cancel()

    def _take(self) -> JobProcess | None:
        """Return the process that was used last, whose memory is the likeliest to be at hand."""
        while self._idle:
            process = self._idle.pop()
            if process.expiry is not None:
                process.expiry.cancel()
            if process.alive:
                return process
            self._end_soon(process)
        return None

    async def _start(self) -> JobProcess:
        if self._closed:
            raise JobError("its worker has ended")
        process = await start_process(self._modules)
        if self._closed:  # meanwhile, and this one was not among those that were ended
            await process.kill()
            raise JobError("its worker has ended")
        self._all.add(process)
        return process

    async def _run(self, process: JobProcess, order: Order, limit: float) -> Verdict | None:
        try:
            report = await process.run(order, limit)
            if report.worn:
                text, fields = "the process of a job ends: %s", {"event": "process_worn"}
                logger.debug(text, report.worn, extra=fields)
            elif process.jobs < self._jobs and not self._closed:
                self._keep(process)
        finally:
            if process not in self._idle:
                await process.kill()
                self._all.discard(process)
        return _verdict(report)

    def _keep(self, process: JobProcess) -> None:
        loop = asyncio.get_running_loop()
        # Without the context of the job that has ended, which would be kept with it.
        empty = contextvars.Context()
        process.expiry = loop.call_later(IDLE_SECONDS, self._expire, process, context=empty)
        self._idle.append(process)
        if len(self._idle) > MAX_IDLE:
            self._end_soon(self._idle.pop(0))

    def _expire(self, process: JobProcess) -> None:
        self._idle.remove(process)
        self._end_soon(process)

    def _end_soon(self, process: JobProcess) -> None:
        self._all.discard(process)
        task = asyncio.create_task(process.kill())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _verdict(report: Report) -> Verdict | None:
    said = report.said
    verdict = None if said is None else said.verdict
    if not report.error:
        return verdict
    error = _BY_CODE.get(report.code, JobError)(report.error)
    error.add_note(report.traceback)
    raise error
