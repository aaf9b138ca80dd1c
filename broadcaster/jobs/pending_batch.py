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

A chain in a batch (``batch([chain([Fetch(1), Store(1)]), Count(2)])``) runs link by link, and
each link is a job of the batch; if one fails, those after it have failed with it. A batch may
itself be a link of a chain.

Unique locks are for jobs that are dispatched by themselves: jobs of a batch take none.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster import current
from broadcaster.contracts.batches import (
    MAX_BATCH,
    BatchRecord,
    Moment,
    NewBatch,
)
from broadcaster.errors import DriverError, DriverUnavailable, InvalidJob, Unsupported
from broadcaster.jobs.after_commit import postpone
from broadcaster.jobs.batch import CONNECTION, QUEUE, Batch, abegin_batch, begin_batch, sending
from broadcaster.jobs.batch_jobs import as_member, involved, placed, size
from broadcaster.jobs.bus import PreparedJob, follower, fresh_id, prepared
from broadcaster.jobs.chain import BatchLink, one_connection, waits
from broadcaster.jobs.nested_batch import StartBatch, called_at

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from broadcaster.contracts.batches import Batches
    from broadcaster.jobs.batch_jobs import Member
    from broadcaster.jobs.bus import Sending
    from broadcaster.jobs.chain import Chain
    from broadcaster.jobs.job import Job
    from broadcaster.protocol.payload import NextJob

_NOT_BEGUN = (DriverError, asyncio.CancelledError)
"""What leaves it open whether jobs of a batch were queued; not what jobs raise that run inline."""


def batch(jobs: Sequence[Job | PreparedJob | Chain]) -> PendingBatch:
    """
    Return a batch of `jobs`, which runs when it is dispatched.

    Args:
        jobs: jobs, and chains of which each link is a job of the batch.

    Raises:
        ValueError: over 1,000,000 jobs, or a chain with batches of its own.
    """
    return PendingBatch(tuple(as_member(job) for job in jobs))


