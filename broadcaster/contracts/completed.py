"""Where it is kept which jobs were done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedJob:
    """
    A job that was done; its fields are not kept.

    Attributes:
        id: as pushed.
        job: registered name of its class.
        queue: where it waited.
        connection_name: the queue connection.
        attempts: number of the try that did it, from 1.
        seconds: how long that took.
        noted_at: Unix seconds at which it was written down, by the store's clock; 0.0 before.
    """

    id: str
    job: str
    queue: str
    connection_name: str
    attempts: int
    seconds: float
    noted_at: float = 0.0


class CompletedJobs(Protocol):
    """
    A log of done jobs, trimmed by count and age. Both methods block.

    They raise `DriverUnavailable` or `DriverRefused`. A call of `add` that raises may have
    been carried out: repeated, it writes twice.
    """

    def add(self, jobs: Sequence[CompletedJob], *, most: int, seconds: float) -> None:
        """Write down `jobs`, in order; keep the latest `most`, and none older than `seconds`."""
        ...

    def find(self, *, limit: int = 100) -> Sequence[CompletedJob]:
        """Return the latest, newest first."""
        ...
