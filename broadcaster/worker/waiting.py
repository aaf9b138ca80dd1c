"""Jobs that were reserved before there was a slot for them."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from broadcaster.contracts.queue import Reserved
    from broadcaster.worker.heartbeat import HeldJob
    from broadcaster.worker.line import Line

SHORT_SECONDS = 0.02
"""Mean run time up to which jobs count as short, and are reserved ahead."""
AHEAD_SECONDS = 0.01
"""As many are reserved ahead as the slots run in this time, by the mean."""
STALE_SECONDS = 0.5
"""How long a reserved job may wait for a slot before it is handed back."""
REST_SECONDS = 2.0
"""For how long nothing is reserved ahead after something was handed back."""
_WEIGHT = 0.1


class Waiting(msgspec.Struct, frozen=True):
    """A job that is held and has not begun."""

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
        self._by_rank: dict[int, deque[Waiting]] = {}
        self._held = 0
        self._numbers = count()
        self._mean: float | None = None
        self._not_before = 0.0

    def __len__(self) -> int:
        return self._held

    def ran(self, seconds: float) -> None:
        """Note how long a job ran."""
        mean = seconds if self._mean is None else self._mean
        self._mean = mean + (seconds - mean) * _WEIGHT

    def room(self, rank: int, slots: int, now: float) -> int:
        """Return how many jobs of the queue at `rank` may be added in front of `slots`."""
        if not self._limit or now < self._not_before:
            return 0
        if self._mean is None or self._mean > SHORT_SECONDS:
            return 0
        soon = slots * AHEAD_SECONDS / max(self._mean, AHEAD_SECONDS / self._limit)
        before = sum(len(row) for other, row in self._by_rank.items() if other <= rank)
        return max(0, min(self._limit, int(soon)) - before)

    def add(self, line: Line, reserved: Reserved, hold: HeldJob, now: float) -> None:
        """Add a job."""
        row = self._by_rank.get(line.rank)
        if row is None:
            row = self._by_rank[line.rank] = deque()
        row.append(Waiting(next(self._numbers), line, reserved, hold, now))
        self._held += 1

    def pop(self) -> Waiting | None:
        """Take out the next job; None if there is none."""
        if not self._held:
            return None
        rank = min(rank for rank, row in self._by_rank.items() if row)
        self._held -= 1
        return self._by_rank[rank].popleft()

    def stale(self, now: float) -> bool:
        """Whether a job has waited too long."""
        return any(row and now - row[0].since > STALE_SECONDS for row in self._by_rank.values())

    def take_all(self, now: float) -> list[Waiting]:
        """Take out everything, in order, and reserve nothing ahead for a while."""
        rows, self._by_rank, self._held = self._by_rank, {}, 0
        taken = sorted((each for row in rows.values() for each in row), key=_number)
        self._not_before = now + REST_SECONDS
        return taken


def _number(each: Waiting) -> int:
    return each.number
