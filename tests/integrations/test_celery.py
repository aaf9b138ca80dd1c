"""Issue bullet on drivers: Celery runs our jobs, and what it cannot keep is refused at dispatch."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.exceptions import WorkerShutdown
from celery.signals import setup_logging

from broadcaster import current
from broadcaster.contracts.queue import Link, NewJob, Unique
from broadcaster.errors import DriverUnavailable, JobError, NotConfigured, Unsupported
from broadcaster.integrations.celery import KEEPS, TASK, CeleryQueue, install, run_payload
from broadcaster.jobs.chain import chain
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import WithoutOverlapping
from broadcaster.jobs.outcome import Finished, GiveUp, Past, PutOff, TryAgain
from broadcaster.jobs.pending_batch import batch
from broadcaster.protocol.payload import (
    BROADCAST_JOB,
    BatchPlace,
    Cause,
    ChainPlace,
    Payload,
    encode_payload,
)
from broadcaster.settings import ConnectionSettings, Settings
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ran: list[tuple[str, int]] = []


class Note(Job, name="tests.celery.Note"):
    text: str

    def handle(self) -> None:
        ran.append((self.text, self.attempts))


class NoteLater(Job, name="tests.celery.NoteLater", timeout=30):
    text: str

    async def handle(self) -> None:
        ran.append((self.text, self.attempts))


class Stubborn(Job, name="tests.celery.Stubborn", tries=3, backoff=[0]):
    text: str

    def handle(self) -> None:
        ran.append((self.text, self.attempts))
        raise ZeroDivisionError

    def failed(self, error: BaseException) -> None:
        ran.append((type(error).__name__, 0))


class PutsOff(Job, name="tests.celery.PutsOff"):
    def handle(self) -> None:
        self.release(1, count=False)


class Slow(Job, name="tests.celery.Slow", timeout=0.01):
    async def handle(self) -> None:
        await asyncio.Event().wait()


class Swallows(Slow, name="tests.celery.Swallows", timeout=0.01):
    """Makes nothing of its being cancelled, or another error."""

    error: bool = False

    async def handle(self) -> None:
        try:
            await super().handle()
        except asyncio.CancelledError:
            if self.error:
                raise OSError("the connection was cut") from None


class SlowInThread(Job, name="tests.celery.SlowInThread", timeout=5):
    def handle(self) -> None: ...


class Once(Job, name="tests.celery.Once", unique=True):
    def handle(self) -> None: ...


class Alone(Job, name="tests.celery.Alone"):
    key: str

    def middleware(self) -> list[WithoutOverlapping]:
        return [WithoutOverlapping(self.key)]

    def handle(self) -> None: ...


class InOrder(Job, name="tests.celery.InOrder", ordered_by="key"):
    key: str

    def handle(self) -> None: ...


class Ends(Job, name="tests.celery.Ends", tries=2, backoff=0):
    """Does what would end Celery's process: it is handed on and on then."""

    how: str

    def handle(self) -> None:
        raise ENDS[self.how]

    def failed(self, error: BaseException) -> None:
        ran.append((str(error), 0))
        raise ENDS[self.how]


class EndsLater(Ends, name="tests.celery.EndsLater"):
    async def handle(self) -> None:  # type: ignore[override]
        raise ENDS[self.how]

    async def failed(self, error: BaseException) -> None:  # type: ignore[override]
        ran.append((str(error), 0))
        raise ENDS[self.how]


ENDS = {
    "exit": SystemExit(3),
    "cancel": asyncio.CancelledError("me"),
    "close": GeneratorExit("x"),
    "signal": SystemExit(-241),
    "shutdown": WorkerShutdown(0),
}

app = Celery("tests", broker="memory://")
install(app)


def leave_logging_alone(**_: Any) -> None:
    """Celery configures logging unless somebody listens to this."""


setup_logging.connect(leave_logging_alone)


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    ran.clear()
    connection = ConnectionSettings(driver="celery", celery_app=f"{__name__}:app", default="celery")
    current.configure(Settings(queues={"celery": connection}))
    yield
    current.reset()


def queue() -> CeleryQueue:
    return CeleryQueue(app)


def job_of(payload: Payload | None = None, **options: Any) -> NewJob:
    payload = payload or Payload(id=uuid.uuid4().hex, job="tests.celery.Note", data={"text": "x"})
    return NewJob(payload.id, options.pop("queue", "celery"), encode_payload(payload), **options)


