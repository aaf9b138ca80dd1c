"""Redis goes away and comes back under load: workers go on by themselves."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.errors import DriverUnavailable
from broadcaster.worker.outages import Outages
from tests.polling import eventually
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Note
from tests.worker.worker_world import WorkerWorld

if TYPE_CHECKING:
    from tests.faults import FaultyServer


def test_an_outage_lasts_from_its_first_failure(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages()
    assert outages.seconds(time.monotonic() + 100) == 0

    outages.away(DriverUnavailable("away"))
    outages.away(DriverUnavailable("away"))

    assert outages.seconds(time.monotonic() + 100) >= 100
    assert outages.retry_at > time.monotonic()
    assert caplog.text.count("queue away") == 1
    outages.back()
    assert (outages.failures, outages.retry_at, outages.seconds(1e9)) == (0, 0.0, 0.0)


@pytest.mark.redis
async def test_workers_go_on_within_five_seconds_of_a_restart_under_load(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    world = WorkerWorld(clients)
    sample_jobs.seen.clear()
    pushed: list[str] = []
    try:
        async with world.running(lease=3), world.running(lease=3):
            pushing = asyncio.create_task(_push_all(world, pushed))
            await eventually(lambda: len(sample_jobs.seen) > 50)
            await asyncio.to_thread(redis_server.stop)
            await asyncio.sleep(1.5)  # an outage that workers notice
            await asyncio.to_thread(redis_server.start)
            back, before = time.monotonic(), len(sample_jobs.seen)
            await eventually(lambda: len(sample_jobs.seen) > before + 50, within=20)
            took = time.monotonic() - back
            pushing.cancel()
            await asyncio.wait([pushing])
            await eventually(lambda: set(pushed) <= set(sample_jobs.seen), within=20)
    finally:
        await clients.aclose()

    assert took < 5  # workers try again every two seconds at least


async def _push_all(world: WorkerWorld, pushed: list[str]) -> None:
    for number in range(100_000):
        made = world.made(Note(str(number)))
        try:
            await world.push(made)
        except DriverUnavailable:
            await asyncio.sleep(0.05)
            continue
        pushed.append(str(number))
        await asyncio.sleep(0.002)
