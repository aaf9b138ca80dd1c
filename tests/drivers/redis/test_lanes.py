"""Lanes of one queue: hints, surveys, fair shares."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import Done, NewJob, Retry, StepReply, StepRequest
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.protocol.lanes import lane_name
from tests.drivers.redis.queue_world import job_id, numbers
from tests.polling import eventually_async

if TYPE_CHECKING:
    from broadcaster.contracts.queue import Settlement, Survey
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

LANES = range(4)


class LaneWorld:
    """A queue of four lanes."""

    def __init__(self, clients: RedisClients) -> None:
        self.clients = clients
        self.queue = RedisQueue(clients)

    async def push(self, lane: int, *ids: int, delay: float = 0.0) -> None:
        name = lane_name("b", lane)
        await self.queue.apush([NewJob(job_id(each), name, b"x", delay) for each in ids])

    async def step(
        self, lane: int, *settlements: Settlement, reserve: int = 10, lease: float = 30.0
    ) -> StepReply:
        request = StepRequest(
            queue=lane_name("b", lane),
            settlements=settlements,
            reserve=reserve,
            lease=lease,
            worker="w",
            ordered=True,
        )
        return await self.queue.step(request)

    async def survey(self, worker: str = "") -> Survey:
        return await self.queue.survey("b", LANES, worker)


@pytest.fixture
def world(clients: RedisClients) -> LaneWorld:
    return LaneWorld(clients)


async def test_a_push_tells_a_waiting_worker_which_lane_has_jobs(world: LaneWorld) -> None:
    await world.push(2, 1, 2)
    await world.push(0, 3)
    await world.push(2, 4)

    hints = [await world.queue.wait("b", 0.5) for _ in range(2)]

    assert sorted(str(hint) for hint in hints) == ["b#0", "b#2"]
    assert await world.queue.wait("b", 0.01) is None


async def test_all_keys_of_a_queue_and_its_lanes_share_a_slot(world: LaneWorld) -> None:
    await world.push(1, 1)
    await world.step(1)
    await world.survey("w")
    await RedisQueue(world.clients).apush([NewJob(job_id(1), "b", b"x")])

    keys = [key async for key in world.clients.aio.scan_iter(f"{world.clients.prefix}:*")]

    tags = {key.partition(b"{")[2].partition(b"}")[0] for key in keys}
    assert tags == {b"q:b", b"queues"}
    assert world.queue.queues() == ["b", "b#1"]


async def test_a_survey_names_the_lanes_that_have_something(world: LaneWorld) -> None:
    assert (await world.survey()).due == []
    await world.push(1, 1)
    await world.push(3, 2, delay=60)
    await world.push(0, 3)
    await world.step(0)

    survey = await world.survey()

    assert survey.due == [1]
    assert survey.next_in == pytest.approx(30, abs=1)


async def test_a_lane_whose_worker_died_is_due_when_its_lease_is_over(world: LaneWorld) -> None:
    await world.push(2, 1, 2)
    held = {job.id: job.token for job in (await world.step(2)).reserved}
    assert (await world.survey()).due == []
    await asyncio.to_thread(world.queue.extend, "b#2", held, 0.2)

    async def is_due() -> bool:
        return list((await world.survey()).due) == [2]

    await eventually_async(is_due)

    async def is_taken_over() -> bool:
        return numbers((await world.step(2)).reserved) == [1]

    await eventually_async(is_taken_over)


async def test_delayed_and_retried_jobs_make_a_lane_due(world: LaneWorld) -> None:
    await world.push(0, 1, delay=0.05)
    await world.push(1, 2)
    (job,) = (await world.step(1)).reserved
    await world.step(1, Retry(job.id, job.token, 0.05), reserve=0)

    async def are_due() -> bool:
        return list((await world.survey()).due) == [0, 1]

    await eventually_async(are_due)


async def test_a_paused_lane_is_not_due(world: LaneWorld) -> None:
    admin = RedisQueueAdmin(world.clients)
    await world.push(0, 1)
    await world.push(1, 2)
    await asyncio.to_thread(admin.pause, "b#0")
    await asyncio.to_thread(admin.pause, "b#1", 60)

    survey = await world.survey()

    assert survey.due == []
    assert survey.next_in == pytest.approx(60, abs=1)
    assert (await world.queue.survey("b", LANES, "", force=True)).due == [0, 1]
    await asyncio.to_thread(admin.resume, "b#0")
    assert (await world.survey()).due == [0]


async def test_living_workers_share_the_lanes(world: LaneWorld) -> None:
    assert (await world.survey()).share == 4
    assert (await world.survey("one")).share == 4
    assert (await world.survey("two")).share == 2
    assert (await world.survey("three")).share == 2
    await world.clients.aio.zadd(world.clients.keys.queue("b", "fleet"), {"one": 1, "two": 1})

    assert (await world.survey("three")).share == 4


async def test_a_lane_that_is_given_up_is_offered_to_others(world: LaneWorld) -> None:
    await world.push(2, 1, 2)
    assert await world.queue.wait("b", 0.5) == "b#2"
    (job,) = (await world.step(2, reserve=1)).reserved
    assert await world.queue.wait("b", 0.01) is None

    await world.step(2, Done(job.id, job.token), reserve=0)

    assert await world.queue.wait("b", 0.5) == "b#2"
