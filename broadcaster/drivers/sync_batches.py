"""Batches of the queue ``sync``: counted in this process, and forgotten with it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broadcaster.contracts.batches import MAX_BATCH, BatchRecord, Marked, Moment, NewBatch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from broadcaster.contracts.settlements import Culprit, NewJob

KEPT = 1_000
"""Batches that are remembered; the oldest goes first."""


@dataclass(slots=True)
class _Counted:
    """A batch with what is known of its jobs."""

    new: NewBatch
    record: BatchRecord
    done: set[int] = field(default_factory=set[int])
    failed: set[int] = field(default_factory=set[int])
    due: list[Moment] = field(default_factory=list[Moment])
    past: set[Moment] = field(default_factory=set[Moment])
    requests: dict[str, int] = field(default_factory=dict[str, int])
    culprit: Culprit | None = None


class SyncBatches:
    """Implements `broadcaster.contracts.batches.Batches` in memory, for jobs that run inline."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._batches: OrderedDict[str, _Counted] = OrderedDict()

    def create(self, batch: NewBatch) -> bool:
        """See `Batches.create`."""
        with self._lock:
            if batch.id in self._batches:
                return False
            record = BatchRecord(
                id=batch.id,
                name=batch.name,
                total=batch.total,
                pending=batch.total,
                failed=0,
                allow_failures=batch.allow_failures,
                options=batch.options,
                created_at=time.time(),
            )
            counted = self._batches[batch.id] = _Counted(batch, record)
            _update(counted)
            while len(self._batches) > KEPT:
                self._batches.popitem(last=False)
            return True

    async def acreate(self, batch: NewBatch) -> bool:
        """See `Batches.create`."""
        return self.create(batch)

    def add(self, batch_id: str, request_id: str, count: int) -> int | None:
        """See `Batches.add`."""
        with self._lock:
            counted = self._batches.get(batch_id)
            if counted is None:
                return None
            known = counted.requests.get(request_id)
            if known is not None:
                return known
            record = counted.record
            if record.finished or record.cancelled or record.total + count > MAX_BATCH:
                return None
            counted.requests[request_id] = record.total
            counted.record = replace(
                record, total=record.total + count, pending=record.pending + count
            )
            return record.total

    async def aadd(self, batch_id: str, request_id: str, count: int) -> int | None:
        """See `Batches.add`."""
        return self.add(batch_id, request_id, count)

    def mark(
        self, batch_id: str, index: int, *, failed: bool = False, culprit: Culprit | None = None
    ) -> Marked:
        """See `Batches.mark`."""
        with self._lock:
            counted = self._batches.get(batch_id)
            if counted is None:
                return Marked(found=False)
            first = index not in counted.done and not (failed and index in counted.failed)
            if first:
                if failed:
                    counted.failed.add(index)
                    counted.culprit = counted.culprit or culprit
                else:
                    counted.done.add(index)
                    counted.failed.discard(index)
                _update(counted)
            return _marked(counted, first=first)

    async def amark(
        self, batch_id: str, index: int, *, failed: bool = False, culprit: Culprit | None = None
    ) -> Marked:
        """See `Batches.mark`."""
        return self.mark(batch_id, index, failed=failed, culprit=culprit)

    def called(self, batch_id: str, moments: Sequence[Moment]) -> None:
        """See `Batches.called`."""
        with self._lock:
            counted = self._batches.get(batch_id)
            if counted is not None:
                counted.due = [moment for moment in counted.due if moment not in moments]

    async def acalled(self, batch_id: str, moments: Sequence[Moment]) -> None:
        """See `Batches.called`."""
        self.called(batch_id, moments)

    def due(self, batch_id: str) -> Marked:
        """See `Batches.due`."""
        with self._lock:
            counted = self._batches.get(batch_id)
            return Marked(found=False) if counted is None else _marked(counted, first=False)

    async def adue(self, batch_id: str) -> Marked:
        """See `Batches.due`."""
        return self.due(batch_id)

    def ended(self, batch_id: str) -> Collection[int]:
        """See `Batches.ended`."""
        with self._lock:
            counted = self._batches.get(batch_id)
            return frozenset() if counted is None else frozenset(counted.done | counted.failed)

    async def aended(self, batch_id: str) -> Collection[int]:
        """See `Batches.ended`."""
        return self.ended(batch_id)

    def cancel(self, batch_id: str) -> bool:
        """See `Batches.cancel`."""
        with self._lock:
            counted = self._batches.get(batch_id)
            if counted is None or counted.record.cancelled or counted.record.finished:
                return False
            counted.record = replace(counted.record, cancelled_at=time.time())
            return True

    async def acancel(self, batch_id: str) -> bool:
        """See `Batches.cancel`."""
        return self.cancel(batch_id)

    def reopen(self, batch_id: str) -> Sequence[int]:
        """Return nothing: what failed here is kept nowhere, and cannot be run again."""
        del batch_id
        return ()

    async def areopen(self, batch_id: str) -> Sequence[int]:
        """See `reopen`."""
        return self.reopen(batch_id)

    def find(self, batch_id: str) -> BatchRecord | None:
        """See `Batches.find`."""
        with self._lock:
            counted = self._batches.get(batch_id)
            return None if counted is None else counted.record

    async def afind(self, batch_id: str) -> BatchRecord | None:
        """See `Batches.find`."""
        return self.find(batch_id)

    def callbacks(self, batch_id: str) -> Mapping[Moment, Sequence[NewJob]]:
        """See `Batches.callbacks`."""
        with self._lock:
            counted = self._batches.get(batch_id)
            if counted is None:
                return {}
            gone = counted.past - set(counted.due)
            return {one: jobs for one, jobs in counted.new.callbacks.items() if one not in gone}

    def newest(self, limit: int = 100, before: float | None = None) -> Sequence[BatchRecord]:
        """See `Batches.newest`."""
        with self._lock:
            records = [counted.record for counted in reversed(self._batches.values())]
        return [one for one in records if before is None or one.created_at < before][:limit]

    def prune(self, older_than: float, *, unfinished: bool = False) -> int:
        """See `Batches.prune`."""
        limit = time.time() - older_than
        with self._lock:
            old = [
                batch_id
                for batch_id, counted in self._batches.items()
                if _ended_before(counted.record, limit, unfinished=unfinished)
            ]
            for batch_id in old:
                del self._batches[batch_id]
        return len(old)


