"""An application whose queue records, for tests of what is dispatched and of middleware."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from broadcaster import current
from broadcaster.contracts.application import BroadcastRules
from broadcaster.contracts.batches import Marked
from broadcaster.contracts.connections import QueueConnection, ServedConnection
from broadcaster.contracts.limits import Allowance
from broadcaster.contracts.queue import Pushed
from broadcaster.drivers.null import NullLimiter, NullLocks
from broadcaster.drivers.sync import SyncQueue
from broadcaster.drivers.sync_batches import SyncBatches
from broadcaster.jobs.inline import InlineJobs
from broadcaster.jobs.registry import Registry
from broadcaster.protocol.lanes import LANES
from broadcaster.protocol.payload import Payload, decode_payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.limits import LockOwner
    from broadcaster.contracts.queue import NewJob, Queue
    from broadcaster.contracts.queue_admin import QueueAdmin


class RecordingQueue:
    """Keeps what is pushed; the jobs of `locked` are kept out by another one."""

    def __init__(self) -> None:
        self.pushed: list[NewJob] = []
        self.locked: set[str] = set()

    @property
    def payloads(self) -> list[Payload]:
        return [decode_payload(job.body) for job in self.pushed]

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        out = {job.id: "owner" for job in jobs if job.unique and job.unique.key in self.locked}
        self.pushed += [job for job in jobs if job.id not in out]
        return Pushed(new=[job.id for job in jobs if job.id not in out], locked=out)

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        return self.push(jobs)


class RecordingLimiter(NullLimiter):
    """Allows what `allowance` says; counts in memory, and no window ever ends."""

    def __init__(self) -> None:
        self.allowance = Allowance(allowed=True, remaining=1, retry_after=0.0)
        self.asked: list[tuple[str, int, float]] = []
        self.counts: dict[str, int] = {}

    def throttle(self, key: str, allow: int, every: float, cost: int = 1) -> Allowance:
        del cost
        self.asked.append((key, allow, every))
        return self.allowance

    def take(self, key: str, capacity: int, per_second: float, cost: int = 1) -> Allowance:
        del cost
        self.asked.append((key, capacity, per_second))
        return self.allowance

    def count(self, key: str, seconds: float, by: int = 1) -> int:
        del seconds
        self.counts[key] = self.counts.get(key, 0) + by
        return self.counts[key]

    def left(self, key: str) -> float:
        return 30.0 if self.counts.get(key) else 0.0

    def forget(self, key: str) -> None:
        self.counts.pop(key, None)


class RecordingLocks(NullLocks):
    """One owner a key, and for ever; says 12 seconds to everybody else."""

    def __init__(self) -> None:
        self.held: dict[str, LockOwner] = {}
        self.leases: list[float] = []

    def acquire(self, key: str, owner: LockOwner, lease: float) -> float:
        self.leases.append(lease)
        return 0.0 if self.held.setdefault(key, owner) == owner else 12.0

    def release(self, key: str, owner: LockOwner) -> bool:
        return self.held.get(key) == owner and self.held.pop(key) == owner


class FailedJobsFake:
    """Puts back whatever it is asked for."""

    def __init__(self) -> None:
        self.retried: list[str] = []
        self.insisted: bool | None = None

    def retry(self, job_ids: Sequence[str], *, insist: bool = True) -> Sequence[str]:
        self.retried += job_ids
        self.insisted = insist
        return job_ids


class ReopeningBatches(SyncBatches):
    """Tells which jobs failed, as stores do that keep them."""

    def reopen(self, batch_id: str) -> Sequence[int]:
        marked = self.due(batch_id)
        assert isinstance(marked, Marked)
        return [0, 2]


class RecordingPauses:
    """The pausing half of `broadcaster.contracts.queue_admin.QueueAdmin`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.held: set[str] = set()
        self.failure: Exception | None = None

    def pause(
        self, queue: str, seconds: float | None = None, by: str = "", *, lanes: int = 0
    ) -> None:
        if self.failure is not None:
            raise self.failure
        self.calls.append(("pause", queue, seconds, by, lanes))
        self.held.add(queue)

    async def apause(
        self, queue: str, seconds: float | None = None, by: str = "", *, lanes: int = 0
    ) -> None:
        self.pause(queue, seconds, by, lanes=lanes)

    def resume(self, queue: str, *, lanes: int = 0) -> bool:
        self.calls.append(("resume", queue, lanes))
        was = queue in self.held
        self.held.discard(queue)
        return was

    async def aresume(self, queue: str, *, lanes: int = 0) -> bool:
        return self.resume(queue, lanes=lanes)


class JobsApplication:
    """The parts of `broadcaster.contracts.application.Application` that jobs use."""

    default_queue = "default"

    def __init__(self) -> None:
        self.rules = BroadcastRules()
        self.recorded = RecordingQueue()
        self.after_commit = False
        self.has_batches = True
        self.lanes = LANES
        self.connections: list[str | None] = []
        self.batches: SyncBatches = SyncBatches()
        self.failed_jobs = FailedJobsFake()
        self.locks = RecordingLocks()
        self.limiter = RecordingLimiter()
        self.queue = cast("Queue", self.recorded)
        self.pauses = RecordingPauses()

    def connection(self, name: str | None = None) -> QueueConnection:
        self.connections.append(name)
        return QueueConnection(
            name=name or "default",
            queue=self.queue,
            after_commit=self.after_commit,
            lanes=self.lanes,
            has_batches=self.has_batches,
        )

    def served(self, name: str | None = None) -> ServedConnection:
        self.connections.append(name)
        return ServedConnection(
            name=name or "default", admin=cast("QueueAdmin", self.pauses), lanes=self.lanes
        )

    def close(self) -> None: ...


@contextlib.contextmanager
def inline_application(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsApplication]:
    """The current application, which runs jobs where they are dispatched, for pages of docs."""
    table = Registry()  # names of a page may be those of other tests
    monkeypatch.setattr("broadcaster.jobs.job.registry", table)
    monkeypatch.setattr("broadcaster.jobs.inline.registry", table)
    made = JobsApplication()
    made.queue = cast("Queue", SyncQueue(InlineJobs(lambda: made.batches)))
    current.use(cast("Application", made))
    try:
        yield made
    finally:
        current.reset()
