"""A job that cancels the task it runs in has failed: it uses up its tries like any other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from broadcaster import Job, JobFailed
from broadcaster.contracts.settlements import Owed, Push
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.worker.effects import Effects
from broadcaster.worker.failed_hooks import FailedHooks
from broadcaster.worker.options import ExitReason
from tests.polling import eventually
from tests.worker.worker_world import broadcast_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis

runs: list[str] = []


def cancel_this() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


class Cancels(Job, name="cancelling.Cancels", tries=3):
    async def handle(self) -> None:
        runs.append("cancels")
        cancel_this()
        await asyncio.sleep(0)


class CancelsAndEnds(Job, name="cancelling.CancelsAndEnds"):
    async def handle(self) -> None:
        runs.append("ends")
        cancel_this()


class InOrder(Job, name="self_cancelling.InOrder", ordered_by="key"):
    key: str
    cancels: bool = False

    async def handle(self) -> None:
        runs.append(self.key)
        if self.cancels:
            cancel_this()
            await asyncio.sleep(0)


class CancelsWhenFailed(Job, name="cancelling.CancelsWhenFailed"):
    async def handle(self) -> None:
        raise JobFailed("no")

    async def failed(self, error: BaseException) -> None:
        runs.append("failed")
        cancel_this()
        await asyncio.sleep(0)


class Swallows(Job, name="cancelling.Swallows"):
    async def handle(self) -> None:
        runs.append("begun")
        await asyncio.Event().wait()


class Ignores(Job, name="cancelling.Ignores", ordered_by="key"):
    key: str = "a"

    async def handle(self) -> None:
        runs.append("begun")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        runs.append("ended")


class After(Job, name="cancelling.After"):
    async def handle(self) -> None:
        runs.append("after")


@pytest.fixture(autouse=True)
def no_runs() -> Iterator[None]:
    runs.clear()
    yield
    runs.clear()


async def test_each_time_uses_up_a_try(world: WorkerWorld) -> None:
    await world.push(Cancels(), After())

    assert await world.drain(concurrency=1) is ExitReason.EMPTY

    assert sorted(runs) == ["after", "cancels", "cancels", "cancels"]
    (failed,) = await world.failed()
    assert (failed.reason, failed.exception, failed.attempts) == ("exception", "CancelledError", 3)


async def test_a_job_that_ends_before_its_cancellation_comes_is_done(world: WorkerWorld) -> None:
    await world.push(CancelsAndEnds())

    assert await world.drain() is ExitReason.EMPTY

    assert (runs, await world.failed()) == (["ends"], [])


async def test_jobs_behind_it_in_a_lane_run(world: WorkerWorld) -> None:
    await world.push(InOrder("a", cancels=True), InOrder("a"), InOrder("a"))

    assert await world.drain() is ExitReason.EMPTY

    assert runs == ["a", "a", "a"]
    assert [failed.exception for failed in await world.failed()] == ["CancelledError"]


async def test_the_worker_s_own_cancellation_hands_the_job_back(world: WorkerWorld) -> None:
    await world.push(Swallows())

    async with world.running() as worker:
        await eventually(lambda: runs)
        worker.stop()
        worker.stop()

    sizes = await world.sizes()
    assert (sizes.ready, sizes.held, await world.failed()) == (1, 0, [])


async def test_what_is_behind_a_job_that_ends_when_it_is_cancelled_is_handed_back(
    world: WorkerWorld,
) -> None:
    """Else nobody had its lane until the lease ran out, and then one by one."""
    last = world.made(InOrder("a"))
    await world.push(Ignores(), broadcast_job("b", queue=last.queue), InOrder("a"), last)

    async with world.running() as worker:
        await eventually(lambda: runs)
        worker.stop()
        worker.stop()

    assert runs == ["begun", "ended"]
    sizes = await world.sizes(last.queue)
    assert (sizes.ready, sizes.held, await world.failed()) == (3, 0, [])


async def test_a_hook_that_cancels_after_a_crash_does_not_keep_the_rest_from_happening(
    world: WorkerWorld,
) -> None:
    """What follows from a crashed job is found out where its neighbours' effects are done."""
    (new,) = await world.push(CancelsWhenFailed())
    link = Push(world.made(After()))
    runner, hooks = world.worker()._runner, FailedHooks()
    after_crash = runner.after_crash  # type: ignore[attr-defined]  # of the runner itself
    effects = Effects(RedisQueue(world.clients), lambda: None, after_crash, hooks=hooks)

    crashed = Owed(f"{new.id}:1", (), new.id, new.body, 1, "crashed")
    await effects.take("default", [crashed, Owed("a:1", (link,), "a")])
    await effects.finish(5)
    await hooks.finish(5)

    assert runs == ["failed"]
    assert (await world.sizes()).ready == 2
