"""Telling of one try of a job: the same events in a worker and where jobs run inline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.errors import JobTimedOut as JobTimedOutError
from broadcaster.jobs.announcing import announce, anybody_listens, wanted
from broadcaster.jobs.lifecycle import (
    JobAttempted,
    JobExceptionOccurred,
    JobFailed,
    JobProcessed,
    JobProcessing,
    JobReleasedAfterException,
    JobTimedOut,
)
from broadcaster.jobs.outcome import GiveUp, TryAgain

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.jobs.lifecycle import TakenJob
    from broadcaster.jobs.outcome import Outcome

INLINE = "sync"
"""`connection_name` of jobs that run where they are dispatched."""


def tell_begin(connection: str, taken: Callable[[], TakenJob]) -> None:
    """
    Tell that a try begins.

    Args:
        taken: returns the job; not called if nobody listens.
    """
    if wanted(JobProcessing):
        announce(JobProcessing(connection_name=connection, job=taken()))


def tell_end(
    connection: str,
    taken: Callable[[], TakenJob],
    outcome: Outcome,
    error: BaseException | None,
    seconds: float,
) -> None:
    """
    Tell how a try has ended, in order: how it ended, what the job becomes, that it was a try.

    Args:
        taken: returns the job; not called if nobody listens.
        outcome: what it becomes.
        error: what it ended with, or None.
        seconds: how long it took.
    """
    if not anybody_listens():
        return
    job = taken()
    if error is not None:
        _tell_error(connection, job, outcome, error)
    elif not isinstance(outcome, GiveUp):
        announce(JobProcessed(connection_name=connection, job=job, seconds=seconds))
    if isinstance(outcome, GiveUp):
        tell_failed(connection, job, outcome.reason, error)
    announce(JobAttempted(connection_name=connection, job=job, exception=error))


def tell_failed(connection: str, job: TakenJob, reason: str, error: BaseException | None) -> None:
    """Tell that a job was given up."""
    announce(JobFailed(connection_name=connection, job=job, exception=error, reason=reason))


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
