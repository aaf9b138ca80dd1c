"""Jobs that were reserved before there was a slot for them."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from broadcaster.contracts.queue import Reserved
    from broadcaster.worker.heartbeat import HeldJob
    from broadcaster.worker.line import Line

SHORT_SECONDS = 0.02
"""Mean run time up to which jobs count as short, and are reserved ahead."""
STALE_SECONDS = 0.5
"""How long a reserved job may wait for a slot before it is handed back."""
REST_SECONDS = 2.0
"""For how long nothing is reserved ahead after something was handed back."""
_WEIGHT = 0.1


class Waiting(NamedTuple):
    """A job that is held and has not begun."""

    rank: int
    number: int
    line: Line
    reserved: Reserved
    hold: HeldJob
    since: float


class WaitingJobs:
    """
    A short line in front of the slots: the most urgent queue first, then as reserved.

    It is of use while jobs are short, for then a round trip costs more than they do; a job
    that waits behind a long one would be better off with another worker.

    Args:
        limit: jobs that may wait, 0 for none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[Waiting] = []
        self._numbers = count()
        self._mean: float | None = None
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def ran(self, seconds: float) -> None:
        """Note how long a job ran."""
        mean = seconds if self._mean is None else self._mean
        self._mean = mean + (seconds - mean) * _WEIGHT

    def room(self, rank: int, now: float) -> int:
        """Return how many jobs of the queue at `rank` may be added."""
        if not self._limit or now < self._not_before:
            return 0
        if self._mean is None or self._mean > SHORT_SECONDS:
            return 0
        return max(0, self._limit - sum(each.rank <= rank for each in self._heap))

    def add(self, line: Line, reserved: Reserved, hold: HeldJob, now: float) -> None:
        """Add a job."""
        number = next(self._numbers)
        heapq.heappush(self._heap, Waiting(line.rank, number, line, reserved, hold, now))

    def pop(self) -> Waiting | None:
        """Take out the next job; None if there is none."""
        return heapq.heappop(self._heap) if self._heap else None

    def stale(self, now: float) -> bool:
        """Whether a job has waited too long."""
        return any(now - each.since > STALE_SECONDS for each in self._heap)

    def take_all(self, now: float) -> list[Waiting]:
        """Take out everything, in order, and reserve nothing ahead for a while."""
        taken = sorted(self._heap, key=lambda each: each.number)
        self._heap = []
        self._not_before = now + REST_SECONDS
        return taken