def _update(counted: _Counted) -> None:
    """Count anew, and find out which callbacks are due now."""
    record = counted.record
    pending, failed = record.total - len(counted.done), len(counted.failed)
    ended, allowed = pending == failed, record.allow_failures
    moments: dict[Moment, bool] = {
        "catch": failed > 0,
        "then": pending == 0 and not record.cancelled,
        "finally": ended,
        "next": ended and (allowed or pending == 0) and not record.cancelled,
        "broken": ended and (allowed or failed == 0) and record.cancelled,
    }
    for moment, is_due in moments.items():
        if is_due and moment not in counted.past:
            counted.past.add(moment)
            counted.due.append(moment)
    stops = failed > 0 and not record.allow_failures and not record.cancelled
    now = time.time()
    counted.record = replace(
        record,
        pending=pending,
        failed=failed,
        cancelled_at=now if stops else record.cancelled_at,
        finished_at=now if pending == failed and not record.finished else record.finished_at,
    )


def _marked(counted: _Counted, *, first: bool) -> Marked:
    callbacks = counted.new.callbacks
    due: dict[Moment, Sequence[NewJob]] = {
        moment: callbacks[moment] for moment in counted.due if moment in callbacks
    }
    culprit = counted.culprit if "catch" in due else None
    return Marked(found=True, first=first, batch=counted.record, due=due, culprit=culprit)


def _ended_before(record: BatchRecord, limit: float, *, unfinished: bool) -> bool:
    ended = record.created_at if unfinished else record.finished_at
    return ended is not None and ended < limit
