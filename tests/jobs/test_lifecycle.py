"""Rows 47 to 49: what a real worker tells about real jobs, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.events.listening import listen
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.completed import CompletedJobLog
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import (
    JobExceptionOccurred,
    JobFailed,
    JobPopped,
    JobProcessed,
    JobReleasedAfterException,
    LifecycleEvent,
    Looping,
    WorkerStopping,
)
from broadcaster.testing import LiveQueue

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
    """Everything that is told in this test, in order."""
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
def test_row_47_a_listener_to_looping_keeps_a_worker_from_its_jobs(live: LiveQueue) -> None:
    rounds: list[str] = []

    @listen(Looping)
    def not_yet(event: Looping) -> bool:
        rounds.append("veto" if len(rounds) < 3 else "go")
        return rounds[-1] == "go"

    @listen(JobPopped)
    def taken(event: JobPopped) -> None:
        rounds.append("taken")

    Fine().dispatch()
    while not live.drain():
        assert len(rounds) < 100

    assert rounds[:3] == ["veto"] * 3
    assert "taken" in rounds[4:]


def test_row_48_a_log_of_done_jobs_is_written_by_the_worker(
    live: LiveQueue, told: list[Any]
) -> None:
    log = CompletedJobLog(max=2, ttl=60).listen()
    for _ in range(3):
        Fine().dispatch()
    Failing().dispatch()

    live.drain()

    assert [job.job for job in log.latest()] == ["lifecycle.Fine", "lifecycle.Fine"]
    assert log.latest()[0].queue == "mail"
