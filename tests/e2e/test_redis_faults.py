"""The main job over a Redis that freezes and restarts: nothing accepted is lost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster import abroadcast, broadcast
from broadcaster.errors import DriverUnavailable
from tests.e2e.chain import OrderShipped, numbers, subscriber, until, work_process
from tests.polling import eventually

if TYPE_CHECKING:
    from tests.faults import FaultyServer

pytestmark = pytest.mark.process


async def accepted_of(count: int, first: int) -> list[int]:
    """Broadcast numbered events; return those that the queue took."""
    taken = []
    for number in range(first, first + count):
        try:
            await abroadcast(OrderShipped(7, number))
            taken.append(number)
        except DriverUnavailable:
            continue
    return taken


async def test_a_freeze_is_said_within_two_seconds_and_nothing_accepted_is_lost(
    redis_server: FaultyServer,
) -> None:
    url, prefix = redis_server.url, "freeze"
    async with subscriber(url, prefix, lease=15) as client, work_process(url, prefix):
        taken = await accepted_of(5, 0)
        await until(client, 5, 20)
        # More than a worker can have finished when the server freezes.
        taken += await accepted_of(50, 5)
        redis_server.freeze()
        frozen = time.monotonic()
        try:
            began = time.monotonic()
            with pytest.raises(DriverUnavailable):
                await abroadcast(OrderShipped(7, 900))
            async_took = time.monotonic() - began
            began = time.monotonic()
            with pytest.raises(DriverUnavailable):
                await asyncio.to_thread(broadcast, OrderShipped(7, 901))
            sync_took = time.monotonic() - began
            await asyncio.sleep(max(0.0, 5 - (time.monotonic() - frozen)))
        finally:
            redis_server.thaw()
        taken += await accepted_of(5, 55)
        await eventually(lambda: set(taken) <= set(numbers(client)), within=30)
        await client.settle()
        got = [number for number in numbers(client) if number < 900]

    # What raised may have reached the queue all the same, but is never delivered twice.
    assert [number for number in got if number in set(taken)] == taken
    assert len(numbers(client)) == len(set(numbers(client)))
    # The promise is 2 s; the rest is for a machine that is busy with other things.
    assert async_took < 5
    assert sync_took < 5
    assert client.received("pusher:resync") == []


async def test_a_restart_with_its_file_loses_nothing_of_the_queue(
    redis_server: FaultyServer,
) -> None:
    url, prefix = redis_server.url, "restart"
    async with subscriber(url, prefix, lease=15) as client:
        taken = await accepted_of(20, 0)
        async with work_process(url, prefix):
            redis_server.restart(keep_data=True)
            number = 20
            while len(taken) < 40:
                taken += await accepted_of(1, number)
                number += 1
            await eventually(lambda: set(taken) <= set(numbers(client)), within=30)
        await client.settle()

    got = numbers(client)
    assert [number for number in got if number in set(taken)] == taken
    assert got == sorted(set(got))


async def test_everything_works_again_after_a_restart_empty(redis_server: FaultyServer) -> None:
    url, prefix = redis_server.url, "emptied"
    async with subscriber(url, prefix, lease=15) as client, work_process(url, prefix):
        await accepted_of(3, 0)
        await until(client, 3, 20)

        redis_server.restart(keep_data=False)

        resync = await client.next("pusher:resync", within=10)
        taken, number = list[int](), 3
        while not taken:
            taken = await accepted_of(1, number)
            number += 1
        await eventually(lambda: set(taken) <= set(numbers(client)))

    assert resync.data == {"reason": "data_lost"}
    got = numbers(client)
    assert got[:3] == [0, 1, 2]
    assert got == sorted(set(got))
