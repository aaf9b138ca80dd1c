"""Rows 47 to 49: what a real worker tells about real jobs, in which order."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster import current
from broadcaster.contracts.queue import NewJob
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.events.anonymous import on
from broadcaster.events.facts import MemberAdded
from broadcaster.events.listeners import listeners
from broadcaster.events.listening import listen
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.completed import CompletedJobLog
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import (
    JobExceptionOccurred,
    JobFailed,
    JobPopped,
    JobProcessed,
    JobQueued,
    JobReleasedAfterException,
    LifecycleEvent,
    Looping,
    WorkerStopping,
)
from broadcaster.protocol.fact_jobs import EVENT_JOB, encode_event
from broadcaster.protocol.lanes import split_lane
from broadcaster.protocol.payload import BROADCAST_JOB, decode_payload
from broadcaster.testing import LiveQueue
from tests.webhooks.webhook_world import fact

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.redis


class Fine(Job, name="lifecycle.Fine", queue="mail"):
    def handle(self) -> None:
        """Nothing to do."""


class Failing(Job, name="lifecycle.Failing", tries=2, backoff=60):
    def handle(self) -> None:
        raise LookupError("no such order")


class Slow(Job, name="lifecycle.Slow", timeout=0.05):
    async def handle(self) -> None:
        import asyncio

        await asyncio.sleep(60)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that is told in this test, in order; who listens, listens in it only."""
    monkeypatch.setattr(listeners, "_entries", {})
    monkeypatch.setattr(listeners, "_found", {})
    monkeypatch.setattr(lifecycle_listeners, "_added", {})
    monkeypatch.setattr(lifecycle_listeners, "_by_class", {})
    events: list[Any] = []
    lifecycle_listeners.add(LifecycleEvent, events.append)
    return events


@pytest.fixture
def live(redis_url: str) -> Iterator[LiveQueue]:
    with LiveQueue(redis_url) as made:
        yield made


def of_jobs(told: list[Any]) -> list[str]:
    """Return the names of what was told about jobs."""
    around = {"WorkerStarting", "Looping", "JobPopping", "WorkerStopping"}
    return [type(event).__name__ for event in told if type(event).__name__ not in around]


def one(told: list[Any], kind: type[Any]) -> Any:
    """Return the only event of its kind."""
    [found] = [event for event in told if type(event) is kind]
    return found


def test_row_47_a_job_that_is_done_is_told_from_its_push_to_its_end(
    live: LiveQueue, told: list[Any]
) -> None:
    job_id = Fine().dispatch()
    live.drain()

    assert of_jobs(told) == [
        "JobQueueing",
        "JobQueued",
        "JobPopped",
        "JobProcessing",
        "JobProcessed",
        "JobAttempted",
    ]
    done = one(told, JobProcessed)
    assert (
        done.connection_name,
        done.job.id,
        done.job.name,
        done.job.queue,
        done.job.attempts,
    ) == (
        "default",
        job_id,
        "lifecycle.Fine",
        "mail",
        1,
    )
    assert done.job.job == Fine()
    assert done.seconds >= 0


def test_row_47_a_queued_broadcast_is_told_from_its_push_to_its_end(
    live: LiveQueue, told: list[Any]
) -> None:
    on("orders").as_("Shipped").with_({"n": 1}).send()
    assert live.drain() == 0, "it is no job of whoever asks"

    assert of_jobs(told) == [
        "JobQueueing",
        "JobQueued",
        "JobPopped",
        "JobProcessing",
        "JobProcessed",
        "JobAttempted",
    ]
    done, queued = one(told, JobProcessed), one(told, JobQueued)
    assert (done.job.id, done.job.name, done.job.attempts) == (queued.id, BROADCAST_JOB, 1)
    assert (done.job.job, queued.job) == (None, None)
    assert done.job.payload.data["name"] == "Shipped"
    assert split_lane(done.job.queue)[0] == "broadcasts"


