"""What operators see of a real worker, and what they tell it (rows 40, 42, 44, 45)."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.drivers.redis.queue import RedisQueue
from tests.cli.test_work import new_job
from tests.cli.worker_process import environment, opened
from tests.polling import eventually, eventually_async
from tests.worker.worker_world import broadcast_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients
    from tests.cli.worker_process import Process, Shop

pytestmark = [pytest.mark.redis, pytest.mark.process]

SETTINGS = """\
[workers.mails]
queue = ["urgent", "mail"]
concurrency = 3
name = "mailer"
"""


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, prefix: str) -> Iterator[Shop]:
    (tmp_path / "broadcaster.toml").write_text(SETTINGS, encoding="utf-8")
    with opened(tmp_path, environment(redis_url, prefix)) as made:
        yield made


@pytest.fixture
def queue(clients: RedisClients) -> RedisQueue:
    return RedisQueue(clients)


async def started(shop: Shop, *args: str) -> Process:
    process = shop.start("work", "shop_jobs", *args)
    await eventually(lambda: "worker started" in process.output, within=30)
    return process


async def run(shop: Shop, *args: str) -> str:
    process = await asyncio.to_thread(shop.run, "queue", *args)
    assert process.wait() == 0, process.output
    return process.output


async def status(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await run(shop, "status", "--json"))
    return found


async def test_rows_40_and_44_a_worker_of_a_pool_is_seen_with_its_current_job(
    shop: Shop, queue: RedisQueue
) -> None:
    await queue.apush([new_job("Slow", queue="mail", name="x")])
    process = await started(shop, "--pool", "mails")
    await eventually(lambda: shop.notes == ["begins x"], within=20)

    shown: dict[str, Any] = {}

    async def tells_of_it() -> bool:
        shown.update(await status(shop))
        return any(worker["current"] for worker in shown["workers"])

    await eventually_async(tells_of_it, within=20)

    (worker,) = shown["workers"]
    assert (worker["name"], worker["pool"], worker["slots"]) == ("mailer", "mails", 3)
    assert worker["queues"] == ["urgent", "mail"]
    assert worker["memory"] > 5_000_000
    assert [(each["job"], each["queue"]) for each in worker["current"]] == [("Slow", "mail")]
    mail = next(each for each in shown["queues"] if each["queue"] == "mail")
    assert (mail["held"], mail["running"], mail["slots"], mail["workers"]) == (1, 1, 3, 1)
    assert "Slow of mail for" in await run(shop, "status")
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGTERM)


async def test_row_44_runtimes_of_broadcasts_are_told(shop: Shop, queue: RedisQueue) -> None:
    await queue.apush([broadcast_job(str(n), queue="broadcasts#1") for n in range(5)])

    assert (await asyncio.to_thread(shop.run, "work", "--stop-when-empty")).wait() == 0

    (broadcasts,) = [each for each in (await status(shop))["queues"] if each["runtimes"]]
    assert [(each["job"], each["ended"]) for each in broadcasts["runtimes"]] == [
        ("broadcaster.broadcast", 5)
    ]


async def test_rows_42_and_45_a_worker_is_paused_resumed_and_restarted_from_the_shell(
    shop: Shop, queue: RedisQueue
) -> None:
    process = await started(shop)

    await run(shop, "pause", "default", "--by", "ada")
    await queue.apush([new_job("greet", name="Ada")])
    assert "paused by ada" in await run(shop, "status")
    assert shop.notes == []
    await run(shop, "resume", "default")
    await eventually(lambda: shop.notes == ["hello Ada"], within=20)

    async def is_known() -> bool:
        return len((await status(shop))["workers"]) == 1

    await eventually_async(is_known, within=20)
    assert "asked 1 worker " in await run(shop, "restart")
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert "worker stopped: restart_signal" in process.output
