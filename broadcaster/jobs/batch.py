"""
A batch that was dispatched: how far it is, and what can be done with it.

::

    find_batch(batch_id).progress

How one is put together: `broadcaster.jobs.pending_batch`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from typing import TYPE_CHECKING, Any

from broadcaster import current
from broadcaster.contracts.batches import callbacks_due
from broadcaster.contracts.settlements import Link
from broadcaster.errors import InvalidJob
from broadcaster.jobs.batch_jobs import as_member, heads, job_id, job_ids, placed, size
from broadcaster.jobs.bus import Sending, fresh_id
from broadcaster.jobs.failures import retry_failed
from broadcaster.jobs.running import current_job
from broadcaster.jobs.sequels import queued
from broadcaster.protocol.ids import derived_id, may_be_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from broadcaster.contracts.batches import Batches, BatchRecord, NewBatch
    from broadcaster.contracts.connections import QueueConnection
    from broadcaster.jobs.batch_jobs import Member
    from broadcaster.jobs.bus import PreparedJob
    from broadcaster.jobs.chain import Chain
    from broadcaster.jobs.job import Job

QUEUE = "broadcaster.queue"
CONNECTION = "broadcaster.connection"
"""Options of ours in `BatchRecord.options`: where jobs wait that are added."""


def find_batch(batch_id: str) -> Batch | None:
    """
    Return a batch as it is now, or None; blocks for one round trip.

    Anything may be asked for: what is no id is no batch.

    Raises:
        DriverUnavailable: the store cannot be reached.
    """
    if not may_be_id(batch_id):
        return None
    record = current.application().batches.find(batch_id)
    return None if record is None else Batch(record)


async def afind_batch(batch_id: str) -> Batch | None:
    """Return a batch as it is now, or None; see `find_batch`."""
    if not may_be_id(batch_id):
        return None
    record = await current.application().batches.afind(batch_id)
    return None if record is None else Batch(record)


class Batch:
    """
    A batch as it was when it was looked at; `fresh` looks again.

    Attributes:
        record: what the store said.
    """

    __slots__ = ("_additions", "_own_id", "record")

    def __init__(self, record: BatchRecord) -> None:
        self.record = record
        self._own_id = fresh_id()
        self._additions = 0

    def __repr__(self) -> str:
        """Say how far it was."""
        state = "cancelled" if self.cancelled else "finished" if self.finished else "running"
        named = f" {self.name!r}" if self.name else ""
        failed = f", {self.failed_jobs} failed" if self.failed_jobs else ""
        counts = f"{self.processed_jobs} of {self.total_jobs} done{failed}"
        return f"<Batch {self.id}{named} {state}, {counts}>"

    @property
    def id(self) -> str:
        """32 hex digits."""
        return self.record.id

    @property
    def name(self) -> str:
        """What people call it, or ""."""
        return self.record.name

    @property
    def options(self) -> Mapping[str, Any]:
        """What was kept with it."""
        ours = {QUEUE, CONNECTION}
        return {word: value for word, value in self.record.options.items() if word not in ours}

    @property
    def total_jobs(self) -> int:
        """Number of its jobs."""
        return self.record.total

    @property
    def pending_jobs(self) -> int:
        """Jobs that are not done; failed ones are among them."""
        return self.record.pending

    @property
    def failed_jobs(self) -> int:
        """Jobs that failed for good."""
        return self.record.failed

    @property
    def processed_jobs(self) -> int:
        """Jobs that are done."""
        return self.record.processed

    @property
    def progress(self) -> int:
        """Jobs that are done, in per cent."""
        return self.record.progress

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.record.cancelled

    @property
    def finished(self) -> bool:
        """Whether every job has run."""
        return self.record.finished

    @property
    def allows_failures(self) -> bool:
        """Whether the first failure leaves it running."""
        return self.record.allow_failures

    def fresh(self) -> Batch:
        """Return it as it is now, or as it was if it is kept no more; blocking."""
        return find_batch(self.id) or self

    async def afresh(self) -> Batch:
        """Return it as it is now; see `fresh`."""
        return await afind_batch(self.id) or self

    def cancel(self) -> bool:
        """Skip its jobs that have not started; False if it was cancelled or is finished."""
        return current.application().batches.cancel(self.id)

    async def acancel(self) -> bool:
        """Cancel it from a coroutine; see `cancel`."""
        return await current.application().batches.acancel(self.id)

    def add(self, jobs: Sequence[Job | PreparedJob | Chain]) -> int:
        """
        Add `jobs` while it runs, best from one of its own jobs; return how many.

        Each link of a chain is a job of the batch.

        Raises:
            InvalidJob: a job cannot be queued, or the batch is finished, cancelled or gone.
            DriverUnavailable: the store or the queue cannot be reached. A job that is run
                again because of it, and adds the same jobs, adds them once; so does who adds
                them to this object again.
        """
        adding = self._adding(jobs)
        if adding.count:
            store = current.application().batches
            with adding:
                adding.begin(store.add(self.id, adding.request_id, adding.count)).send()
            self._additions += 1
        return adding.count

    async def aadd(self, jobs: Sequence[Job | PreparedJob | Chain]) -> int:
        """Add jobs from a coroutine; see `add`."""
        adding = self._adding(jobs)
        if adding.count:
            store = current.application().batches
            with adding:
                index = await store.aadd(self.id, adding.request_id, adding.count)
                await adding.begin(index).asend()
            self._additions += 1
        return adding.count

    def retry_failed(self) -> int:
        """
        Take back its cancellation and run its failed jobs again; return how many.

        Without failed jobs nothing changes: what a cancelled batch has passed over is done.
        `JobRetryRequested` is told before.
        """
        return self._retry(current.application().batches.reopen(self.id))

    async def aretry_failed(self) -> int:
        """Run failed jobs again, from a coroutine; see `retry_failed`."""
        indices = await current.application().batches.areopen(self.id)
        return await asyncio.to_thread(self._retry, indices)

    def _retry(self, indices: Sequence[int]) -> int:
        ids = [job_id(self.id, index) for index in indices]
        return retry_failed(current.application().failed_jobs, ids, insist=False)

    def _adding(self, jobs: Sequence[Job | PreparedJob | Chain]) -> _Adding:
        members = [as_member(job) for job in jobs]
        return _Adding(self.record, members, f"{self._own_id}:{self._additions}")


class _Adding:
    """
    Jobs that are added to a batch: counted there first, and then queued.

    Whoever is killed in between, or cannot reach the queue, has counted what never comes, and
    such a batch would never end. So a job that runs again because of it asks under the same
    id, gets the same indices, and queues what was left out. One that put itself back means to
    add the same once more.

    Args:
        by: whoever adds if no job does; the same until something was added.

    Raises:
        InvalidJob: a job cannot be queued; nothing is counted then.
    """

    def __init__(self, record: BatchRecord, members: Sequence[Member], by: str) -> None:
        self._record = record
        self._members = members
        self._connection = current.application().connection(record.options.get(CONNECTION))
        self.count = size(members)
        running, drafts = current_job(), self._sending(0, now=0.0).jobs
        self._repeatable = running is not None
        parts = [part for job in drafts for part in (job.queue, job.body.decode())]
        # Tasks of a job may add in any order, and in another one when it runs again.
        same = derived_id("same", record.id, *parts)
        self._times = set[int]() if running is None else running.additions.setdefault(same, set())
        self._time = next(number for number in itertools.count(1) if number not in self._times)
        self._times.add(self._time)
        if running is not None:
            past = running.past
            released = past.attempts - past.exceptions + past.postponed
            by = f"{running.id}:{released}:{self._time}"
        self.request_id = derived_id("add", by, *parts)

    def __enter__(self) -> None:
        """Begin; who tries again after an exception means the same."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._times.discard(self._time)

    def begin(self, first: int | None) -> Sending:
        """Return the jobs on their way, the first with the index `first`."""
        if first is None:
            raise InvalidJob(
                f"batch {self._record.id} takes no jobs any more: it is finished, cancelled, "
                "full or gone"
            )
        made = self._sending(first, now=time.time())
        if self._repeatable:  # what has run before who added it runs again is not new
            made.jobs = [
                job if job.link else dataclasses.replace(job, link=Link(job.id, 0))
                for job in made.jobs
            ]
        return made

    def _sending(self, first: int, *, now: float) -> Sending:
        record, queue = self._record, self._record.options.get(QUEUE)
        return sending(record.id, self._members, self._connection, queue, first=first, now=now)