def test_row_47_a_broadcast_that_is_refused_is_told(live: LiveQueue, told: list[Any]) -> None:
    clients = RedisClients(live.settings.require_redis(), live.settings.prefix)
    with contextlib.closing(clients):
        # Somebody has put something else where the channel's position is kept.
        clients.sync.set(clients.keys.channel("test", "orders", "m"), "not ours")
        on("orders").as_("Shipped").send()
        live.drain()

    raised, failed = one(told, JobExceptionOccurred), one(told, JobFailed)
    assert failed.reason == "driver_refused"
    assert failed.exception is raised.exception
    assert of_jobs(told)[-3:] == ["JobExceptionOccurred", "JobFailed", "JobAttempted"]
    [kept] = live.failed()
    assert (kept.job, kept.exception, kept.attempts) == (BROADCAST_JOB, "DriverRefused", 1)
    assert "Traceback" in kept.traceback


def test_row_47_a_fact_and_the_jobs_of_its_listeners_are_told(
    live: LiveQueue, told: list[Any]
) -> None:
    heard: list[str] = []

    @listen(MemberAdded)
    def note(event: MemberAdded) -> None:
        heard.append(event.user_id)

    moved = fact(name="member_added", channel="presence-room", user_id="7")
    job_id = decode_payload(encode_event(moved)).id
    current.application().queue.push([NewJob(job_id, "default", encode_event(moved))])
    live.drain()

    assert heard == ["7"]
    of_fact = [each for each in told if getattr(each, "job", None) and of(each) == EVENT_JOB]
    assert [type(each).__name__ for each in of_fact] == [
        "JobPopped",
        "JobProcessing",
        "JobProcessed",
        "JobAttempted",
    ]
    assert of_jobs(told)[2:4] == ["JobQueueing", "JobQueued"], "those of the listener's job"


def of(event: Any) -> str:
    """Return the name of the job that an event is about."""
    return str(getattr(event.job, "name", ""))


def test_row_47_a_worker_is_told_from_its_start_to_its_end(
    live: LiveQueue, told: list[Any]
) -> None:
    Fine().dispatch()
    live.work_once()

    names = [type(event).__name__ for event in told]
    names = names[names.index("WorkerStarting") :]
    assert names.index("Looping") < names.index("JobPopping") < names.index("JobPopped")
    assert names[-1] == "WorkerStopping"
    assert one(told, WorkerStopping).reason == "max_jobs"


def test_row_47_and_49_a_job_that_fails_is_told_with_exception_and_backoff(
    live: LiveQueue, told: list[Any]
) -> None:
    Failing().dispatch()
    live.drain()

    raised = one(told, JobExceptionOccurred)
    assert (str(raised.exception), raised.job.attempts) == ("no such order", 1)
    released = one(told, JobReleasedAfterException)
    assert (released.backoff, type(released.exception)) == (60, LookupError)
    assert "JobFailed" not in of_jobs(told)

    told.clear()
    live.travel(60)
    live.drain()

    failed = one(told, JobFailed)
    assert (failed.job.attempts, type(failed.exception), failed.reason) == (
        2,
        LookupError,
        "exception",
    )
    assert "JobReleasedAfterException" not in of_jobs(told)


def test_row_47_a_job_that_takes_too_long_is_told(live: LiveQueue, told: list[Any]) -> None:
    Slow().dispatch()
    live.drain()

    names = of_jobs(told)
    assert names.index("JobTimedOut") < names.index("JobFailed")
    assert one(told, JobFailed).reason == "timeout"


@pytest.mark.usefixtures("told")
def test_row_47_a_listener_to_looping_keeps_a_worker_from_its_jobs(redis_url: str) -> None:
    rounds: list[str] = []

    @listen(Looping)
    def not_yet(event: Looping) -> bool:
        rounds.append("veto" if len(rounds) < 3 else "go")
        return rounds[-1] == "go"

    @listen(JobPopped)
    def taken(event: JobPopped) -> None:
        rounds.append("taken")

    with LiveQueue(redis_url, {"worker.sleep": 0.1}) as live:
        Fine().dispatch()
        while not live.drain():
            assert len(rounds) < 100

    assert rounds[:3] == ["veto"] * 3
    assert "taken" in rounds[4:]


def test_row_48_a_log_of_done_jobs_is_written_by_the_worker(
    live: LiveQueue, told: list[Any]
) -> None:
    log = CompletedJobLog(max=100, ttl=60).listen()
    for _ in range(3):
        Fine().dispatch()
    Failing().dispatch()
    on("orders").as_("Shipped").send()
    Fine().run_now()

    live.drain()

    assert [job.job for job in log.latest()] == ["lifecycle.Fine"] * 3
    assert log.latest()[0].queue == "mail"
