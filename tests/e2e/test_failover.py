"""The whole chain behind Redis Sentinel, over a failover under load."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster import abroadcast, broadcast
from broadcaster.errors import DriverUnavailable
from broadcaster.testing.client import connected
from tests.e2e.chain import CHANNEL, OrderShipped, backend, numbers, work_process
from tests.gateway.processes import serve_process
from tests.gateway.world import APP
from tests.polling import eventually_async

if TYPE_CHECKING:
    from broadcaster.testing.client import PusherClient
    from tests.sentinels import Watched

pytestmark = pytest.mark.process

AGAIN = 5.0  # seconds, as is promised: ten times what a busy machine takes
CALL = 2.0 + 2.0


class Producer:
    """Broadcasts numbers, by turns with both verbs, until it is stopped."""

    def __init__(self) -> None:
        self.accepted: dict[int, float] = {}
        self.slowest = 0.0
        self.stopped = False

    async def run(self) -> None:
        number = 0
        while not self.stopped:
            event, began = OrderShipped(7, number), time.monotonic()
            try:
                if number % 2:
                    await asyncio.to_thread(broadcast, event)
                else:
                    await abroadcast(event)
            except DriverUnavailable:
                pass
            else:
                self.accepted[number] = time.monotonic()
            self.slowest = max(self.slowest, time.monotonic() - began)
            number += 1
            await asyncio.sleep(0.01)

    def since(self, moment: float) -> set[int]:
        return {number for number, at in self.accepted.items() if at > moment}


async def test_messages_go_on_within_seconds_of_a_failover(watched: Watched) -> None:
    url, prefix, producer = watched.url, "failover", Producer()
    async with (
        serve_process(url, prefix, lease=15) as left,
        serve_process(url, prefix, lease=15) as right,
        backend(url, prefix),
        work_process(url, prefix),
        connected(f"ws://127.0.0.1:{left.port}", APP) as a,
        connected(f"ws://127.0.0.1:{right.port}", APP) as b,
    ):
        await a.subscribe(CHANNEL)
        await b.subscribe(CHANNEL)
        running = asyncio.create_task(producer.run())
        await eventually_async(lambda: heard((a, b), set(range(10))))

        killed = time.monotonic()
        await asyncio.to_thread(watched.kill_master)
        dead = time.monotonic()
        await eventually_async(lambda: asyncio.to_thread(lambda: watched.moved), within=20)
        moved = time.monotonic()
        await eventually_async(lambda: heard_any((a, b), producer.since(moved)), within=20)
        took = time.monotonic() - moved
        producer.stopped = True
        await running
        await eventually_async(lambda: heard((a, b), producer.since(moved)))

    assert took < AGAIN
    assert producer.slowest < CALL
    for client in (a, b):
        got = numbers(client)
        lost = producer.accepted.keys() - set(got)
        assert len(got) == len(set(got))
        # Redis copies at once, and loses what was under way when its master was killed.
        assert all(killed - 1 < producer.accepted[number] < dead + 1 for number in lost)


async def heard(clients: tuple[PusherClient, ...], wanted: set[int]) -> bool:
    """Whether each client has received all of `wanted`."""
    for client in clients:
        await client.settle()
    return all(wanted <= set(numbers(client)) for client in clients)


async def heard_any(clients: tuple[PusherClient, ...], wanted: set[int]) -> bool:
    """Whether each client has received one of `wanted`."""
    for client in clients:
        await client.settle()
    return all(wanted & set(numbers(client)) for client in clients)
