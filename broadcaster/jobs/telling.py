"""
Telling of jobs that are queued, and of their tries: the same events wherever it happens.

A job is told of as queued by whoever pushes it: the process that dispatches it, or the worker
that queues links and callbacks after it has settled the job before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.errors import BroadcasterError
from broadcaster.errors import JobTimedOut as JobTimedOutError
from broadcaster.jobs.announcing import announce, anybody_listens, wanted
from broadcaster.jobs.lifecycle import (
    JobAttempted,
    JobExceptionOccurred,
    JobFailed,
    JobProcessed,
    JobProcessing,
    JobQueued,
    JobQueueing,
    JobReleasedAfterException,
    JobTimedOut,
    TakenJob,
)
from broadcaster.jobs.outcome import GiveUp, TryAgain
from broadcaster.jobs.registry import registry
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.settlements import NewJob
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.jobs.running import CurrentJob
    from broadcaster.protocol.payload import Payload

INLINE = "sync"
"""`connection_name` of jobs that run where they are dispatched."""


def tell_queueing(
    connection: str, jobs: Sequence[NewJob], sources: Sequence[Job | None] = ()
) -> None:
    """
    Tell that `jobs` are about to be pushed.

    Args:
        sources: what they were made of; as many, or none. What is None is made of the payload,
            where this process knows its class. A job whose payload nobody can read is not told.
    """
    if not wanted(JobQueueing):
        return
    for new, payload, job in _described(jobs, sources):
        announce(
            JobQueueing(
                connection_name=connection,
                queue=new.queue,
                job=job,
                payload=payload,
                delay=new.delay,
            )
        )


def tell_queued(
    connection: str, jobs: Sequence[NewJob], sources: Sequence[Job | None] = ()
) -> None:
    """Tell that `jobs` were pushed; see `tell_queueing`."""
    if not wanted(JobQueued):
        return
    for new, payload, job in _described(jobs, sources):
        announce(
            JobQueued(
                connection_name=connection,
                queue=new.queue,
                id=new.id,
                job=job,
                payload=payload,
                delay=new.delay,
            )
        )


def told_of(jobs: list[NewJob]) -> list[NewJob]:
    """Tell that `jobs` were queued where jobs run inline, to run at once; return them."""
    tell_queueing(INLINE, jobs)
    tell_queued(INLINE, jobs)
    return jobs


def taken_job(job: Job, current: CurrentJob) -> TakenJob:
    """Return what listeners are told of `job`, which is tried as `current`."""
    return TakenJob(
        id=current.id,
        name=current.name,
        queue=current.queue,
        attempts=current.attempts,
        payload=current.payload,
        job=job,
    )


def tell_begin(connection: str, job: Job, current: CurrentJob) -> None:
    """Tell that a try of `job` begins."""
    if wanted(JobProcessing):
        announce(JobProcessing(connection_name=connection, job=taken_job(job, current)))


def tell_end(
    connection: str,
    job: Job,
    current: CurrentJob,
    outcome: Outcome,
    error: BaseException | None,
    seconds: float,
) -> None:
    """
    Tell how a try has ended, in order: how it ended, what the job becomes, that it was a try.

    Args:
        outcome: what the job becomes.
        error: what it ended with, or None.
        seconds: how long it took.
    """
    if anybody_listens():
        tell_ended(connection, taken_job(job, current), outcome, error, seconds)


def tell_ended(
    connection: str,
    taken: TakenJob,
    outcome: Outcome,
    error: BaseException | None,
    seconds: float,
) -> None:
    """Tell how a try of what listeners know as `taken` has ended; see `tell_end`."""
    if error is not None:
        _tell_error(connection, taken, outcome, error)
    elif not isinstance(outcome, GiveUp):
        announce(JobProcessed(connection_name=connection, job=taken, seconds=seconds))
    if isinstance(outcome, GiveUp):
        tell_failed(connection, taken, outcome.reason, error)
    announce(JobAttempted(connection_name=connection, job=taken, exception=error))


def tell_failed(connection: str, job: TakenJob, reason: str, error: BaseException | None) -> None:
    """Tell that a job was given up."""
    announce(JobFailed(connection_name=connection, job=job, exception=error, reason=reason))


def _described(
    jobs: Sequence[NewJob], sources: Sequence[Job | None]
) -> list[tuple[NewJob, Payload, Job | None]]:
    described: list[tuple[NewJob, Payload, Job | None]] = []
    for new, source in zip(jobs, sources or [None for _ in jobs], strict=True):
        try:
            payload = decode_payload(new.body)
        except BroadcasterError:
            continue
        described.append((new, payload, source or _made_of(payload)))
    return described


def _made_of(payload: Payload) -> Job | None:
    try:
        return registry.find(payload.job).decode_fields(payload.data)
    except BroadcasterError:  # it has no class, or none that this process knows
        return None


def _tell_error(connection: str, job: TakenJob, outcome: Outcome, error: BaseException) -> None:
    if isinstance(error, JobTimedOutError):
        announce(JobTimedOut(connection_name=connection, job=job))
    announce(JobExceptionOccurred(connection_name=connection, job=job, exception=error))
    if isinstance(outcome, TryAgain):
        announce(
            JobReleasedAfterException(
                connection_name=connection, job=job, backoff=outcome.delay, exception=error
            )
        )