@dataclasses.dataclass(frozen=True, slots=True)
class PendingBatch(BatchLink):
    """
    A batch that is being put together; every method returns a changed copy.

    It may be dispatched several times, and each time is a batch of its own. After an error the
    next time repeats the one that was not begun, under its id.

    Attributes:
        jobs: what it begins with.
        callbacks: jobs to queue, by moment.
        title: for people.
        failures_allowed: the first failure does not cancel it.
        bag: what is to be found with it.
        queue: where jobs wait whose class and options name no queue.
        connection: name of the queue connection.
    """

    jobs: tuple[Member, ...]
    callbacks: tuple[tuple[Moment, PreparedJob], ...] = ()
    title: str = ""
    failures_allowed: bool = False
    bag: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    queue: str | None = None
    connection: str | None = None
    _not_begun: list[str] = dataclasses.field(
        default_factory=list[str], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if (count := size(self.jobs)) > MAX_BATCH:
            raise ValueError(f"a batch has at most {MAX_BATCH:,} jobs, not {count:,}")

    def __repr__(self) -> str:
        """Say how large it is; there may be a million jobs."""
        name = f" {self.title!r}" if self.title else ""
        return f"<PendingBatch{name} of {size(self.jobs)} jobs>"

    def then(self, *jobs: Job | PreparedJob) -> PendingBatch:
        """Queue `jobs` when every job of the batch is done and it was not cancelled."""
        return self._calling("then", jobs)

    def catch(self, *jobs: Job | PreparedJob) -> PendingBatch:
        """Queue `jobs` when the first job of the batch has failed for good."""
        return self._calling("catch", jobs)

    def finally_(self, *jobs: Job | PreparedJob) -> PendingBatch:
        """Queue `jobs` when every job of the batch has run: done, skipped or failed."""
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
            after_commit: do so when the open transaction commits; None is the choice of the
                first job. The batch cannot be found before, and never after a rollback.

        Raises:
            InvalidJob: a job or an option cannot be queued.
            Unsupported: the connection cannot count jobs. Nothing was kept.
            ValueError: jobs on different connections.
            DriverUnavailable: the store or the queue cannot be reached. Nothing is lost or
                counted twice if the same object is dispatched again, and what has ended
                meanwhile is not run again.
        """
        starting = self._starting()
        if self._waits(starting, chosen=after_commit):
            return Batch(starting.draft)
        starting.run()
        with suppress(DriverUnavailable):
            return Batch(starting.store.find(starting.id) or starting.draft)
        return Batch(starting.draft)

    async def adispatch(self, *, after_commit: bool | None = None) -> Batch:
        """Dispatch from a coroutine; see `dispatch`."""
        starting = self._starting()
        if self._waits(starting, chosen=after_commit):
            return Batch(starting.draft)
        await starting.arun()
        with suppress(DriverUnavailable):
            return Batch(await starting.store.afind(starting.id) or starting.draft)
        return Batch(starting.draft)

    @property
    def involved(self) -> Sequence[PreparedJob]:
        """See `BatchLink.involved`."""
        return [*involved(self.jobs), *(job for _, job in self.callbacks)]

    def as_link(self, *, queue: str, connection: str | None, lanes: int) -> PreparedJob:
        """See `BatchLink.as_link`."""
        batch_id, queue = fresh_id(), self.queue or queue
        starter = StartBatch(
            batch_id=batch_id,
            title=self.title,
            failures_allowed=self.failures_allowed,
            bag=self._kept(connection),
            total=size(self.jobs),
            jobs=placed(self.jobs, batch_id, 0, default_queue=queue, lanes=lanes),
            callbacks=self._callbacks(batch_id, queue, lanes),
        )
        return prepared(starter, queue=queue)

    def _waits(self, starting: _Starting, *, chosen: bool | None) -> bool:
        waiting = waits(starting.sending.connection, self.involved, chosen=chosen)
        return waiting and postpone(starting)

    def _calling(self, moment: Moment, jobs: Sequence[Job | PreparedJob]) -> PendingBatch:
        added = tuple((moment, prepared(job)) for job in jobs)
        return dataclasses.replace(self, callbacks=(*self.callbacks, *added))

    def _starting(self) -> _Starting:
        application, now = current.application(), time.time()
        name = one_connection(self.connection, self.involved)
        connection = application.connection(name)
        if not connection.has_batches:  # or it would be kept, and never end
            raise Unsupported(
                f"the connection {connection.name} cannot keep a batch: give its jobs a "
                "connection to Redis, on_connection(...)",
                features=("a batch",),
            )
        batch_id = fresh_id()
        with suppress(IndexError):
            batch_id = self._not_begun.pop()
        callbacks = self._callbacks(
            batch_id, self.queue or connection.default_queue, connection.lanes
        )
        new = NewBatch(
            id=batch_id,
            name=self.title,
            total=size(self.jobs),
            allow_failures=self.failures_allowed,
            options=self._kept(name),
            callbacks=called_at(batch_id, callbacks, now=now),
        )
        jobs = sending(batch_id, self.jobs, connection, self.queue, first=0, now=now)
        return _Starting(application.batches, new, jobs, now, self._not_begun)

    def _kept(self, connection: str | None) -> dict[str, Any]:
        """Return the options that are kept, ours included."""
        bag = {**self.bag, QUEUE: self.queue, CONNECTION: connection}
        try:
            msgspec.json.encode(bag)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidJob(f"the options of a batch must be JSON: {error}") from error
        return bag

    def _callbacks(self, batch_id: str, queue: str, lanes: int) -> dict[Moment, list[NextJob]]:
        made: dict[Moment, list[NextJob]] = {}
        for moment, job in self.callbacks:
            made.setdefault(moment, []).append(follower(job, queue, batch_id, lanes))
        return made


class _Starting:
    """
    A batch on its way.

    Implements `broadcaster.jobs.after_commit.Action`.
    """

    def __init__(
        self, store: Batches, new: NewBatch, jobs: Sending, now: float, not_begun: list[str]
    ) -> None:
        self.store = store
        self.sending = jobs
        self._new = new
        self._now = now
        self._not_begun = not_begun

    @property
    def id(self) -> str:
        """Of the batch."""
        return self._new.id

    @property
    def draft(self) -> BatchRecord:
        """The batch as it will be."""
        return BatchRecord(
            id=self._new.id,
            name=self._new.name,
            total=self._new.total,
            pending=self._new.total,
            failed=0,
            allow_failures=self._new.allow_failures,
            options=self._new.options,
            created_at=self._now,
        )

    def run(self) -> None:
        with self._noted():
            begin_batch(self.store, self._new, self.sending)

    async def arun(self) -> None:
        with self._noted():
            await abegin_batch(self.store, self._new, self.sending)

    @contextmanager
    def _noted(self) -> Generator[None]:
        """Note when it may not have been begun, for who dispatches the same again."""
        try:
            yield
        except _NOT_BEGUN:
            self._not_begun.append(self.id)
            raise
