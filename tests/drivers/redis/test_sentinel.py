"""A server that Sentinel chooses, before and after a failover."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.client import RedisClients, address_of, check_server
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.sentinel import SentinelUrl, parse_sentinel_url
from broadcaster.errors import ConfigurationError, DriverUnavailable
from tests.polling import eventually, eventually_async
from tests.sentinels import Watched
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Note
from tests.worker.worker_world import WorkerWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        (
            "redis+sentinel://a:1,b/shop",
            SentinelUrl((("a", 1), ("b", 26_379)), "shop", 0, {}, {}, secure=False),
        ),
        (
            "rediss+sentinel://me:p%40ss@[::1]:5/shop/3?sentinel_password=s",
            SentinelUrl(
                (("::1", 5),),
                "shop",
                3,
                {"username": "me", "password": "p@ss"},
                {"password": "s"},
                secure=True,
            ),
        ),
    ],
)
def test_the_url_names_sentinels_and_service(url: str, parsed: SentinelUrl) -> None:
    assert parse_sentinel_url(url) == parsed


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://a:1", "must name the sentinels"),
        ("redis+sentinel:///shop", "must name the sentinels"),
        ("redis+sentinel://a:x/shop", "the port"),
        ("redis+sentinel://a/shop/x", "the database"),
    ],
)
def test_wrong_urls_are_explained(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        RedisClients(url)


def test_messages_name_the_service_and_no_password() -> None:
    clients = RedisClients("redis+sentinel://me:secret@127.0.0.1:1/shop")

    assert address_of(clients.sync) == "the master of shop (Sentinel)"
    with pytest.raises(DriverUnavailable, match="the master of shop") as caught:
        RedisQueue(clients).sizes("default")
    assert "secret" not in str(caught.value)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.process
async def test_workers_go_on_by_themselves_after_a_failover(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    clients = RedisClients(watched.url)
    world = WorkerWorld(clients)
    sample_jobs.seen.clear()
    pushed: list[str] = []
    try:
        await check_server(clients)
        async with world.running(lease=3):
            pushing = asyncio.create_task(_push_all(world, pushed))
            await eventually(lambda: len(sample_jobs.seen) > 20)
            await asyncio.to_thread(watched.kill_master)
            killed = time.monotonic()
            await eventually_async(lambda: _moved(watched), within=20)
            moved, before = time.monotonic(), len(sample_jobs.seen)
            await eventually(lambda: len(sample_jobs.seen) > before + 20, within=20)
            on_again = time.monotonic()
            pushing.cancel()
            await asyncio.wait([pushing])
            # What was pushed after the failover is run; of the rest, Redis may have lost the last.
            await eventually(lambda: pushed[-1] in sample_jobs.seen, within=20)
    finally:
        await clients.aclose()

    lost = [text for text in pushed if text not in sample_jobs.seen]
    with capsys.disabled():
        times = f"{moved - killed:.1f} s to the failover, {on_again - moved:.1f} s more to work"
        print(f"\n{times}; {len(lost)} of {len(pushed)} lost")  # noqa: T201
    assert on_again - moved < 5
    assert len(lost) < 50


async def _moved(watched: Watched) -> bool:
    return await asyncio.to_thread(lambda: watched.master) == watched.ports[1]


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
