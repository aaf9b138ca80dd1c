"""What a worker holds when it begins to rest: nothing of it is begun any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import QueueSizes
from broadcaster.protocol.lanes import ordered_queue
from broadcaster.worker.options import ExitReason
from tests.polling import eventually, eventually_async
from tests.worker.sample_jobs import Note, Waiting, gate
from tests.worker.worker_world import broadcast_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.publisher import Publication
    from broadcaster.contracts.queue import StepReply, StepRequest
    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("queue", ["default", "default#3"])
@pytest.mark.parametrize("verb", ["stop", "pause", "restart"])
async def test_what_is_brought_after_the_worker_rests_goes_back_and_does_not_begin(
    world: WorkerWorld, seen: list[str], verb: str, queue: str
) -> None:
    await world.push(Note("late"), broadcast_job("late", queue=queue), default_queue=queue)
    worker = world.worker(stop_when_empty=False)
    brought, step = asyncio.Event(), world.queue.step

    async def stopping(request: StepRequest) -> StepReply:
        reply = await step(request)
        if reply.reserved:
            getattr(worker, verb)()
            brought.set()
        return reply

    world.queue.step = stopping  # type: ignore[method-assign]
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(30):
        await brought.wait()
    await eventually_async(lambda: _all_ready(world, 2))
    worker.stop()
    async with asyncio.timeout(30):
        await running

    assert (seen, world.publisher.names) == ([], [])
    world.queue.step = step  # type: ignore[method-assign]
    assert await world.drain(tries=1) is ExitReason.EMPTY
    assert (seen, world.publisher.names) == (["late"], ["late"])


async def _all_ready(world: WorkerWorld, count: int) -> bool:
    sizes = await world.sizes()
    return (sizes.ready, sizes.held) == (count, 0)


@pytest.mark.parametrize("verb", ["stop", "pause", "restart"])
async def test_ordered_jobs_behind_the_one_that_runs_go_back_when_the_worker_rests(
    world: WorkerWorld, seen: list[str], verb: str
) -> None:
    gate("a")
    lane = ordered_queue("default", "account 7")
    await world.push(Note("0"), Waiting("a"), Note("1"), Note("2"), queue=lane)
    worker = world.worker(stop_when_empty=False)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: "begins a" in seen)

    getattr(worker, verb)()
    gate("a").set()
    await eventually_async(lambda: _all_ready(world, 2))
    worker.stop()
    async with asyncio.timeout(30):
        await running

    assert seen == ["0", "begins a", "ends a"]
    assert await world.sizes(lane) == QueueSizes(ready=2)
    assert await world.drain(tries=1) is ExitReason.EMPTY
    assert seen[3:] == ["1", "2"]


async def test_a_job_behind_broadcasts_goes_back_when_the_worker_rests_meanwhile(
    world: WorkerWorld, seen: list[str]
) -> None:
    lane = ordered_queue("default", "account 7")
    await world.push(broadcast_job("0", queue=lane), Note("1"), default_queue=lane)
    publish = world.publisher.apublish

    async def pausing(publications: Sequence[Publication]) -> None:
        worker.pause()
        await publish(publications)

    world.publisher.apublish = pausing  # type: ignore[method-assign]
    async with world.running() as worker:
        await eventually_async(lambda: _all_ready(world, 1))

    assert (seen, world.publisher.names) == ([], ["0"])


async def test_a_job_that_its_own_worker_was_given_again_runs_once_at_a_time(
    world: WorkerWorld, seen: list[str]
) -> None:
    """After a freeze a worker that trusts its jobs may be the first to find its lease lapsed."""
    gate("a")
    (new,) = await world.push(Waiting("a"))
    async with world.running(trusted=True):
        await eventually(lambda: seen == ["begins a"])
        reserved = world.clients.keys.queue("default", "reserved")
        await world.clients.aio.zadd(reserved, {new.id: 1})
        await eventually(lambda: seen.count("begins a") == 2)
        await eventually(lambda: "cancelled a" in seen)
        gate("a").set()

    assert sorted(seen) == ["begins a", "begins a", "cancelled a", "ends a"]
    assert await world.sizes() == QueueSizes()
