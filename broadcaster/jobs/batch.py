"""
Batches: jobs that run side by side and are counted together.

::

    import_users = (
        batch([ImportChunk(1), ImportChunk(2)])
        .then(Report())             # all are done, and it was not cancelled
        .catch(Alarm())             # the first one failed for good
        .finally_(CleanUp())        # all have run
        .name("users")
        .dispatch()
    )
    find_batch(import_users.id).progress

The first failure cancels the batch, unless failures are allowed: jobs of it that have not
started yet are skipped then, except those of classes with ``skip_cancelled=False``. Each
callback is queued exactly once, and knows its batch (`Job.batch`).

Unique locks are for jobs that are dispatched by themselves: jobs of a batch take none.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster import current
from broadcaster.contracts.batches import MAX_BATCH, BatchRecord, Moment, NewBatch
from broadcaster.contracts.settlements import NewJob
from broadcaster.errors import InvalidJob
from broadcaster.jobs.after_commit import postpone
from broadcaster.jobs.bus import Sending, follower, fresh_id, payload_of, prepared, queue_of
from broadcaster.jobs.chain import one_connection
from broadcaster.jobs.sequels import called_back
from broadcaster.protocol.ids import derived_id
from broadcaster.protocol.payload import BatchPlace, Cause, encode_payload, refreshed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.connections import QueueConnection
    from broadcaster.jobs.bus import PreparedJob
    from broadcaster.jobs.job import Job

_QUEUE = "broadcaster.queue"
_CONNECTION = "broadcaster.connection"


def batch(jobs: Sequence[Job | PreparedJob]) -> PendingBatch:
    """
    Return a batch of `jobs`, which runs when it is dispatched.

    Raises:
        ValueError: over 1,000,000 jobs.
    """
    return PendingBatch(tuple(prepared(job) for job in jobs), fresh_id())


def find_batch(batch_id: str) -> Batch | None:
    """
    Return a batch as it is now, or None; blocks for one round trip.

    Raises:
        DriverUnavailable: the store cannot be reached.
    """
    record = current.application().batches.find(batch_id)
    return None if record is None else Batch(record)


async def afind_batch(batch_id: str) -> Batch | None:
    """Return a batch as it is now, or None; see `find_batch`."""
    record = await current.application().batches.afind(batch_id)
    return None if record is None else Batch(record)


@dataclasses.dataclass(frozen=True, slots=True)
class PendingBatch:
    """
    A batch that is being put together; every method returns a changed copy.

    Attributes:
        jobs: what it begins with.
        id: of the batch. Dispatching again after an error repeats under this id.
        callbacks: jobs to queue, by moment.
        title: for people.
        failures_allowed: the first failure does not cancel it.
        bag: what is to be found with it.
        queue: where jobs wait whose class and options name no queue.
        connection: name of the queue connection.
    """

    jobs: tuple[PreparedJob, ...]
    id: str
    callbacks: tuple[tuple[Moment, PreparedJob], ...] = ()
    title: str = ""
    failures_allowed: bool = False
    bag: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    queue: str | None = None
    connection: str | None = None

    def __post_init__(self) -> None:
        if len(self.jobs) > MAX_BATCH:
            raise ValueError(f"a batch has at most {MAX_BATCH:,} jobs, not {len(self.jobs):,}")

    def then(self, *jobs: Job | PreparedJob) -> PendingBatch:
        """Queue `jobs` when every job of the batch is done and it was not cancelled."""
        return self._calling("then", jobs)

    def catch(self, *jobs: Job | PreparedJob) -> PendingBatch:
        """Queue `jobs` when the first job of the batch has failed for good."""
        return self._calling("catch", jobs)

    def finally_(self, *jobs: Job | PreparedJob) -> PendingBatch:
        """Queue `jobs` when every job of the batch has run, done or failed."""
        return self._calling("finally", jobs)

    def allow_failures(self, *, allowed: bool = True) -> PendingBatch:
        """Go on when jobs fail."""
        return dataclasses.replace(self, failures_allowed=allowed)

    def name(self, title: str) -> PendingBatch:
        """Give it a name, for people."""
        return dataclasses.replace(self, title=title)

    def options(self, bag: Mapping[str, Any]) -> PendingBatch:
        """Keep `bag`, in JSON types, with it; `Batch.options` has it again."""
        return dataclasses.replace(self, bag={**self.bag, **bag})

    def on_queue(self, queue: str) -> PendingBatch:
        """Put jobs that name no queue into `queue`."""
        return dataclasses.replace(self, queue=queue)

    def on_connection(self, connection: str) -> PendingBatch:
        """Put all jobs on `connection`."""
        return dataclasses.replace(self, connection=connection)

    def dispatch(self, *, after_commit: bool | None = None) -> Batch:
        """
        Keep the batch, queue its jobs, and return it; blocks for a few round trips.

        Args:
            after_commit: queue the jobs when the open transaction commits; None is the choice
                of the first job. The batch can be found at once, and stays as it is if the
                transaction is rolled back.

        Raises:
            InvalidJob: a job or an option cannot be queued.
            ValueError: jobs on different connections.
            DriverUnavailable: the store or the queue cannot be reached. Nothing is lost or
                counted twice if the same object is dispatched again.
        """
        store = current.application().batches
        connection, new = self._made()
        store.create(new)
        if self.jobs:
            sending = _sending(self.id, self.jobs, 0, connection, self.queue)
            if not self._waits(sending, chosen=after_commit):
                sending.send()
        else:
            due = store.due(self.id).due
            connection.queue.push(_called(due))
            store.called(self.id, list(due))
        return Batch(store.find(self.id) or _unfound(self.id))

    async def adispatch(self, *, after_commit: bool | None = None) -> Batch:
        """Dispatch from a coroutine; see `dispatch`."""
        store = current.application().batches
        connection, new = self._made()
        await store.acreate(new)
        if self.jobs:
            sending = _sending(self.id, self.jobs, 0, connection, self.queue)
            if not self._waits(sending, chosen=after_commit):
                await sending.asend()
        else:
            due = (await store.adue(self.id)).due
            await connection.queue.apush(_called(due))
            await store.acalled(self.id, list(due))
        return Batch(await store.afind(self.id) or _unfound(self.id))

    def _waits(self, sending: Sending, *, chosen: bool | None) -> bool:
        first = self.jobs[0].options.after_commit if chosen is None else chosen
        return (sending.connection.after_commit if first is None else first) and postpone(sending)

    def _calling(self, moment: Moment, jobs: Sequence[Job | PreparedJob]) -> PendingBatch:
        added = tuple((moment, prepared(job)) for job in jobs)
        return dataclasses.replace(self, callbacks=(*self.callbacks, *added))

    def _made(self) -> tuple[QueueConnection, NewBatch]:
        involved = (*self.jobs, *(job for _, job in self.callbacks))
        name = one_connection(self.connection, involved)
        connection = current.application().connection(name)
        bag = {**self.bag, _QUEUE: self.queue, _CONNECTION: name}
        try:
            msgspec.json.encode(bag)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidJob(f"the options of a batch must be JSON: {error}") from error
        callbacks: dict[Moment, list[NewJob]] = {}
        cause, now = Cause(batch=self.id), time.time()
        lanes = current.application().rules.lanes
        for moment, job in self.callbacks:
            link = follower(job, self.queue or connection.default_queue, self.id, lanes)
            mine = callbacks.setdefault(moment, [])
            mine.append(called_back(link, f"{self.id}:{moment}", len(mine), cause, now=now))
        return connection, NewBatch(
            id=self.id,
            name=self.title,
            total=len(self.jobs),
            allow_failures=self.failures_allowed,
            options=bag,
            callbacks=callbacks,
        )


class Batch:
    """
    A batch as it was when it was looked at; `fresh` looks again.

    Attributes:
        record: what the store said.
    """

    __slots__ = ("record",)

    def __init__(self, record: BatchRecord) -> None:
        self.record = record

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
        ours = {_QUEUE, _CONNECTION}
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

    def add(self, jobs: Sequence[Job | PreparedJob]) -> int:
        """
        Add `jobs` while it runs, best from one of its own jobs; return how many.

        Raises:
            InvalidJob: a job cannot be queued, or the batch is finished, cancelled or gone.
            DriverUnavailable: the store or the queue cannot be reached.
        """
        added, connection = self._added(jobs)
        index = current.application().batches.add(self.id, fresh_id(), len(added))
        if added:
            self._adding(added, index, connection).send()
        return len(added)

    async def aadd(self, jobs: Sequence[Job | PreparedJob]) -> int:
        """Add jobs from a coroutine; see `add`."""
        added, connection = self._added(jobs)
        index = await current.application().batches.aadd(self.id, fresh_id(), len(added))
        if added:
            await self._adding(added, index, connection).asend()
        return len(added)

    def retry_failed(self) -> int:
        """Take back its cancellation and run its failed jobs again; return how many."""
        application = current.application()
        indices = application.batches.reopen(self.id)
        ids = [job_id(self.id, index) for index in indices]
        now = time.time()
        put_back = application.failed_jobs.retry(ids, refresh=partial(refreshed, now=now))
        return len(put_back)

    async def aretry_failed(self) -> int:
        """Run failed jobs again, from a coroutine; see `retry_failed`."""
        return await asyncio.to_thread(self.retry_failed)

    def _added(
        self, jobs: Sequence[Job | PreparedJob]
    ) -> tuple[Sequence[PreparedJob], QueueConnection]:
        name = self.record.options.get(_CONNECTION)
        return [prepared(job) for job in jobs], current.application().connection(name)

    def _adding(
        self, jobs: Sequence[PreparedJob], first: int | None, connection: QueueConnection
    ) -> Sending:
        if first is None:
            raise InvalidJob(
                f"batch {self.id} takes no jobs any more: it is finished, cancelled, full or gone"
            )
        return _sending(self.id, jobs, first, connection, self.record.options.get(_QUEUE))


def job_id(batch_id: str, index: int) -> str:
    """Return the id of the job `index` of a batch."""
    return derived_id("batch", batch_id, index)


def _sending(
    batch_id: str,
    jobs: Sequence[PreparedJob],
    first: int,
    connection: QueueConnection,
    queue: str | None,
) -> Sending:
    now = time.time()
    default_queue = queue or connection.default_queue
    lanes = current.application().rules.lanes
    made: list[NewJob] = []
    for index, ready in enumerate(jobs, first):
        payload = payload_of(ready, job_id=job_id(batch_id, index), now=now)
        place = BatchPlace(id=batch_id, index=index, always=not ready.options.skip_cancelled)
        body = encode_payload(msgspec.structs.replace(payload, batch=place))
        made.append(
            NewJob(payload.id, queue_of(ready, default_queue, lanes), body, ready.options.delay)
        )
    return Sending(connection, made, [ready.job for ready in jobs])


def _called(due: Mapping[Moment, Sequence[NewJob]]) -> list[NewJob]:
    return [job for jobs in due.values() for job in jobs]


def _unfound(batch_id: str) -> BatchRecord:
    """Stand in for the record of a batch that was pruned as soon as it was there."""
    return BatchRecord(
        id=batch_id,
        name="",
        total=0,
        pending=0,
        failed=0,
        allow_failures=False,
        options={},
        created_at=0.0,
    )