def body(job: str, **fields: Any) -> bytes:
    return encode_payload(Payload(id=uuid.uuid4().hex, job=job, **fields))


def test_a_worker_of_celery_runs_our_jobs() -> None:
    with start_worker(app, perform_ping_check=False, pool="solo", loglevel="ERROR"):
        Note(text="sync").dispatch(connection="celery")
        NoteLater(text="async").dispatch(connection="celery")
        Stubborn(text="again").dispatch(connection="celery")
        asyncio.run(eventually(lambda: ("ZeroDivisionError", 0) in ran, within=20))

    assert sorted(ran) == sorted(
        [
            ("sync", 1),
            ("async", 1),
            ("again", 1),
            ("again", 2),
            ("again", 3),
            ("ZeroDivisionError", 0),
        ]
    )


async def test_the_coroutine_sends_the_same() -> None:
    job_id = await Note(text="x").adispatch(connection="celery")

    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)

    assert message.headers["task"] == TASK
    assert message.headers["id"] == job_id


@pytest.mark.parametrize(
    ("job", "feature"),
    [
        (Once(), "a unique lock"),
        (InOrder(key="k"), "an order (ordered_by)"),
        (Alone(key="k"), "a lock that dies with its worker (WithoutOverlapping)"),
        (SlowInThread(), "a timeout of a sync job"),
    ],
)
def test_what_celery_cannot_keep_is_refused_at_dispatch(job: Job, feature: str) -> None:
    with pytest.raises(Unsupported, match="Celery cannot keep") as refused:
        job.dispatch(connection="celery")

    assert refused.value.features == (feature,)


def test_a_chain_is_refused_at_dispatch() -> None:
    with pytest.raises(Unsupported, match="a chain"):
        chain([Note(text="a").with_options(connection="celery"), Note(text="b")]).dispatch()


def test_a_batch_is_refused_before_it_is_kept() -> None:
    """The store of batches is not even asked: there is none here."""
    with pytest.raises(Unsupported, match="connection celery cannot keep a batch"):
        batch([Note(text="a")]).on_connection("celery").dispatch()


def place(**fields: Any) -> Payload:
    return Payload(id="0" * 32, job="tests.celery.Note", **fields)


@pytest.mark.parametrize(
    ("new", "feature"),
    [
        (job_of(delay=0.5), "a delay in milliseconds"),
        (job_of(delay=7_200), "a delay over 3,600 s"),
        (job_of(place(backoff=(1.0, 7_200.0))), "a backoff over 3,600 s"),
        (job_of(unique=Unique("k", 1.0)), "a unique lock"),
        (job_of(queue="celery#3"), "an order (ordered_by)"),
        (job_of(place(chain=ChainPlace(id="1" * 32, index=0))), "a chain"),
        (job_of(place(batch=BatchPlace(id="1" * 32, index=0))), "a batch"),
        (job_of(place(cause=Cause(batch="1"))), "a callback"),
        (job_of(place(unlock="k")), "a unique lock"),
        (job_of(Payload(id="0" * 32, job=BROADCAST_JOB)), "a broadcast, which has an order"),
    ],
)
def test_each_feature_that_celery_lacks_is_named(new: NewJob, feature: str) -> None:
    with pytest.raises(Unsupported) as refused:
        queue().push([job_of(), new])

    assert refused.value.features == (feature,)
    assert feature not in KEEPS
    with app.connection_for_read() as connection:
        assert connection.default_channel.basic_get("celery", no_ack=True) is None


def test_a_link_whose_place_is_known_is_sent_as_any_other_job() -> None:
    queue().push([job_of(link=Link("row"), delay=60)])

    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)
    assert message.headers["eta"] is not None


def test_a_broker_that_is_away_is_told_in_time() -> None:
    away = Celery("away", broker="redis://127.0.0.1:1/0")
    started = time.monotonic()

    with pytest.raises(DriverUnavailable, match="broker"):
        CeleryQueue(away).push([job_of()])

    assert time.monotonic() - started < 15


@pytest.mark.parametrize("path", ["", "shop", "nothing.here:app", f"{__name__}:nothing"])
def test_an_application_that_is_not_there_is_refused(path: str) -> None:
    with pytest.raises(NotConfigured, match="celery_app"):
        CeleryQueue.of(path)


def test_a_job_that_is_put_off_uses_up_no_try() -> None:
    outcome, error = run_payload(body("tests.celery.PutsOff"), queue="q", past=Past())

    assert (outcome, error) == (PutOff(1.0), None)


