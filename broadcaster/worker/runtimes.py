"""
How long jobs take, by class: counted in memory, and told to the store every few seconds.

What cannot be told is forgotten: it is for monitors, and no job waits for it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from broadcaster.contracts.queue_admin import bin_of
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.protocol.lanes import split_lane

if TYPE_CHECKING:
    from broadcaster.contracts.queue_admin import RuntimeStore

logger = logging.getLogger("broadcaster.worker")

MAX_COUNTS = 5_000
"""Classes times bins of all queues that are counted between two tellings; more is left out."""


class Runtimes:
    """
    Counts ended tries.

    Args:
        store: who is told.
    """

    def __init__(self, store: RuntimeStore) -> None:
        self._store = store
        self._bins: defaultdict[str, dict[tuple[str, int], int]] = defaultdict(dict)
        self._counts = 0

    def note(self, queue: str, job: str, seconds: float, count: int = 1) -> None:
        """
        Count a try of the class `job`; lanes count for their queue.

        Args:
            seconds: what it took.
            count: of several tries that took as long.
        """
        bins = self._bins[split_lane(queue)[0]]
        key = (job, bin_of(seconds))
        if key in bins:
            bins[key] += count
        elif self._counts < MAX_COUNTS:
            bins[key] = count
            self._counts += 1

    async def tell(self) -> None:
        """Tell the store what was counted since the last time."""
        told, self._bins, self._counts = self._bins, defaultdict(dict), 0
        try:
            for queue, bins in told.items():
                await self._store.tell(queue, bins)
        except (DriverUnavailable, DriverRefused) as error:
            logger.debug("runtimes lost: %s", error, extra={"event": "runtimes_lost"})
