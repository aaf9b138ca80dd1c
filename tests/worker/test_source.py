"""The lanes of a queue as a worker sees them: hints, surveys, its share; and their order."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import QueueSizes, StepReply, StepRequest, Survey
from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.lanes import LANES, lane_name, lane_names, ordered_queue
from broadcaster.worker.options import ExitReason
from broadcaster.worker.source import Source
from tests.polling import eventually
from tests.worker.sample_jobs import Note
from tests.worker.worker_world import WorkerWorld, broadcast_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.publisher import Publication
    from broadcaster.contracts.queue import NewJob

redis = pytest.mark.redis


def on_channel(channel: str, number: int) -> NewJob:
    """Return broadcast `number` of `channel`, in its lane."""
    queue = ordered_queue("broadcasts", channel)
    return broadcast_job(f"{channel}:{number}", queue=queue, channels=[channel])


def by_channel(names: Sequence[str]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for name in names:
        channel, _, number = name.partition(":")
        found[channel].append(int(number))
    return dict(found)


@redis
async def test_broadcasts_of_all_lanes_are_published_in_order_per_channel(
    world: WorkerWorld,
) -> None:
    channels = [f"c{number}" for number in range(40)]
    await world.push(*(on_channel(each, number) for number in range(20) for each in channels))

    assert await world.drain() is ExitReason.EMPTY

    assert by_channel(world.publisher.names) == {each: list(range(20)) for each in channels}


@redis
async def test_two_workers_share_the_lanes_and_keep_the_order(world: WorkerWorld) -> None:
    channels = [f"c{number}" for number in range(40)]
    async with world.running(), world.running():
        for number in range(10):
            await world.push(*(on_channel(each, number) for each in channels))
        await eventually(lambda: len(world.publisher.names) == 400)

    assert by_channel(world.publisher.names) == {each: list(range(10)) for each in channels}


@redis
async def test_a_broadcast_is_taken_at_once(world: WorkerWorld) -> None:
    async with world.running():
        await eventually(lambda: world.workers[0].running.started == 0)
        for number in range(20):
            await world.push(on_channel(f"c{number}", 0))
            await eventually(lambda n=number: len(world.publisher.names) > n)  # type: ignore[misc]


@redis
async def test_a_lane_of_a_dead_worker_goes_on_where_it_stopped(world: WorkerWorld) -> None:
    jobs = [on_channel("orders", number) for number in range(10)]
    await world.push(*jobs)
    lane = jobs[0].queue
    request = StepRequest(queue=lane, reserve=4, ordered=True, lease=0.3, worker="dead")
    assert len((await world.queue.step(request)).reserved) == 4

    async with world.running(lease=0.6):
        await eventually(lambda: len(world.publisher.names) == 10)

    assert by_channel(world.publisher.names) == {"orders": list(range(10))}


@redis
async def test_a_lane_that_waits_for_its_publisher_holds_up_no_other(world: WorkerWorld) -> None:
    slow, quick = _channels_of_two_lanes()
    gate = asyncio.Event()

    def trouble(publications: Sequence[Publication]) -> None:
        if publications[0].channels == (slow,) and not gate.is_set():
            raise DriverUnavailable("away")

    world.publisher.trouble = trouble
    async with world.running():
        await world.push(on_channel(slow, 0), *(on_channel(quick, n) for n in range(5)))
        await eventually(lambda: len(world.publisher.names) == 5)
        gate.set()
        await eventually(lambda: len(world.publisher.names) == 6)

    assert by_channel(world.publisher.names) == {slow: [0], quick: list(range(5))}


@redis
async def test_ordered_jobs_run_one_after_the_other_beside_others(
    world: WorkerWorld, seen: list[str]
) -> None:
    lane = ordered_queue("default", "account 7")
    await world.push(*(Note(f"ordered:{n}") for n in range(10)), queue=lane)
    await world.push(*(Note(f"plain:{n}") for n in range(10)))

    assert await world.drain(concurrency=4) is ExitReason.EMPTY

    assert by_channel(seen)["ordered"] == list(range(10))
    assert sorted(by_channel(seen)["plain"]) == list(range(10))
    assert await world.sizes(lane) == QueueSizes()


def _channels_of_two_lanes() -> tuple[str, str]:
    first = "c0"
    for number in range(1, 100):
        other = f"c{number}"
        if ordered_queue("q", other) != ordered_queue("q", first):
            return first, other
    raise AssertionError("one lane for all")


def source(name: str = "mail", *, ordered: bool = False) -> Source:
    return Source(name, rank=0, ordered=ordered, lanes=LANES)


def test_a_hint_names_the_queue_or_a_lane() -> None:
    mine = source()

    assert mine.line("mail") is mine.main
    assert mine.line(lane_name("mail", 3)).name == "mail#3"
    assert mine.line("other#3") is mine.main
    assert {line.name for line in mine.all_lines()} == {"mail", "mail#3"}


def test_a_worker_takes_no_more_lanes_than_its_share() -> None:
    mine = source()

    mine.surveyed(Survey(due=range(LANES), share=4, next_in=None), "worker", 100.0, 2.0)

    assert sum(line.hot for line in mine.lanes.values()) == 4
    assert 100.0 < mine.survey_at < 102.0


def test_lanes_that_a_worker_was_not_told_of_are_looked_at_too() -> None:
    mine = source()

    mine.know(["mail", lane_name("mail", 40), lane_name("other", 99), "b#x"], 100.0)
    mine.know([lane_name("mail", 3)], 101.0)

    assert list(mine.numbers) == list(range(41))
    assert mine.names_at > 101.0


@redis
async def test_a_sender_with_more_lanes_than_its_worker_loses_no_job(world: WorkerWorld) -> None:
    """Nothing is pushed after the worker's start, so no hint tells it of the lanes."""
    lanes = [*range(0, 256, 15), 255]
    await world.push(
        *(
            broadcast_job(str(lane), queue=lane_name("broadcasts", lane), channels=["c"])
            for lane in lanes
        )
    )
    await world.clients.aio.delete(world.clients.keys.hints("broadcasts"))

    async with world.running(queues=("broadcasts",), lanes=16):
        await eventually(lambda: len(world.publisher.names) == len(lanes))


def test_a_lane_that_is_of_no_interest_is_forgotten() -> None:
    mine = source()
    mine.surveyed(Survey(due=[1, 2], share=16, next_in=0.5), "worker", 100.0, 2.0)
    assert mine.survey_at == pytest.approx(100.5)
    assert not mine.empty

    for line in mine.lanes.values():
        line.hot, line.empty = False, True
    mine.forget_idle()

    assert mine.lanes == {}
    assert len(lane_names("mail")) == LANES


def test_looking_again_forgets_that_nothing_was_there() -> None:
    mine = source()
    mine.main.hot, mine.main.empty = False, True
    mine.surveyed(Survey(due=[], share=16, next_in=None), "worker", time.monotonic(), 2.0)
    assert mine.empty

    mine.look_again()

    assert not mine.empty
    assert mine.main.hot
    assert mine.survey_at == 0


def test_a_survey_that_was_on_its_way_does_not_keep_a_worker_from_looking_again() -> None:
    mine = source()
    mine.asks()

    mine.look_again()
    mine.surveyed(Survey(due=[], share=16, next_in=None), "worker", 100.0, 2.0)
    mine.main.stepped(StepReply(), 5, 100.0, 2.0)

    assert not mine.empty
    assert mine.survey_at == 0
