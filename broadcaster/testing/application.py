"""
The application that fakes put before the real one.

What they take ends there; all else goes on to the real application, which is made when it is
first needed. So a test whose fakes take everything needs no settings and no Redis.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from broadcaster import current
from broadcaster.contracts.connections import QueueConnection, ServedConnection
from broadcaster.contracts.settlements import Pushed
from broadcaster.drivers.sync_batches import SyncBatches
from broadcaster.drivers.sync_statuses import SyncJobStatuses
from broadcaster.errors import NotConfigured
from broadcaster.testing.records import read_push

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.batches import Batches, BatchRecord, NewBatch
    from broadcaster.contracts.job_status import JobStatuses
    from broadcaster.contracts.queue import Queue
    from broadcaster.contracts.queue_admin import QueueAdmin
    from broadcaster.contracts.settlements import NewJob
    from broadcaster.testing.records import PushedJob


class Recorder(Protocol):
    """A fake that takes jobs and batches."""

    def wants(self, pushed: PushedJob) -> bool:
        """Whether it takes this job: the job goes no further."""
        ...

    def take(self, pushed: PushedJob) -> None:
        """Write a job down."""
        ...

    def take_batch(self, batch: NewBatch) -> bool:
        """Write a batch down; False lets it go on to the real store."""
        ...


class FakeApplication:
    """
    Implements `Application` for fakes; see the head of this module.

    Attributes:
        recorders: who is asked about every job.
        plain: what is encrypted stays readable.
    """

    def __init__(self, real: Application) -> None:
        self._real = real
        self._lock = threading.Lock()
        self._locks: dict[str, str] = {}
        self._batches = SyncBatches()
        self._statuses = SyncJobStatuses(time.time)
        self._paused: set[tuple[str, str]] = set()
        self.recorders: list[Recorder] = []
        self.plain = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @property
    def app_id(self) -> str:
        """See `Application.app_id`; ``fake`` without credentials."""
        try:
            return self._real.app_id
        except NotConfigured:
            return "fake"

    @property
    def queue(self) -> Queue:
        """See `Application.queue`."""
        return self.connection().queue

    @property
    def batches(self) -> Batches:
        """See `Application.batches`."""
        return cast("Batches", _FakeBatches(self, self._batches))

    @property
    def job_statuses(self) -> JobStatuses:
        """See `Application.job_statuses`; of jobs that fakes take, they are kept here."""
        return self._statuses if self.recorders else self._real.job_statuses

    def connection(self, name: str | None = None) -> QueueConnection:
        """See `Application.connection`; any name will do where the real one has no server."""
        try:
            real = self._real.connection(name)
        except NotConfigured as error:
            queue = _FakeQueue(self, name or "default", _raising(error))
            rules = self._real.rules
            return QueueConnection(
                name=name or "default",
                queue=cast("Queue", queue),
                default_queue=self._real.default_queue,
                after_commit=rules.after_commit,
            )
        return replace(real, queue=cast("Queue", _FakeQueue(self, real.name, lambda: real.queue)))

    def served(self, name: str | None = None) -> ServedConnection:
        """See `Application.served`; what fakes of the queue pause is paused nowhere else."""
        if not self.recorders:
            return self._real.served(name)
        known = name or "default"
        admin = _FakeAdmin(self._paused, known, lambda: self._real.served(name).admin)
        return ServedConnection(name=known, admin=cast("QueueAdmin", admin))

    def encrypt(self, channel: str, data: str) -> str:
        """See `Application.encrypt`."""
        return data if self.plain else self._real.encrypt(channel, data)

    def real_batches(self) -> Batches:
        """Return the store behind this one."""
        return self._real.batches

    def offer(self, jobs: Sequence[NewJob], connection: str) -> tuple[Pushed, list[NewJob]]:
        """Give `jobs` to those who want them; return what became of them, and what goes on."""
        new: list[str] = []
        locked: dict[str, str] = {}
        passing: list[NewJob] = []
        for job in jobs:
            pushed = read_push(job, connection)
            takers = [recorder for recorder in self.recorders if recorder.wants(pushed)]
            owner = self._owner_of_lock(job) if takers else job.id
            if not takers:
                passing.append(job)
            elif owner != job.id:
                locked[job.id] = owner
            else:
                new.append(job.id)
                for recorder in takers:
                    recorder.take(pushed)
        return Pushed(new=new, locked=locked), passing

    def _owner_of_lock(self, job: NewJob) -> str:
        """Return the id of the job that has the unique lock of `job`, its own if it was free."""
        if job.unique is None:
            return job.id
        with self._lock:
            return self._locks.setdefault(job.unique.key, job.id)


@contextmanager
def recording(recorder: Recorder | None = None, *, plain: bool = False) -> Generator[None]:
    """Put `recorder` before the current application, beside those that are there already."""
    here: Any = current.application()
    if isinstance(here, FakeApplication):
        with _added(here, recorder, plain=plain):
            yield
        return
    fake = FakeApplication(here)
    with _added(fake, recorder, plain=plain), current.replaced(cast("Application", fake)):
        yield


@contextmanager
def _added(fake: FakeApplication, recorder: Recorder | None, *, plain: bool) -> Generator[None]:
    before = fake.plain
    fake.plain = plain or before
    if recorder is not None:
        fake.recorders.append(recorder)
    try:
        yield
    finally:
        fake.plain = before
        if recorder is not None:
            fake.recorders.remove(recorder)


class _FakeQueue:
    """Implements the pushing half of `Queue`; the other half is the real one's."""

    def __init__(
        self, application: FakeApplication, connection: str, real: Callable[[], Queue]
    ) -> None:
        self._application = application
        self._connection = connection
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        """See `Queue.push`."""
        taken, passing = self._application.offer(jobs, self._connection)
        return _joined(taken, self._real().push(passing)) if passing else taken

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        """See `Queue.push`."""
        taken, passing = self._application.offer(jobs, self._connection)
        return _joined(taken, await self._real().apush(passing)) if passing else taken


