from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster import current
from broadcaster.contracts.connections import QueueConnection
from broadcaster.contracts.queue import Pushed
from broadcaster.errors import InvalidJob
from broadcaster.jobs.bus import new_job
from broadcaster.jobs.delay import minutes
from broadcaster.jobs.job import Job
from broadcaster.protocol.payload import MAX_PAYLOAD_BYTES, decode_payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.queue import NewJob, Queue, Unique


class Ship(Job, name="bus.Ship", queue="ships", tries=3, backoff=2, timeout=9):
    order: int

    def handle(self) -> None: ...


class Tell(Job, name="bus.Tell"):
    text: str

    def handle(self) -> None: ...


class RecordingApplication:
    """The current application of these tests; it is its own queue."""

    default_queue = "default"

    def __init__(self) -> None:
        self.pushed: list[NewJob] = []
        self.locked: set[Unique] = set()

    @property
    def queue(self) -> RecordingApplication:
        return self

    def connection(self, name: str | None = None) -> QueueConnection:
        return QueueConnection(name=name or "default", queue=cast("Queue", self))

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        self.pushed += jobs
        locked = {job.id: "the owner" for job in jobs if job.unique in self.locked}
        return Pushed(new=[job.id for job in jobs if job.id not in locked], locked=locked)

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        return self.push(jobs)

    def close(self) -> None: ...


@pytest.fixture
def application() -> Iterator[RecordingApplication]:
    made = RecordingApplication()
    current.use(cast("Application", made))
    yield made
    current.reset()


def made(job: Job, **options: Any) -> NewJob:
    return new_job(job, now=1_700_000_000.0, randomness=bytes(10), default_queue="d", **options)


def test_a_new_job_carries_its_class_options() -> None:
    new = made(Ship(5))
    payload = decode_payload(new.body)

    assert (new.queue, new.delay, new.id) == ("ships", 0.0, payload.id)
    assert (payload.job, payload.data) == ("bus.Ship", {"order": 5})
    assert (payload.tries, payload.backoff, payload.timeout) == (3, (2.0,), 9.0)


@pytest.mark.parametrize(
    ("job", "queue", "expected"),
    [(Ship(1), "low", "low"), (Ship(1), None, "ships"), (Tell("x"), None, "d")],
)
def test_the_queue_is_the_call_s_then_the_class_s_then_the_default(
    job: Job, queue: str | None, expected: str
) -> None:
    assert made(job, queue=queue).queue == expected


def test_an_impossible_delay_is_refused() -> None:
    with pytest.raises(ValueError, match="delay must be"):
        made(Ship(1), delay=-1)


@pytest.mark.parametrize("text", ["\ud800", "x" * MAX_PAYLOAD_BYTES])
def test_what_cannot_be_queued_is_refused_at_the_call(
    application: RecordingApplication, text: str
) -> None:
    with pytest.raises(InvalidJob):
        Tell(text).dispatch()

    assert application.pushed == []


def test_dispatch_pushes_to_the_current_application(application: RecordingApplication) -> None:
    job_id = Ship(5).dispatch(delay=minutes(5), queue="low")

    (new,) = application.pushed
    assert (new.id, new.queue, new.delay) == (job_id, "low", 300.0)


async def test_adispatch_does_the_same(application: RecordingApplication) -> None:
    job_id = await Tell("x").adispatch()

    (new,) = application.pushed
    assert (new.id, new.queue) == (job_id, "default")


def test_ids_are_unique_and_sort_by_time(application: RecordingApplication) -> None:
    ids = [Ship(1).dispatch() for _ in range(100)]

    assert len(set(ids)) == 100
    assert [each[:12] for each in ids] == sorted(each[:12] for each in ids)
