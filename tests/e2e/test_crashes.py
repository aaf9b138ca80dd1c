"""``kill -9`` in the middle of the main job, seen from a subscribed client."""

from __future__ import annotations

import pytest

from broadcaster import abroadcast
from tests.e2e.chain import (
    CHANNEL,
    OrderShipped,
    backend,
    kill,
    numbers,
    subscriber,
    until,
    work_process,
)
from tests.gateway.processes import serve_process

pytestmark = pytest.mark.process

LEASE = 2.0


async def test_200_queued_broadcasts_survive_the_death_of_their_worker(
    redis_url: str, prefix: str
) -> None:
    """All arrive soon after the lease, each once, in order."""
    async with subscriber(redis_url, prefix) as client:
        async with work_process(redis_url, prefix, lease=LEASE) as worker:
            for number in range(200):
                await abroadcast(OrderShipped(7, number))
                if number == 20:
                    # Somewhere in the middle: some are published, some reserved, some wait.
                    await until(client, 1, 20)
                    kill(worker)
            async with work_process(redis_url, prefix, lease=LEASE):
                # Five seconds after the lease on a machine that does nothing else.
                await until(client, 200, LEASE + 28)
        await client.settle()

    assert numbers(client) == list(range(200))


async def test_a_gateway_that_dies_leaves_the_other_one_working(
    redis_url: str, prefix: str
) -> None:
    async with (
        serve_process(redis_url, prefix) as survivor,
        serve_process(redis_url, prefix) as victim,
        backend(redis_url, prefix),
        work_process(redis_url, prefix),
        survivor.connect() as client,
        victim.connect() as lost,
    ):
        await client.subscribe(CHANNEL)
        await lost.subscribe(CHANNEL)
        await abroadcast(OrderShipped(7, 1))
        await until(client, 1, 20)
        await until(lost, 1, 20)
        victim.kill()
        await lost.wait_closed()
        for number in range(2, 12):
            await abroadcast(OrderShipped(7, number))
        await until(client, 11, 20)

    assert numbers(client) == list(range(1, 12))
