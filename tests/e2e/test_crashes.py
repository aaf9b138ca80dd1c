"""``kill -9`` in the middle of the main job, seen from a subscribed client."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster import abroadcast
from broadcaster.testing.client import connected
from tests.e2e.chain import OrderShipped, backend, kill, work_process
from tests.gateway.processes import serve_process
from tests.gateway.world import APP

if TYPE_CHECKING:
    from broadcaster.testing.client import PusherClient

pytestmark = pytest.mark.process

CHANNEL = "private-orders.7"
LEASE = 2.0


def numbers(client: PusherClient) -> list[int]:
    return [data["number"] for data in client.received("App\\Events\\OrderShipped")]


async def until(client: PusherClient, count: int, within: float) -> None:
    async with asyncio.timeout(within):
        while len(numbers(client)) < count:
            await client.next("App\\Events\\OrderShipped", within=within)


async def test_200_queued_broadcasts_survive_the_death_of_their_worker(
    redis_url: str, prefix: str
) -> None:
    """All arrive within the lease and five seconds, each once, in order."""
    async with (
        serve_process(redis_url, prefix) as gateway,
        backend(redis_url, prefix),
        connected(f"ws://127.0.0.1:{gateway.port}", APP) as client,
    ):
        await client.subscribe(CHANNEL)
        async with work_process(redis_url, prefix, lease=LEASE) as worker:
            for number in range(200):
                await abroadcast(OrderShipped(7, number))
                if number == 20:
                    # Somewhere in the middle: some are published, some reserved, some wait.
                    await until(client, 1, 20)
                    kill(worker)
            killed = time.monotonic()
            async with work_process(redis_url, prefix, lease=LEASE):
                await until(client, 200, LEASE + 5 + 3)
            took = time.monotonic() - killed
        await client.settle()

    assert numbers(client) == list(range(200))
    # Three seconds more than promised are waited for, so that a miss reports its length.
    assert took < LEASE + 5


async def test_a_gateway_that_dies_leaves_the_other_one_working(
    redis_url: str, prefix: str
) -> None:
    async with (
        serve_process(redis_url, prefix) as survivor,
        serve_process(redis_url, prefix) as victim,
        backend(redis_url, prefix),
        work_process(redis_url, prefix),
        connected(f"ws://127.0.0.1:{survivor.port}", APP) as client,
        connected(f"ws://127.0.0.1:{victim.port}", APP) as lost,
    ):
        await client.subscribe(CHANNEL)
        await lost.subscribe(CHANNEL)
        await abroadcast(OrderShipped(7, 1))
        await until(client, 1, 20)
        await until(lost, 1, 20)
        kill(victim.process)
        await lost.wait_closed()
        for number in range(2, 12):
            await abroadcast(OrderShipped(7, number))
        await until(client, 11, 20)

    assert numbers(client) == list(range(1, 12))
