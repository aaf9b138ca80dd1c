"""What a worker tells of its jobs and of itself (row 47)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.lifecycle import (
    JobAttempted,
    JobExceptionOccurred,
    JobFailed,
    JobProcessing,
    JobReleasedAfterException,
    JobTimedOut,
    LifecycleEvent,
    Looping,
    WorkerStarting,
    WorkerStopping,
)
from broadcaster.worker.options import ExitReason
from tests.polling import eventually
from tests.worker.sample_jobs import FailingOnce, Note, TooLong, Touchy, TouchyInThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis


@pytest.fixture
def listening() -> Iterator[Callable[..., None]]:
    removers: list[Callable[[], None]] = []

    def listen(event: Any, listener: Callable[[Any], object]) -> None:
        removers.append(lifecycle_listeners.add(event, listener))

    yield listen
    for remove in removers:
        remove()


def names(heard: list[Any], *without: str) -> list[str]:
    hidden = {"Looping", "JobPopping", *without}
    return [name for each in heard if (name := type(each).__name__) not in hidden]


async def test_the_life_of_a_job_that_fails_once_row_47(
    world: WorkerWorld, heard: list[Any]
) -> None:
    await world.push(FailingOnce("x"))

    await world.drain()

    assert names(heard) == [
        "WorkerStarting",
        "JobPopped",
        "JobProcessing",
        "JobExceptionOccurred",
        "JobReleasedAfterException",
        "JobAttempted",
        "JobPopped",
        "JobProcessing",
        "JobProcessed",
        "JobAttempted",
        "WorkerStopping",
    ]
    begun = [each for each in heard if isinstance(each, JobProcessing)]
    assert [(each.job.name, each.job.queue, each.job.attempts) for each in begun] == [
        ("FailingOnce", "default", 1),
        ("FailingOnce", "default", 2),
    ]
    assert begun[0].job.job == FailingOnce("x")
    (raised,) = [each for each in heard if isinstance(each, JobExceptionOccurred)]
    assert isinstance(raised.exception, ValueError)


async def test_a_release_carries_its_delay_row_49(world: WorkerWorld, heard: list[Any]) -> None:
    await world.push(Touchy("x"))

    async with world.running():
        await eventually(lambda: any(isinstance(each, JobFailed) for each in heard))

    (released,) = [each for each in heard if isinstance(each, JobReleasedAfterException)]
    assert released.backoff == 0.01
    assert isinstance(released.exception, ValueError)
    attempts = [each for each in heard if isinstance(each, JobAttempted)]
    assert [each.exception_occurred for each in attempts] == [True, True]
    (failed,) = [each for each in heard if isinstance(each, JobFailed)]
    assert (failed.reason, failed.job.attempts) == ("exception", 2)


async def test_a_timeout_is_told(world: WorkerWorld, heard: list[Any]) -> None:
    await world.push(TooLong())

    await world.drain()

    assert names(heard, "WorkerStarting", "WorkerStopping") == [
        "JobPopped",
        "JobProcessing",
        "JobTimedOut",
        "JobExceptionOccurred",
        "JobFailed",
        "JobAttempted",
    ]
    assert [each for each in heard if isinstance(each, JobTimedOut)]


async def test_start_and_stop_of_a_worker_are_told(world: WorkerWorld, heard: list[Any]) -> None:
    await world.drain(queues=("high", "low"), connection="emails")

    starting, stopping = heard[0], heard[-1]
    assert isinstance(starting, WorkerStarting)
    assert (starting.queue, starting.connection_name) == ("high,low", "emails")
    assert starting.worker_options.queues == ("high", "low")
    assert isinstance(stopping, WorkerStopping)
    assert (stopping.reason, stopping.status) == ("empty", 0)


async def test_a_job_that_nobody_knows_fails_and_is_told(
    world: WorkerWorld, heard: list[Any]
) -> None:
    made = world.made(Note("x"))
    broken = type(made)(made.id, made.queue, made.body.replace(b'"Note"', b'"Nobody"'))
    await world.push(broken)

    await world.drain()

    (failed,) = [each for each in heard if isinstance(each, JobFailed)]
    assert (failed.reason, failed.job.name, failed.job.job) == ("unknown_job", "Nobody", None)


async def test_a_listener_may_keep_the_worker_from_looking_for_jobs(
    world: WorkerWorld, seen: list[str], listening: Callable[..., None]
) -> None:
    allowed = False
    asked = 0

    def decide(_event: Looping) -> bool:
        nonlocal asked
        asked += 1
        return allowed

    listening(Looping, decide)
    await world.push(Note("a"))
    async with world.running(sleep=0.05):
        await eventually(lambda: asked >= 5)
        assert seen == []
        allowed = True
        await eventually(lambda: seen == ["a"])


async def test_errors_of_listeners_never_take_the_worker_down(
    world: WorkerWorld, seen: list[str], listening: Callable[..., None]
) -> None:
    def broken(_event: LifecycleEvent) -> None:
        raise RuntimeError("a listener")

    listening(LifecycleEvent, broken)
    await world.push(Note("a"), FailingOnce("b"))

    assert await world.drain() is ExitReason.EMPTY

    assert sorted(seen) == ["a", "b", "b"]


async def test_the_failed_hook_is_called_when_the_job_is_among_the_failed_row_11(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(Touchy("x"), TouchyInThread("y"))

    async with world.running():
        await eventually(lambda: len(seen) == 2)

    assert sorted(seen) == ["failed ValueError: x", "failed y"]
    failed = {each.job: each for each in await world.failed()}
    assert failed["Touchy"].exception == "ValueError"
    assert "raise ValueError(self.text)" in failed["Touchy"].traceback
    assert "TouchyInThread" in failed


async def test_hooks_are_waited_for_at_the_end(world: WorkerWorld, seen: list[str]) -> None:
    await world.push(TouchyInThread("z"))

    await world.drain()
    await asyncio.sleep(0)

    assert seen == ["failed z"]
