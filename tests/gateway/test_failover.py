"""Two gateways behind Redis Sentinel, whose master dies with what it had not copied."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.gateway.test_redis_faults import ADA, ADDED, GRACE, REMOVED, numbers_of, published
from tests.gateway.world import running_gateway
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from tests.gateway.world import RunningGateway
    from tests.sentinels import Watched

pytestmark = pytest.mark.redis

LINUS = {"user_id": "linus", "user_info": {"name": "Linus"}}


async def test_what_a_failover_loses_is_said_and_presence_heals(watched: Watched) -> None:
    """Nobody publishes afterwards: a quiet channel must be told all the same."""
    async with (
        running_gateway(watched.url, "failover", lease=15) as left,
        running_gateway(watched.url, "failover", lease=15) as right,
        left.connect() as a,
        right.connect() as b,
        right.connect() as late,
    ):
        await a.subscribe("orders")
        await b.subscribe("orders")
        await a.subscribe("whole")
        await a.subscribe("presence-room", ADA)
        await b.subscribe("presence-room", GRACE)
        await left.publish("whole", "copied")
        accepted = await published(left, "orders", range(5))

        await asyncio.to_thread(watched.cut_replica)
        accepted += await published(right, "orders", range(5, 10))
        await late.subscribe("presence-room", LINUS)
        await asyncio.to_thread(watched.kill_master)
        await eventually(lambda: watched.moved, within=20)
        told = [await client.next("pusher:resync", within=10) for client in (a, b)]
        for gateway in (left, right):
            await eventually_async(gateway.is_ready, within=10)
        await eventually_async(lambda: _present(left, 3))

        accepted += await published(left, "orders", range(10, 15))
        got = [await numbers_of(client, accepted) for client in (a, b)]
        await late.unsubscribe("presence-room")
        await a.next(REMOVED)

    assert got == [accepted, accepted]
    assert [frame.channel for frame in told] == ["orders", "orders"]
    assert len(a.received("pusher:resync")) == 1  # the other channel has lost nothing
    # The copy never had Linus, who joins it anew: he may be announced twice, nobody else.
    assert a.received(ADDED) in ([GRACE, LINUS], [GRACE, LINUS, LINUS])
    assert a.received(REMOVED) == [{"user_id": "linus"}]


async def _present(gateway: RunningGateway, count: int) -> bool:
    answer = await gateway.get("/channels/presence-room/users")
    return answer.status_code == 200 and len(answer.json()["users"]) == count
