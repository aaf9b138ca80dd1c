"""Running a job through one middleware, and what it says of itself then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.jobs.outcome import Limits, Past
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.protocol.payload import Payload

if TYPE_CHECKING:
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.middleware.contract import AsyncMiddleware
    from broadcaster.jobs.outcome import Verdict

ran: list[Job] = []


def current(job: Job, *, number: int = 1, lease: float = 30.0, postponed: int = 0) -> CurrentJob:
    payload, past = Payload(id=f"{number:032x}", job=job.options.name), Past(postponed=postponed)
    return CurrentJob(
        payload=payload, queue="q", limits=Limits(), past=past, token=number, lease=lease
    )


async def run_through(
    job: Job,
    middleware: AsyncMiddleware,
    *,
    error: Exception | None = None,
    here: CurrentJob | None = None,
) -> Verdict | None:
    async def innermost() -> None:
        ran.append(job)
        if error is not None:
            raise error

    with running(here or current(job)) as mine:
        await middleware(job, innermost)
        return mine.verdict
