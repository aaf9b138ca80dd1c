"""The jobs of a run of chaos, as workers import them. Each does what its `Task` says."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from functools import cache

from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import WithoutOverlapping
from broadcaster.jobs.running import CurrentJob, require_current_job
from tests.chaos.plan import ADDED, BACKOFF, Deed, Task, added, deed
from tests.chaos.record import Record

CONTAINED_TIMEOUT = 60.0
HANG_SECONDS = 30.0
LITTER_SECONDS = 600
"""How long a process goes on that a job has left behind, if nobody ends it."""


class Flaw(Exception):
    """What a job raises that is to fail."""


class Async(Job, backoff=BACKOFF):
    task: Task

    async def handle(self) -> None:
        await _perform(self, self.task)


class Sync(Job, backoff=BACKOFF):
    task: Task

    def handle(self) -> None:
        _perform_sync(self, self.task)


class Contained(Job, timeout=CONTAINED_TIMEOUT, backoff=BACKOFF):
    """Runs in a process of its own, as sync jobs with a timeout do."""

    task: Task

    def handle(self) -> None:
        _perform_sync(self, self.task)


class Overlap(Job):
    task: Task

    def middleware(self) -> list[WithoutOverlapping]:
        return [WithoutOverlapping(self.task.group)]

    async def handle(self) -> None:
        await _perform(self, self.task)


class Unique(Job, unique="group"):
    group: str
    task: Task

    async def handle(self) -> None:
        await _perform(self, self.task)


class Until(Job, unique="group", unique_until="processing"):
    group: str
    task: Task

    async def handle(self) -> None:
        await _perform(self, self.task)


class Ordered(Job, ordered_by="group", backoff=BACKOFF):
    group: str
    task: Task

    async def handle(self) -> None:
        await _perform(self, self.task)


class Adder(Job):
    """Adds jobs to its batch."""

    task: Task

    async def handle(self) -> None:
        mine = await self.abatch()
        if mine is None:
            raise Flaw("the batch of an adder is gone")
        half = ADDED // 2
        for first in (0, half):
            more = [added(self.task.group, first + place) for place in range(half)]
            await mine.aadd([Async(task) for task in more])
        await _perform(self, self.task)


class Canceller(Job):
    """Cancels its batch."""

    task: Task

    async def handle(self) -> None:
        mine = await self.abatch()
        if mine is None:
            raise Flaw("the batch of a canceller is gone")
        await mine.acancel()
        await _perform(self, self.task)


async def _perform(job: Job, task: Task) -> None:
    current, record = require_current_job("chaos"), _record()
    await record.anote("start", task.key, **_facts(current, task))
    try:
        await asyncio.sleep(task.ms / 1000)
        mended = task.mendable and await record.ais_mended()
        what = _deed(task, current, mended=mended)
        if what == "hang":
            await record.anote("hang", task.key, **_facts(current, task))
            await asyncio.sleep(HANG_SECONDS)
    except asyncio.CancelledError:
        await record.anote("cut", task.key, **_facts(current, task))
        raise
    await record.anote(what, task.key, **_facts(current, task))
    _end(job, what)


def _perform_sync(job: Job, task: Task) -> None:
    current, record = require_current_job("chaos"), _record()
    record.note("start", task.key, **_facts(current, task))
    time.sleep(task.ms / 1000)
    what = _deed(task, current, mended=task.mendable and record.is_mended())
    if task.litters:
        subprocess.Popen(("sleep", str(LITTER_SECONDS)), stdin=subprocess.DEVNULL)
    record.note(what, task.key, **_facts(current, task))
    if what == "hang":
        time.sleep(HANG_SECONDS)
    _end(job, what)


def _deed(task: Task, current: CurrentJob, *, mended: bool) -> Deed:
    put_offs = current.past.postponed
    return deed(task, attempts=current.attempts, put_offs=put_offs, mended=mended)


def _facts(current: CurrentJob, task: Task) -> dict[str, object]:
    return {
        "job_id": current.id,
        "attempt": current.attempts,
        "token": current.token,
        "group": task.group,
    }


def _end(job: Job, what: Deed) -> None:
    match what:
        case "raise":
            raise Flaw("as planned")
        case "release":
            job.release(BACKOFF)
        case "put_off":
            job.release(1.0, count=False)
        case "fail":
            job.fail("as planned")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            return


@cache
def _record() -> Record:
    return Record.of_worker()
