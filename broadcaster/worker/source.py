"""
One queue of a worker: the queue itself, and its lanes as far as they are of interest.

A hint names the queue or the lane that it is for. What no hint tells (lanes whose worker has
died, jobs that become due) is found by a survey of all lanes, one round trip each tick. A
worker takes no more lanes than its share, so that they spread over all workers; a lane that
a hint names is taken at once.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from broadcaster.jobs.backoff import growing
from broadcaster.protocol.lanes import lane_name, split_lane
from broadcaster.worker.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.contracts.queue import Survey

NAMES_SECONDS = 60.0
"""How often a worker looks for lanes that it was not told of."""


class Source:
    """
    A queue with its lanes.

    Args:
        name: of the queue.
        rank: its place in the worker's list, from 0.
        ordered: all of it keeps its order, and runs beside the slots.
        lanes: how many it has.

    Attributes:
        main: what is in no lane.
        lanes: those that the worker knows something about, by number.
        survey_at: monotonic time of the next survey.
        names_at: monotonic time at which the names of all queues are to be looked at next.
        refusals: of the store, in a row, to look at the lanes.
        cold: set while the worker has room and waits for a hint.
    """

    def __init__(self, name: str, *, rank: int, ordered: bool, lanes: int) -> None:
        self.name = name
        self.rank = rank
        self.ordered = ordered
        self.main = Line(name, ordered=ordered, rank=rank)
        self.lanes: dict[int, Line] = {}
        self.survey_at = 0.0 if lanes else float("inf")
        self.names_at = 0.0
        self.cold = asyncio.Event()
        self.refusals = 0
        self._count = lanes
        self._clear = not lanes
        self._lanes_first = False
        self._news = False

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of all its lanes."""
        return range(self._count)

    @property
    def empty(self) -> bool:
        """Whether nothing could be taken of it when it was last looked at."""
        known = all(line.empty and not line.settlements for line in self.lanes.values())
        return self._clear and known and self.main.empty and not self.main.settlements

    @property
    def pressing(self) -> bool:
        """Whether it may have jobs for the slots, which come before those of lower queues."""
        return self.main.hot and not self.ordered and not self.main.refusals

    def lines(self) -> list[Line]:
        """Return the queue and its known lanes; by turns, one goes before the other."""
        if not self.lanes:
            return [self.main]
        self._lanes_first = not self._lanes_first
        lanes = list(self.lanes.values())
        return [*lanes, self.main] if self._lanes_first else [self.main, *lanes]

    def all_lines(self) -> list[Line]:
        """Return the queue and its known lanes."""
        return [self.main, *self.lanes.values()]

    def line(self, name: str) -> Line:
        """Return the line that a hint names; the queue itself for what is no lane of it."""
        queue, number = split_lane(name)
        if queue != self.name or number is None:
            return self.main
        return self._lane(number)

    def know(self, queues: Iterable[str], now: float) -> None:
        """
        Note which lanes there are: a sender may have been told of more than this worker.

        Args:
            queues: names of all queues ever pushed to.
            now: monotonic time.
        """
        self.names_at = now + NAMES_SECONDS
        for name in queues:
            queue, number = split_lane(name)
            if queue == self.name and number is not None:
                self._count = max(self._count, number + 1)

    def refused(self, now: float) -> None:
        """Note that the store answered at `now`, monotonic, that it cannot look at the lanes."""
        self.refusals += 1
        self.survey_at = now + growing(self.refusals)

    def asks(self) -> None:
        """Note that a survey is sent, which cannot know of what comes from now on."""
        self._news = False

    def surveyed(self, survey: Survey, worker: str, now: float, tick: float) -> None:
        """Note which lanes are due; take those that belong to this worker's share."""
        self.survey_at = now + (tick if survey.next_in is None else min(tick, survey.next_in))
        self.survey_at = max(self.survey_at, now + 0.001)
        self._clear, self.refusals = not survey.due, 0
        taken = sum(line.busy or line.hot for line in self.lanes.values())
        due = list(survey.due)
        first = zlib.crc32(worker.encode()) % len(due) if due else 0
        for number in due[first:] + due[:first]:
            known = self.lanes.get(number)
            if known is not None and (known.busy or known.hot):
                continue
            if taken >= max(1, survey.share):
                self.survey_at = min(self.survey_at, now + tick / 4)
                break
            self._lane(number).hot = True
            taken += 1
        if self._news:
            self.look_again()

    def look_again(self) -> None:
        """Something may have come: forget that nothing was there."""
        self._news = True
        self.main.look_again()
        if self._count:
            self.survey_at, self._clear = 0.0, False

    def forget_idle(self) -> None:
        """Forget lanes of which there is nothing to remember."""
        for number, line in list(self.lanes.items()):
            if line.empty and not (line.busy or line.hot or line.hinted or line.settlements):
                del self.lanes[number]

    def _lane(self, number: int) -> Line:
        line = self.lanes.get(number)
        if line is None:
            name = lane_name(self.name, number)
            line = Line(name, ordered=True, rank=self.rank, beside=self.ordered)
            line.due_at = float("inf")
            self.lanes[number] = line
        return line
