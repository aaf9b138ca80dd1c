"""The ordered lane: one worker at a time, and an order that nothing disturbs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import Done, Fail, QueueSizes, Release, Retry
from tests.drivers.redis.queue_world import QueueWorld, numbers

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

SHORT = 0.25


@pytest.fixture
def lane(clients: RedisClients) -> QueueWorld:
    return QueueWorld(clients, ordered=True)


@pytest.fixture
def brief(clients: RedisClients) -> QueueWorld:
    return QueueWorld(clients, ordered=True, lease=SHORT)


async def test_one_worker_at_a_time_has_the_lane(lane: QueueWorld) -> None:
    await lane.push(1, 2, 3, 4)
    mine = await lane.reserve(2)

    other = await lane.step(reserve=2, worker="other")
    mine_again = await lane.step(*(Done(job.id, job.token) for job in mine), reserve=2)

    assert numbers(mine) == [1, 2]
    assert other.reserved == []
    assert other.ready == 2
    assert numbers(mine_again.reserved) == [3, 4]


async def test_a_waiting_worker_is_not_woken_while_the_lane_is_held(lane: QueueWorld) -> None:
    await lane.push(1, 2)
    assert await lane.queue.wait("q", 1.0)

    await lane.step(reserve=1)

    assert not await lane.queue.wait("q", 0.05)


async def test_giving_the_lane_up_wakes_the_next_worker(lane: QueueWorld) -> None:
    await lane.push(1, 2)
    assert await lane.queue.wait("q", 1.0)
    (job,) = await lane.reserve()

    await lane.step(Done(job.id, job.token))

    assert await lane.queue.wait("q", 1.0)


async def test_a_retry_keeps_the_head_of_the_line(lane: QueueWorld) -> None:
    await lane.push(1, 2, 3, 4)
    one, two, three = await lane.reserve(3)

    reply = await lane.step(Done(one.id, one.token), Retry(two.id, two.token), reserve=10)

    assert numbers(reply.reserved) == [2, 3, 4]
    assert [job.attempts for job in reply.reserved] == [1, 0, 0]
    assert (await lane.step(Done(three.id, three.token))).refused == [three.id]


async def test_the_delay_of_a_retry_holds_up_the_lane(lane: QueueWorld) -> None:
    await lane.push(1, 2)
    (job,) = await lane.reserve()

    before = await lane.redis_ms()
    reply = await lane.step(Retry(job.id, job.token, 0.15), reserve=10)
    assert reply.reserved == []
    assert reply.next_in == pytest.approx(0.15, abs=0.05)

    reply = await lane.until(lambda reply: reply.reserved, reserve=10)
    assert numbers(reply.reserved) == [1, 2]
    assert await lane.redis_ms() >= before + 150


async def test_what_is_handed_back_returns_in_its_place(lane: QueueWorld) -> None:
    await lane.push(1, 2, 3, 4, 5)
    one, two, three, four = await lane.reserve(4)

    await lane.step(
        Release(four.id, four.token),
        Done(two.id, two.token),
        Release(one.id, one.token),
        Fail(three.id, three.token, "exception", "x", 1),
    )

    assert numbers(await lane.reserve(10)) == [1, 4, 5]


async def test_what_is_held_behind_a_returned_job_returns_too(lane: QueueWorld) -> None:
    await lane.push(1, 2, 3, 4)
    _, two, _ = await lane.reserve(3)

    await lane.step(Release(two.id, two.token))
    assert (await lane.queue.asizes("q")) == QueueSizes(ready=3, held=1)


async def test_lapsed_jobs_return_to_the_front_in_their_order(brief: QueueWorld) -> None:
    await brief.push(1, 2, 3, 4)
    await brief.reserve(3)
    await brief.lapse()

    order = []
    for _ in range(3):
        reply = await brief.step(reserve=10)
        (job,) = reply.reserved  # suspects come alone
        assert job.alone
        order.append(int(job.id, 16))
        await brief.step(Done(job.id, job.token))

    assert order == [1, 2, 3]
    assert numbers(await brief.reserve(10)) == [4]


async def test_a_batch_ends_before_a_suspect(brief: QueueWorld) -> None:
    await brief.push(1, 2, 3)
    (one,) = await brief.reserve(1)
    await brief.lapse()
    # The suspect is retried and clean, then a later one is marked by hand.
    (one,) = await brief.reserve(1)
    await brief.step(Retry(one.id, one.token))
    await brief.raw("HSET", brief.key("crashes"), f"{3:032x}", "0")

    assert numbers(await brief.reserve(10)) == [1, 2]


async def test_a_suspect_of_a_lane_does_not_wait_for_an_idle_worker(brief: QueueWorld) -> None:
    await brief.push(1, 2)
    await brief.reserve(2)
    await brief.lapse()

    reply = await brief.step(reserve=10, idle=False)

    assert numbers(reply.reserved) == [1]
    assert not reply.reserved[0].alone
    assert not reply.drain


async def test_a_lapse_beside_other_work_is_no_crash(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()

    for _ in range(3):
        assert await brief.reserve(idle=False, max_crashes=1)
        assert (await brief.lapse(max_crashes=1)).crashed == []


async def test_a_job_that_crashes_its_worker_leaves_the_lane(brief: QueueWorld) -> None:
    await brief.push(1, 2)
    await brief.reserve(2)
    await brief.lapse()
    await brief.reserve(2, max_crashes=1)

    reply = await brief.lapse(max_crashes=1)

    assert [int(each, 16) for each in reply.crashed] == [1]
    assert numbers(await brief.reserve(2)) == [2]


async def test_delayed_jobs_join_at_the_end(lane: QueueWorld) -> None:
    await lane.push(1, delay=0.05)
    await lane.push(2)
    await lane.until(lambda reply: reply.ready == 2)

    assert numbers(await lane.reserve(10)) == [2, 1]


async def test_a_lane_whose_holder_never_heard_of_it_goes_on(lane: QueueWorld) -> None:
    await lane.push(1, 2, 3)
    await lane.reserve(2)  # the answer is lost

    reply = await lane.step(reserve=5, recover_after=0)

    assert numbers(reply.reserved) == [1, 2, 3]


async def test_two_workers_share_a_lane_in_order(lane: QueueWorld) -> None:
    await lane.push(*range(60))
    order: list[int] = []

    async def work(name: str) -> None:
        while len(order) < 60:
            reply = await lane.step(reserve=7, worker=name)
            order.extend(numbers(reply.reserved))
            await asyncio.sleep(0)
            await lane.step(*(Done(job.id, job.token) for job in reply.reserved), worker=name)

    await asyncio.gather(work("a"), work("b"))

    assert order == list(range(60))


async def test_a_queue_that_becomes_a_lane_loses_no_suspects(clients: RedisClients) -> None:
    plain, lane = QueueWorld(clients, lease=SHORT), QueueWorld(clients, ordered=True)
    await plain.push(1, 2)
    await plain.reserve()
    await plain.lapse()

    assert numbers(await lane.reserve(5)) == [1]