def begin_batch(store: Batches, new: NewBatch, jobs: Sending) -> None:
    """
    Keep a batch and queue its jobs; of one without jobs, its callbacks.

    It is kept first, so that what its jobs come to can be counted. If it was begun before, what
    has ended since is not queued again.
    """
    if not store.create(new):
        jobs.leave_out(job_ids(new.id, store.ended(new.id)))
    if jobs.jobs:
        jobs.send()
    if not new.total:
        due = store.due(new.id).due
        Sending(jobs.connection, callbacks_due(due, now=time.time())).send()
        store.called(new.id, list(due))


async def abegin_batch(store: Batches, new: NewBatch, jobs: Sending) -> None:
    """Keep a batch and queue its jobs from a coroutine; see `begin_batch`."""
    if not await store.acreate(new):
        jobs.leave_out(job_ids(new.id, await store.aended(new.id)))
    if jobs.jobs:
        await jobs.asend()
    if not new.total:
        due = (await store.adue(new.id)).due
        await Sending(jobs.connection, callbacks_due(due, now=time.time())).asend()
        await store.acalled(new.id, list(due))


def sending(
    batch_id: str,
    members: Sequence[Member],
    connection: QueueConnection,
    queue: str | None,
    *,
    first: int,
    now: float,
) -> Sending:
    """
    Return the jobs of a batch on their way.

    Args:
        queue: where jobs wait that name no queue; None is the default of `connection`.
        first: index of the first of them.
        now: Unix seconds.

    Raises:
        InvalidJob: a job cannot be queued.
    """
    default_queue = queue or connection.default_queue
    carried = placed(members, batch_id, first, default_queue=default_queue, lanes=connection.lanes)
    return Sending(connection, [queued(job, now=now) for job in carried], heads(members))
