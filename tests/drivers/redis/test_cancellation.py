"""A task that uses Redis ends when it is cancelled, whatever it is doing at that moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.client import translated
from broadcaster.drivers.redis.publish import RedisBroker
from broadcaster.errors import DriverUnavailable

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients


async def test_a_loop_over_commands_ends_when_it_is_cancelled(clients: RedisClients) -> None:
    """Every one of these moments was one at which redis-py lost the cancellation."""
    broker = RedisBroker(clients)

    async def forever() -> None:
        while True:
            await broker.ping()

    for ticks in range(100):
        task = asyncio.create_task(forever())
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)

        assert task in done, f"ran on after it was cancelled at tick {ticks}"
        assert task.cancelled()


async def test_a_cancellation_that_a_library_swallowed_is_raised_again(
    clients: RedisClients,
) -> None:
    async def swallowing() -> None:
        with translated(clients.aio):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return

    async def failing() -> None:
        with translated(clients.aio):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise ConnectionError("closed") from None

    for coroutine in (swallowing(), failing()):
        task = asyncio.create_task(coroutine)
        await asyncio.sleep(0)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_time_out_of_our_own_is_no_cancellation(clients: RedisClients) -> None:
    with pytest.raises(DriverUnavailable), translated(clients.aio):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)