def test_an_async_job_that_takes_too_long_is_cancelled() -> None:
    slow = body("tests.celery.Slow", timeout=0.01, tries=2)

    outcome, _ = run_payload(slow, queue="q", past=Past())
    last, _ = run_payload(slow, queue="q", past=Past(attempts=1))

    assert isinstance(outcome, TryAgain)
    assert isinstance(last, GiveUp)
    assert last.reason == "timeout"


@pytest.mark.parametrize("error", [False, True])
def test_an_async_job_that_does_not_heed_its_timeout_has_timed_out(*, error: bool) -> None:
    slow = body("tests.celery.Swallows", data={"error": error}, timeout=0.01)

    outcome, _ = run_payload(slow, queue="q", past=Past())

    assert isinstance(outcome, GiveUp)
    assert outcome.reason == "timeout"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"nonsense", "invalid_job"),
        (body("tests.celery.Nobody"), "unknown_job"),
        (body("tests.celery.Note", data={"txet": "x"}), "invalid_job"),
        (body("tests.celery.Note", data={"text": "x"}, retry_until=1.0), "retry_until"),
    ],
    ids=["no JSON", "no such job", "no such field", "too late"],  # ids of jobs are random
)
def test_a_job_that_cannot_be_run_is_given_up(raw: bytes, reason: str) -> None:
    outcome, error = run_payload(raw, queue="q", past=Past())

    assert isinstance(outcome, GiveUp)
    assert outcome.reason == reason
    assert error is not None
    assert ran == []


@pytest.mark.parametrize("job", ["tests.celery.Ends", "tests.celery.EndsLater"])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "SystemExit was raised (3)"),
        ("cancel", "CancelledError was raised (me)"),
        ("close", "GeneratorExit was raised (x)"),
    ],
)
def test_a_job_that_would_end_the_process_fails(job: str, how: str, said: str) -> None:
    raw = body(job, data={"how": how}, tries=2)

    first, error = run_payload(raw, queue="q", past=Past())
    last, _ = run_payload(raw, queue="q", past=Past(attempts=1))

    assert isinstance(first, TryAgain)
    assert type(error) is JobError
    assert isinstance(last, GiveUp)
    assert ran == [(said, 0)]


@pytest.mark.parametrize("how", ["signal", "shutdown"])
def test_celery_itself_may_end_the_process_in_a_job(how: str) -> None:
    with pytest.raises(SystemExit):
        run_payload(body("tests.celery.Ends", data={"how": how}), queue="q", past=Past())

    assert ran == []


@pytest.mark.parametrize("how", ["signal", "shutdown"])
def test_celery_itself_may_end_the_process_in_a_hook(how: str) -> None:
    class Hooked(Job, name="tests.celery.Hooked"):
        def handle(self) -> None:
            raise ZeroDivisionError

        def failed(self, error: BaseException) -> None:
            raise ENDS[how]

    with pytest.raises(SystemExit):
        run_payload(body("tests.celery.Hooked"), queue="q", past=Past())


def test_a_sync_job_is_run_with_its_past() -> None:
    raw = body("tests.celery.Note", data={"text": "x"}, tries=5)

    outcome, _ = run_payload(raw, queue="q", past=Past(attempts=2))

    assert (outcome, ran) == (Finished(), [("x", 3)])


async def test_a_worker_finds_nothing_to_do_in_it() -> None:
    from broadcaster.contracts.queue import StepRequest

    there = queue()
    await there.apply("q", [])

    assert not (await there.step(StepRequest(queue="q"))).reserved
    assert await there.unlock("q", "k", "0") is False
    assert await there.wait("q", 0.0) is None
    assert (await there.survey("q", [], "w")).due == ()
    assert there.extend("q", {}, 1.0) == {}
    assert there.queues() == ()
    assert there.sizes("q") == await there.asizes("q")


def test_a_worker_of_celery_runs_our_jobs_from_redis(redis_url: str) -> None:
    there = Celery(
        "redis",
        broker=redis_url.replace("unix://", "redis+socket://").replace("db=0", "virtual_host=5"),
    )
    install(there)
    payload = Payload(id=uuid.uuid4().hex, job="tests.celery.Note", data={"text": "redis"})

    assert CeleryQueue(there).push([job_of(payload)]).new == [payload.id]
    with start_worker(there, perform_ping_check=False, pool="solo", loglevel="ERROR"):
        asyncio.run(eventually(lambda: ran, within=20))

    assert ran == [("redis", 1)]
