"""Lanes over several workers: order per key, whoever comes and goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.queue import StepRequest
from broadcaster.protocol.lanes import LANES, lane_name, lane_names, ordered_queue
from broadcaster.worker.options import ExitReason
from tests.polling import eventually, eventually_async
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Deaf, Note, Waiting
from tests.worker.worker_world import WorkerWorld, broadcast_job

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from broadcaster.contracts.publisher import Publication
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

CHANNELS = [f"orders.{number}" for number in range(40)]
EVENTS = 25


@pytest.fixture
def world(clients: RedisClients) -> WorkerWorld:
    return WorkerWorld(clients)


class Published:
    """What was published, by channel."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}

    def __call__(self, publications: Sequence[Publication]) -> None:
        for publication in publications:
            for channel in publication.channels:
                self.names.setdefault(channel, []).append(publication.name)


async def push_all(world: WorkerWorld) -> None:
    for number in range(EVENTS):
        await world.push(
            *(
                broadcast_job(
                    str(number), queue=ordered_queue("broadcasts", channel), channels=[channel]
                )
                for channel in CHANNELS
            )
        )


async def waiting(world: WorkerWorld) -> int:
    sizes = [await world.queue.asizes(name) for name in lane_names("broadcasts")]
    return sum(size.ready + size.held for size in sizes)


async def all_are_done(world: WorkerWorld) -> bool:
    return await waiting(world) == 0


async def test_several_workers_share_lanes_and_every_channel_keeps_its_order(
    world: WorkerWorld,
) -> None:
    world.publisher.trouble = published = Published()
    await push_all(world)

    async with (
        world.running(lanes=LANES, batch=4),
        world.running(lanes=LANES, batch=4),
        world.running(lanes=LANES, batch=4),
    ):
        await push_all(world)
        await eventually_async(lambda: all_are_done(world), within=30)

    names = [str(number) for number in range(EVENTS)]
    assert published.names == dict.fromkeys(CHANNELS, names + names)


async def test_a_lane_of_a_dead_worker_is_taken_over_within_its_lease(world: WorkerWorld) -> None:
    world.publisher.trouble = published = Published()
    channel = CHANNELS[0]
    lane = ordered_queue("broadcasts", channel)
    await world.push(*(broadcast_job(name, queue=lane, channels=[channel]) for name in "abc"))
    request = StepRequest(queue=lane, reserve=2, lease=0.5, worker="dead", ordered=True)
    assert len((await world.queue.step(request)).reserved) == 2

    async with world.running(lanes=LANES, lease=0.5, sleep=0.5):
        await eventually_async(lambda: all_are_done(world), within=15)

    assert published.names == {channel: ["a", "b", "c"]}


async def test_a_worker_looks_at_idle_lanes_in_few_calls(world: WorkerWorld) -> None:
    async def evals() -> int:
        stats = await world.clients.aio.info("commandstats")
        return sum(
            one["calls"]
            for name, one in stats.items()
            if name in ("cmdstat_evalsha", "cmdstat_eval")
        )

    async with world.running(lanes=LANES, sleep=0.2, queues=("broadcasts",)):
        await asyncio.sleep(0.5)  # nothing to wait for: idleness is what is measured
        before = await evals()
        await asyncio.sleep(1.0)
        calls = await evals() - before

    assert calls <= 20  # a survey and a step of the queue each tick


async def test_a_retried_lane_job_holds_up_only_its_lane(world: WorkerWorld) -> None:
    world.publisher.trouble = published = Published()
    one, other = (
        CHANNELS[0],
        next(
            each for each in CHANNELS if ordered_queue("b", each) != ordered_queue("b", CHANNELS[0])
        ),
    )
    request = StepRequest(
        queue=lane_name("broadcasts", int(ordered_queue("b", one)[2:])),
        reserve=1,
        lease=60,
        worker="slow",
        ordered=True,
    )
    await world.push(broadcast_job("x", queue=ordered_queue("broadcasts", one), channels=[one]))
    assert len((await world.queue.step(request)).reserved) == 1

    await world.push(broadcast_job("y", queue=ordered_queue("broadcasts", one), channels=[one]))
    await world.push(broadcast_job("z", queue=ordered_queue("broadcasts", other), channels=[other]))
    async with world.running(lanes=LANES):
        await eventually_async(lambda: _has(published, other))

    assert published.names == {other: ["z"]}


async def _has(published: Published, channel: str) -> bool:
    return channel in published.names


ORDERED: dict[str, Any] = {"queues": ("lane",), "ordered": frozenset({"lane"})}


@pytest.fixture
def seen() -> Iterator[list[str]]:
    sample_jobs.seen.clear()
    sample_jobs.gates.clear()
    yield sample_jobs.seen
    sample_jobs.seen.clear()


async def test_a_hung_job_of_a_lane_is_settled_at_its_timeout_and_gives_back_what_is_behind(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(Note("before"), Deaf(), Note("behind"), Note("last"), queue="lane")

    reason = await world.drain(**ORDERED, stop_when_empty=False, linger=0.1)

    assert reason is ExitReason.TIMED_OUT
    (failed,) = await world.failed()
    assert (failed.job, failed.reason) == ("Deaf", "timeout")
    sizes = await world.sizes("lane")
    assert (sizes.ready, sizes.held) == (2, 0)
    assert await world.drain(**ORDERED) is ExitReason.EMPTY
    assert seen == ["before", "deaf", "behind", "last"]


async def test_a_hung_job_of_a_lane_that_is_to_be_tried_again_comes_first(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(Note("before"), Deaf(), Note("behind"), queue="lane")

    await world.drain(**ORDERED, stop_when_empty=False, linger=0.1, tries=2)

    sizes = await world.sizes("lane")
    assert (sizes.ready, sizes.held, seen) == (2, 0, ["before", "deaf"])


async def test_a_sync_job_of_a_lane_is_killed_at_its_timeout_and_the_lane_goes_on(
    world: WorkerWorld, seen: list[str], tmp_path: Path
) -> None:
    sync = sample_jobs.hang_in_process(str(tmp_path / "pids"))
    await world.push(Note("before"), sync, Note("behind"), queue="lane")

    reason = await world.drain(**ORDERED, modules=("tests.worker.sample_jobs",))

    assert (reason, seen) == (ExitReason.EMPTY, ["before", "behind"])
    (failed,) = await world.failed()
    assert failed.reason == "timeout"


async def test_what_a_lane_has_done_is_not_done_again_when_its_batch_is_interrupted(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(Note("before"), Waiting("a"), Note("behind"), queue="lane")
    gate = sample_jobs.gate("a")
    worker = world.worker(**ORDERED, stop_when_empty=False)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: "begins a" in seen)

    worker.stop()
    worker.stop()
    assert await running is ExitReason.FORCED

    sizes = await world.sizes("lane")
    assert (sizes.ready, sizes.held) == (2, 0)
    gate.set()
    await world.drain(**ORDERED)
    assert seen == ["before", "begins a", "cancelled a", "begins a", "ends a", "behind"]
