"""Which sentinel is asked, and how often, when some are silent."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from broadcaster.drivers.redis import sentinel
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.sentinel import Sentinels
from tests.faults import BareServer
from tests.polling import eventually

if TYPE_CHECKING:
    from pathlib import Path

CALLERS = 20


def told(port: int) -> dict[str, Any]:
    """What a sentinel says that knows a master of the service."""
    well = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 0}
    return {"shop": {**well, "ip": "127.0.0.1", "port": port}}


def new_pool(clients: RedisClients) -> Any:
    pool: Any = clients.aio.connection_pool
    for each in pool.sentinel_manager.sentinels:
        each.sentinel_masters = AsyncMock(side_effect=RedisConnectionError("away"))
    return pool


def test_who_is_put_first_or_last_leaves_the_order_of_the_others() -> None:
    a, b, c, d = (object() for _ in range(4))
    order = Sentinels([a, b, c, d])

    order[0], order[2] = c, order[0]
    first = [*order]
    order.postpone(a)
    order.postpone(a)

    assert (first, [*order]) == ([c, a, b, d], [c, b, d, a])


async def test_no_sentinel_is_lost_when_two_callers_find_the_first_one_silent_at_once() -> None:
    clients = RedisClients("redis+sentinel://a,b,c/shop")
    manager = new_pool(clients).sentinel_manager
    first, second, third = manager.sentinels

    async def answer() -> dict[str, Any]:
        await asyncio.sleep(0)  # the other one is here too before either goes on
        return told(1)

    second.sentinel_masters = answer
    await asyncio.gather(manager.discover_master("shop"), manager.discover_master("shop"))

    assert [*manager.sentinels] == [second, first, third]
    await clients.aclose()


async def test_a_sentinel_that_lets_a_question_wait_is_asked_last_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or it would have all of the time of each question, and nobody else would be asked."""
    monkeypatch.setattr(sentinel, "SENTINEL_SECONDS", 0.05)
    clients = RedisClients("redis+sentinel://a,b/shop")
    pool = new_pool(clients)
    silent, other = pool.sentinel_manager.sentinels
    silent.sentinel_masters = asyncio.Event().wait
    other.sentinel_masters = AsyncMock(return_value=told(7))

    await pool._ask()
    before = pool.master_address
    monkeypatch.setattr(sentinel, "SENTINEL_SECONDS", 10.0)
    await pool._ask()

    assert (before, pool.master_address) == (None, ("127.0.0.1", 7))
    await clients.aclose()


@pytest.mark.redis
async def test_those_who_waited_for_their_connections_ask_again_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = BareServer(tmp_path / "redis")
    server.start()
    clients = RedisClients("redis+sentinel://a/shop")
    try:
        aio: Any = clients.aio
        pool = aio.connection_pool
        pool.sentinel_manager.discover_master = AsyncMock(return_value=("127.0.0.1", server.port))
        await asyncio.gather(*(aio.ping() for _ in range(CALLERS)))
        gate, asked = asyncio.Event(), 0

        async def discover(_service: str) -> tuple[str, int]:
            nonlocal asked
            asked += 1
            await gate.wait()
            return "127.0.0.1", server.port

        pool.sentinel_manager.discover_master = discover
        monkeypatch.setattr(sentinel, "SENTINEL_SECONDS", 10.0)
        monkeypatch.setattr(sentinel, "SLOW_SECONDS", -1.0)
        pool.ask_at = math.inf
        calls = [asyncio.ensure_future(aio.ping()) for _ in range(CALLERS)]
        await eventually(lambda: len(pool._asking._waiters or ()) == CALLERS - 1)
        gate.set()
        await asyncio.gather(*calls)
    finally:
        await clients.aclose()
        server.kill()

    assert asked == 2  # those who came while the first of them asked have one more
