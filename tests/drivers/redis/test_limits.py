"""Windows, buckets and counters that all workers share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.limits import RedisLimiter
from tests.polling import eventually_async

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis


@pytest.fixture
def limiter(clients: RedisClients) -> RedisLimiter:
    return RedisLimiter(clients)


async def test_row_31_a_window_allows_so_many_from_its_first_hit_on(limiter: RedisLimiter) -> None:
    said = [await limiter.athrottle("k", 2, 60) for _ in range(3)]

    assert [each.allowed for each in said] == [True, True, False]
    assert [each.remaining for each in said] == [1, 0, 0]
    assert said[0].retry_after == 0.0
    assert 50 < said[2].retry_after <= 60


async def test_refused_hits_do_not_make_a_window_longer(limiter: RedisLimiter) -> None:
    await limiter.athrottle("k", 1, 0.05)

    async def is_allowed() -> bool:
        return (await limiter.athrottle("k", 1, 0.05)).allowed

    await eventually_async(is_allowed)


async def test_a_hit_may_weigh_more(limiter: RedisLimiter) -> None:
    assert (await limiter.athrottle("k", 5, 60, cost=3)).remaining == 2
    assert not (await limiter.athrottle("k", 5, 60, cost=3)).allowed
    assert (await limiter.athrottle("k", 5, 60, cost=2)).allowed


async def test_a_look_counts_nothing(limiter: RedisLimiter) -> None:
    looks = [await limiter.athrottle("k", 1, 60, cost=0) for _ in range(3)]
    assert [(each.allowed, each.remaining) for each in looks] == [(True, 1)] * 3
    assert (await limiter.athrottle("k", 1, 60)).allowed

    refused = await limiter.athrottle("k", 1, 60, cost=0)

    assert not refused.allowed
    assert 50 < refused.retry_after <= 60


async def test_row_30_a_bucket_lets_a_burst_through_and_then_so_many_a_second(
    limiter: RedisLimiter,
) -> None:
    burst = [await limiter.atake("k", 3, 0.1) for _ in range(4)]

    assert [each.allowed for each in burst] == [True, True, True, False]
    assert 5 < burst[3].retry_after <= 10
    assert (await limiter.atake("other", 3, 0.1)).allowed


async def test_a_look_into_a_bucket_takes_nothing(limiter: RedisLimiter) -> None:
    looks = [await limiter.atake("k", 1, 0.1, cost=0) for _ in range(3)]
    assert [(each.allowed, each.remaining) for each in looks] == [(True, 1)] * 3
    assert (await limiter.atake("k", 1, 0.1)).allowed

    refused = await limiter.atake("k", 1, 0.1, cost=0)

    assert not refused.allowed
    assert 5 < refused.retry_after <= 10


async def test_a_bucket_fills_again(limiter: RedisLimiter) -> None:
    assert (await limiter.atake("k", 1, 50)).allowed

    async def is_allowed() -> bool:
        return (await limiter.atake("k", 1, 50)).allowed

    await eventually_async(is_allowed)


async def test_row_32_a_counter_begins_again_after_its_time(limiter: RedisLimiter) -> None:
    assert [await limiter.acount("k", 60) for _ in range(2)] == [1, 2]
    assert await limiter.acount("k", 60, by=5) == 7
    assert await limiter.acount("k", 60, by=0) == 7
    assert 50 < await limiter.aleft("k") <= 60

    await limiter.aforget("k")

    assert await limiter.acount("k", 60, by=0) == 0
    assert await limiter.aleft("k") == 0.0


async def test_workers_that_count_at_once_share_a_limit(limiter: RedisLimiter) -> None:
    said = await asyncio.gather(*(limiter.athrottle("k", 10, 60) for _ in range(30)))

    assert sum(each.allowed for each in said) == 10


async def test_limits_of_code_without_a_loop_are_the_same(limiter: RedisLimiter) -> None:
    assert (await asyncio.to_thread(limiter.throttle, "k", 1, 60)).allowed
    assert not (await limiter.athrottle("k", 1, 60)).allowed
    assert (await asyncio.to_thread(limiter.take, "k", 1, 0.1)).allowed
    assert not (await limiter.atake("k", 1, 0.1)).allowed
    assert await asyncio.to_thread(limiter.count, "k", 60) == 1
    assert await asyncio.to_thread(limiter.left, "k") > 50
    await asyncio.to_thread(limiter.forget, "k")
    assert (await limiter.athrottle("k", 1, 60)).allowed


@pytest.mark.parametrize("cost", [-1, 3])
async def test_what_could_never_be_allowed_is_an_error(limiter: RedisLimiter, cost: int) -> None:
    with pytest.raises(ValueError, match=f"cost is {cost}"):
        await limiter.athrottle("k", 2, 60, cost=cost)
    with pytest.raises(ValueError, match=f"cost is {cost}"):
        await limiter.atake("k", 2, 1, cost=cost)


async def test_times_and_rates_are_above_zero(limiter: RedisLimiter) -> None:
    with pytest.raises(ValueError, match="every is 0"):
        await limiter.athrottle("k", 1, 0)
    with pytest.raises(ValueError, match="per_second is -1"):
        await limiter.atake("k", 1, -1)
    with pytest.raises(ValueError, match="seconds is nan"):
        await limiter.acount("k", float("nan"))
