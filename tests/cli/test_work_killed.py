"""Broadcasts of many channels while workers are killed: each once, in order per channel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import QueueSizes
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.protocol.lanes import lane_names, ordered_queue
from tests.cli.test_work import new_job
from tests.cli.worker_process import environment, opened
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broadcaster.contracts.queue import NewJob
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = [pytest.mark.redis, pytest.mark.process]

CHANNELS = [f"c{number}" for number in range(24)]
EACH = 60
KILLS = 3


async def test_two_workers_and_kills_keep_each_channel_in_order(
    tmp_path: Path, redis_url: str, prefix: str, clients: RedisClients
) -> None:
    seed = int(os.environ.get("BROADCASTER_TEST_SEED") or random.randrange(2**32))
    print(f"BROADCASTER_TEST_SEED={seed}")  # noqa: T201 - shown when it fails
    chance = random.Random(seed)
    queue, published = RedisQueue(clients), defaultdict[str, list[int]](list)
    with opened(tmp_path, environment(redis_url, prefix)) as shop:
        async with _recorded(clients, published):
            workers = [shop.start("work"), shop.start("work")]
            await eventually(
                lambda: all("worker started" in each.output for each in workers), within=30
            )
            pushing = asyncio.create_task(_push(queue, chance))
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.3, 0.8))
                workers.pop(chance.randrange(2)).kill()
                workers.append(shop.start("work"))
            await pushing
            total = len(CHANNELS) * EACH
            await eventually(lambda: sum(map(len, published.values())) >= total, within=60)
            await _settled(queue)

    assert dict(published) == {channel: list(range(EACH)) for channel in CHANNELS}


async def _push(queue: RedisQueue, chance: random.Random) -> None:
    for number in range(EACH):
        await queue.apush([_job(channel, number) for channel in CHANNELS])
        await asyncio.sleep(chance.uniform(0, 0.06))


def _job(channel: str, number: int) -> NewJob:
    data = {"app": "1", "channels": [channel], "data": "{}", "socket_id": None}
    name = ordered_queue("broadcasts", channel)
    return new_job("broadcaster.broadcast", name, name=str(number), **data)


async def _settled(queue: RedisQueue) -> None:
    async def is_empty() -> bool:
        return all([await queue.asizes(lane) == QueueSizes() for lane in lane_names("broadcasts")])

    await eventually_async(is_empty, within=20)


@contextlib.asynccontextmanager
async def _recorded(
    clients: RedisClients, published: defaultdict[str, list[int]]
) -> AsyncIterator[None]:
    """Note the name, a number, of everything that is published, by channel."""
    subscriber = clients.aio.pubsub()
    topics = {clients.keys.topic("1", channel): channel for channel in CHANNELS}
    await subscriber.subscribe(*topics)

    async def listen() -> None:
        async for message in subscriber.listen():
            if message["type"] == "message":
                frame = json.loads(decode_envelope(message["data"]).frame)
                published[topics[message["channel"]]].append(int(frame["event"]))

    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        await subscriber.aclose()  # type: ignore[no-untyped-call]  # not annotated by redis-py
