"""
What is told of broadcaster's own jobs: broadcasts, and facts on their way to listeners.

They have no class and run in batches, so they have a journal of their own. Payloads are
decoded for it only when somebody listens.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broadcaster.jobs.announcing import announce, wanted
from broadcaster.jobs.lifecycle import (
    JobAttempted,
    JobExceptionOccurred,
    JobFailed,
    JobPopped,
    JobProcessed,
    JobProcessing,
    JobReleasedAfterException,
    TakenJob,
)
from broadcaster.jobs.outcome import Finished, GiveUp, TryAgain, described
from broadcaster.jobs.telling import tell_ended
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.contracts.queue import Reserved
    from broadcaster.worker.runtimes import Runtimes

_OF_FAILURES = (JobExceptionOccurred, JobReleasedAfterException, JobFailed, JobAttempted)


class OwnJobsJournal:
    """
    Tells listeners and monitors of the jobs that broadcaster brings itself.

    Args:
        connection: name of the queue connection.
        runtimes: counts how long they take.
    """

    def __init__(self, connection: str = "default", runtimes: Runtimes | None = None) -> None:
        self._connection = connection
        self._runtimes = runtimes

    def begin(self, queue: str, jobs: Iterable[Reserved]) -> float:
        """Tell that these jobs were taken and begin; return the moment, monotonic."""
        if wanted(JobPopped) or wanted(JobProcessing):
            for job in jobs:
                taken = _taken(queue, job)
                announce(JobPopped(connection_name=self._connection, job=taken))
                announce(JobProcessing(connection_name=self._connection, job=taken))
        return time.monotonic()

    def done(self, queue: str, name: str, jobs: Sequence[Reserved], began: float) -> None:
        """
        Tell that these jobs, which ran together, are done.

        Args:
            name: of their kind.
            began: what `begin` returned; each job counts with its share of the time since then.
        """
        seconds = (time.monotonic() - began) / max(1, len(jobs))
        if self._runtimes is not None:
            self._runtimes.note(queue, name, seconds, len(jobs))
        if wanted(JobProcessed) or wanted(JobAttempted):
            for job in jobs:
                tell_ended(self._connection, _taken(queue, job), Finished(), None, seconds)

    def failed(self, queue: str, job: Reserved, error: BaseException, reason: str) -> None:
        """Tell that `error` ended one for good, for `reason`."""
        if not _hears_of_failures():
            return
        outcome = GiveUp(reason, described(error))
        tell_ended(self._connection, _taken(queue, job), outcome, error, 0.0)

    def put_back(self, queue: str, job: Reserved, error: BaseException, delay: float) -> None:
        """Tell that one runs again in `delay` seconds, because of `error`."""
        if not _hears_of_failures():
            return
        tell_ended(self._connection, _taken(queue, job), TryAgain(delay), error, 0.0)


def _hears_of_failures() -> bool:
    return any(wanted(event) for event in _OF_FAILURES)


def _taken(queue: str, job: Reserved) -> TakenJob:
    payload = decode_payload(job.body)
    return TakenJob(
        id=job.id, name=payload.job, queue=queue, attempts=job.attempts + 1, payload=payload
    )
