"""What is kept beside the queues: failed jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from broadcaster.protocol.lanes import split_lane

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedJob:
    """
    A job that was given up.

    Attributes:
        id: as pushed.
        queue: where it failed.
        failed_at: Unix seconds, by the store's clock.
        reason: a stable word (``exception``, ``timeout``, ``unknown_job``, ``crashed``, ...).
        error: one readable line.
        attempts: tries that were used up.
        body: the payload as pushed; empty once it was put back.
        job: registered name of its class, or "".
        exception: name of the exception's type, or "".
        traceback: the end of it, or "".
        retried_at: when it was put back into its queue, or None.
        connection: the queue connection of its queue.
    """

    id: str
    queue: str
    failed_at: float
    reason: str
    error: str
    attempts: int
    body: bytes
    job: str = ""
    exception: str = ""
    traceback: str = ""
    retried_at: float | None = None
    connection: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedFilter:
    """
    Which failed jobs are meant; those that fulfil everything that is given.

    Attributes:
        queue: failed there, or in a lane of it.
        job: registered name of the class.
        exception: name of the exception's type, or its reason.
        since: failed at or after, Unix seconds.
        until: failed before, Unix seconds.
        retried: put back since (True), or not (False).
        connection: of this queue connection.
    """

    queue: str | None = None
    job: str | None = None
    exception: str | None = None
    since: float | None = None
    until: float | None = None
    retried: bool | None = None
    connection: str | None = None

    def fits(self, job: FailedJob) -> bool:
        """Whether `job` is one of them."""
        return (
            self.queue in (None, job.queue, split_lane(job.queue)[0])
            and self.job in (None, job.job)
            and self.exception in (None, job.exception, job.reason)
            and (self.since is None or job.failed_at >= self.since)
            and (self.until is None or job.failed_at < self.until)
            and self.retried in (None, job.retried_at is not None)
            and self.connection in (None, job.connection)
        )


class FailedJobs(Protocol):
    """
    Failed jobs of all queues.

    They lie beside their queue, so failing a job is one atomic step, and are trimmed by
    count and age. One that was put back stays listed, without its body, until it is trimmed
    or fails again. All methods block and raise `DriverUnavailable` or `DriverRefused`.
    """

    def find(
        self, *, queue: str | None = None, limit: int = 100, where: FailedFilter | None = None
    ) -> Sequence[FailedJob]:
        """Return the latest failed jobs, newest first, of one queue with its lanes, or of all."""
        ...

    def get(self, job_id: str) -> FailedJob | None:
        """Return one failed job, or None."""
        ...

    def get_many(self, job_ids: Sequence[str]) -> Sequence[FailedJob]:
        """Return those of these jobs that have failed, each once, in the order of `job_ids`."""
        ...

    def retry(self, job_ids: Sequence[str], *, insist: bool = True) -> Sequence[str]:
        """
        Queue these again with all their tries; return the ids that were put back.

        The time of ``retry_until`` begins anew. Nobody is told: that is for
        `broadcaster.jobs.failures`.

        Args:
            insist: they run, and so does what follows in their chains, whether their batch is
                cancelled or not.
        """
        ...

    def retry_all(
        self, queue: str | None = None, *, where: FailedFilter | None = None
    ) -> Sequence[str]:
        """Queue all failed jobs that are meant again; see `retry`."""
        ...

    def forget(self, job_ids: Sequence[str], *, until: float | None = None) -> int:
        """
        Delete these; return how many were found.

        Args:
            until: leave those that have failed later than this, Unix seconds.
        """
        ...

    def flush(self, *, where: FailedFilter | None = None) -> int:
        """Delete all that are meant; return their number."""
        ...

    def prune(self, older_than: float) -> int:
        """Delete those that failed over `older_than` seconds ago; return their number."""
        ...
