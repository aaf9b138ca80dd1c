"""Row 46: the driver ``failover``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.contracts.queue import NewJob, Pushed, QueueSizes, StepRequest
from broadcaster.drivers.failover import RETRY_SECONDS, FailoverQueue, Fallback
from broadcaster.drivers.null import NullQueue
from broadcaster.errors import DriverRefused, DriverUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Queue

JOB = NewJob("0" * 32, "default", b"{}")


class Flaky(NullQueue):
    """A queue that fails as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.pushed: list[str] = []
        self.asked = 0

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        self.pushed += [job.id for job in jobs]
        return super().push(jobs)

    def sizes(self, queue: str) -> QueueSizes:
        del queue
        return QueueSizes(ready=len(self.pushed))


class World:
    def __init__(self) -> None:
        self.main, self.spare = Flaky(), Flaky()
        self.now = 100.0
        self.told: list[tuple[str, str]] = []
        self.queue = FailoverQueue(
            [
                Fallback("main", lambda: cast("Queue", self.main)),
                Fallback("spare", lambda: cast("Queue", self.spare)),
            ],
            clock=lambda: self.now,
            failed_over=lambda name, error, jobs: self.told.append((name, f"{error} {len(jobs)}")),
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["push", "apush"])
def verb(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def push(world: World, verb: str) -> Pushed:
    if verb == "push":
        return world.queue.push([JOB])
    return await world.queue.apush([JOB])


async def test_jobs_go_to_the_preferred_connection(world: World, verb: str) -> None:
    assert (await push(world, verb)).new == [JOB.id]

    assert (world.main.pushed, world.spare.pushed, world.told) == ([JOB.id], [], [])


async def test_row_46_jobs_go_to_the_next_when_one_is_away_and_it_is_told_once(
    world: World, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.main.failure = DriverUnavailable("away")

    with caplog.at_level(logging.INFO):
        await push(world, verb)
        await push(world, verb)

    assert world.spare.pushed == [JOB.id] * 2
    assert world.told == [("main", "away 1")]
    assert f"job {JOB.id} went to connection spare" in caplog.text


async def test_a_connection_that_failed_is_asked_again_after_a_while(
    world: World, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.main.failure = DriverUnavailable("away")
    await push(world, verb)
    world.main.failure = None

    await push(world, verb)
    assert world.main.pushed == []
    world.now += RETRY_SECONDS
    await push(world, verb)

    assert world.main.pushed == [JOB.id]
    assert "queue connection main is back" in caplog.text


async def test_a_connection_that_fails_again_later_is_told_again(world: World, verb: str) -> None:
    for _ in range(2):
        world.main.failure = DriverUnavailable("away")
        await push(world, verb)
        world.main.failure = None
        world.now += RETRY_SECONDS
        await push(world, verb)

    assert [name for name, _ in world.told] == ["main", "main"]


async def test_when_all_are_away_each_is_named(world: World, verb: str) -> None:
    world.main.failure = DriverUnavailable("down")
    world.spare.failure = DriverUnavailable("gone")

    with pytest.raises(DriverUnavailable, match="main: down; spare: gone"):
        await push(world, verb)
    world.spare.failure = None
    await push(world, verb)

    assert world.spare.pushed == [JOB.id]


async def test_what_a_connection_refuses_goes_nowhere_else(world: World, verb: str) -> None:
    world.main.failure = DriverRefused("wrong type")

    with pytest.raises(DriverRefused):
        await push(world, verb)

    assert world.spare.asked == 0


async def test_workers_and_monitors_see_the_preferred_connection(world: World) -> None:
    world.queue.push([JOB])
    calls: dict[str, Any] = {
        "step": await world.queue.step(StepRequest(queue="q")),
        "unlock": await world.queue.unlock("q", "k", JOB.id),
        "wait": await world.queue.wait("q", 0.0),
        "survey": (await world.queue.survey("q", [], "w")).share,
        "extend": world.queue.extend("q", {}, 1.0),
        "queues": world.queue.queues(),
    }
    await world.queue.apply("q", [])

    assert calls == {
        "step": await world.main.step(StepRequest(queue="q")),
        "unlock": False,
        "wait": None,
        "survey": 1,
        "extend": {},
        "queues": (),
    }
    assert world.queue.sizes("q").ready == (await world.queue.asizes("q")).ready == 1


def test_a_failover_queue_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs connections"):
        FailoverQueue([], clock=lambda: 0.0, failed_over=lambda *_: None)
