"""How far jobs are that somebody waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["pending", "processing", "completed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """
    How far one job is.

    Attributes:
        id: of the job.
        job: registered name of its class.
        status: ``pending`` also between two tries.
        progress: 0 to 100.
        message: what it last said about itself.
        result_url: where its result is, once it is completed.
        error: why it failed, or is tried again.
        owner: whom it is for, as the job says; "" is nobody in particular.
        updated_at: Unix seconds, by the store's clock.
    """

    id: str
    job: str = ""
    status: State = "pending"
    progress: int = 0
    message: str = ""
    result_url: str | None = None
    error: str | None = None
    owner: str = ""
    updated_at: float = 0.0


class JobStatuses(Protocol):
    """
    Statuses by the id of their job, each kept for a while after it last changed.

    A completed job stays completed: what is written later by a worker that runs it once more,
    because its lease had lapsed, is ignored. Drivers raise `DriverUnavailable` and
    `DriverRefused`; every call may be repeated.
    """

    def write(
        self, job_id: str, changes: Mapping[str, str | int], *, keep: float, fresh: bool = False
    ) -> JobStatus:
        """
        Change a status, or make it, and return it as it is then.

        Args:
            changes: fields of `JobStatus` to set.
            keep: seconds after which it is forgotten.
            fresh: only make it; one that there is stays as it is.
        """
        ...

    async def awrite(
        self, job_id: str, changes: Mapping[str, str | int], *, keep: float, fresh: bool = False
    ) -> JobStatus:
        """See `write`."""
        ...

    def find(self, job_id: str) -> JobStatus | None:
        """Return the status of a job, or None."""
        ...

    async def afind(self, job_id: str) -> JobStatus | None:
        """See `find`."""
        ...