class _FakeAdmin:
    """Implements the pausing half of `QueueAdmin`; the other half is the real one's."""

    def __init__(
        self, paused: set[tuple[str, str]], connection: str, real: Callable[[], QueueAdmin]
    ) -> None:
        self._paused = paused
        self._connection = connection
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def pause(
        self, queue: str, seconds: float | None = None, by: str = "", *, lanes: int = 0
    ) -> None:
        """See `QueueAdmin.pause`; it has no end."""
        del seconds, by, lanes
        self._paused.add((self._connection, queue))

    async def apause(
        self, queue: str, seconds: float | None = None, by: str = "", *, lanes: int = 0
    ) -> None:
        """See `QueueAdmin.pause`."""
        self.pause(queue, seconds, by, lanes=lanes)

    def resume(self, queue: str, *, lanes: int = 0) -> bool:
        """See `QueueAdmin.resume`."""
        del lanes
        was = (self._connection, queue) in self._paused
        self._paused.discard((self._connection, queue))
        return was

    async def aresume(self, queue: str, *, lanes: int = 0) -> bool:
        """See `QueueAdmin.resume`."""
        return self.resume(queue, lanes=lanes)


class _FakeBatches:
    """Implements `Batches`: those that are taken stay here, of the others it knows nothing."""

    def __init__(self, application: FakeApplication, taken: SyncBatches) -> None:
        self._application = application
        self._taken = taken

    def __getattr__(self, name: str) -> Any:
        """Return a method of the store that has the batch of its first argument."""

        def call(batch_id: str, *given: Any, **more: Any) -> Any:
            return getattr(self._store_of(batch_id), name)(batch_id, *given, **more)

        return call

    def create(self, batch: NewBatch) -> bool:
        """See `Batches.create`."""
        if self._take(batch):
            return self._taken.create(batch)
        return self._application.real_batches().create(batch)

    async def acreate(self, batch: NewBatch) -> bool:
        """See `Batches.create`."""
        if self._take(batch):
            return self._taken.create(batch)
        return await self._application.real_batches().acreate(batch)

    def newest(self, limit: int = 100, before: float | None = None) -> Sequence[BatchRecord]:
        """See `Batches.newest`; those that were taken."""
        return self._taken.newest(limit, before)

    def prune(self, older_than: float, *, unfinished: bool = False) -> int:
        """See `Batches.prune`; those that were taken."""
        return self._taken.prune(older_than, unfinished=unfinished)

    def _take(self, batch: NewBatch) -> bool:
        takers = [one for one in self._application.recorders if one.take_batch(batch)]
        return bool(takers)

    def _store_of(self, batch_id: str) -> Batches:
        if self._taken.find(batch_id) is not None:
            return self._taken
        return self._application.real_batches()


def _joined(one: Pushed, other: Pushed) -> Pushed:
    return Pushed(
        new=[*one.new, *other.new], known=other.known, locked={**one.locked, **other.locked}
    )


def _raising(error: NotConfigured) -> Callable[[], Queue]:
    def real() -> Queue:
        raise error

    return real
