"""What is kept beside the queues: failed jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
        body: the payload as pushed.
    """

    id: str
    queue: str
    failed_at: float
    reason: str
    error: str
    attempts: int
    body: bytes


class FailedJobs(Protocol):
    """
    Failed jobs of all queues.

    They lie beside their queue, so failing a job is one atomic step, and are trimmed by
    count and age. All methods block and raise `DriverUnavailable`
    or `DriverRefused`.
    """

    def find(self, *, queue: str | None = None, limit: int = 100) -> Sequence[FailedJob]:
        """Return the latest failed jobs, newest first, of one queue or of all."""
        ...

    def get(self, job_id: str) -> FailedJob | None:
        """Return one failed job, or None."""
        ...

    def retry(self, job_ids: Sequence[str]) -> int:
        """Queue these again with all their tries; return how many were found."""
        ...

    def retry_all(self, queue: str | None = None) -> int:
        """Queue all failed jobs of one queue, or of all, again; return their number."""
        ...

    def forget(self, job_ids: Sequence[str]) -> int:
        """Delete these; return how many were found."""
        ...
