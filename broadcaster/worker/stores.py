"""What running a job asks of the store, beside its queue."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broadcaster.contracts.batches import Batches
    from broadcaster.contracts.queue import Queue

FRESH_SECONDS = 0.1
"""
For how long it is believed that a batch was not cancelled. That it was is never believed: it
may be taken back, and then its failed jobs come again.
"""
_REMEMBERED = 256


class JobStores(Protocol):
    """Batches and unique locks; both raise `DriverUnavailable` and `DriverRefused`."""

    async def is_cancelled(self, batch_id: str) -> bool:
        """Return whether the batch was cancelled; one that is not known was not."""
        ...

    async def unlock(self, queue: str, key: str, job_id: str) -> None:
        """Free a unique lock if job `job_id` has it."""
        ...


class QueueStores:
    """
    Implements `JobStores` on a queue and its batches.

    A running batch is asked for once in `FRESH_SECONDS`, not once for each of its jobs.
    """

    def __init__(self, queue: Queue, batches: Batches) -> None:
        self._queue = queue
        self._batches = batches
        self._seen: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    async def is_cancelled(self, batch_id: str) -> bool:
        """See `JobStores.is_cancelled`."""
        seen, cancelled = self._seen.get(batch_id, (-1.0, False))
        if not cancelled and 0 <= time.monotonic() - seen < FRESH_SECONDS:
            return False
        batch = await self._batches.afind(batch_id)
        cancelled = batch is not None and batch.cancelled
        self._seen[batch_id] = (time.monotonic(), cancelled)
        self._seen.move_to_end(batch_id)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return cancelled

    async def unlock(self, queue: str, key: str, job_id: str) -> None:
        """See `JobStores.unlock`."""
        await self._queue.unlock(queue, key, job_id)


class _NoStores:
    async def is_cancelled(self, batch_id: str) -> bool:
        del batch_id
        return False

    async def unlock(self, queue: str, key: str, job_id: str) -> None:
        del queue, key, job_id


NO_STORES: JobStores = _NoStores()
"""Where there are no batches and no locks."""
