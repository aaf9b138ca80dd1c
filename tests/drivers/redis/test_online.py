"""Who is online, as backends read what gateways write."""

from __future__ import annotations

import pytest

from broadcaster.contracts.presence import Joining, Member
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.online import BATCH, RedisOnline
from broadcaster.drivers.redis.presence import RedisPresence
from broadcaster.errors import DriverUnavailable, MalformedMessage
from broadcaster.protocol.watchlist import CAME, LEFT, online_list

pytestmark = pytest.mark.redis

APP = "1"


async def enter(clients: RedisClients, user_id: str) -> None:
    """Register a user as a gateway does."""
    store = RedisPresence(clients)
    lease = (await store.renew("node", 1)).lease
    member = Member(user_id, f'{{"user_id":"{user_id}"}}')
    join = Joining(APP, online_list(user_id), "node", member, CAME, 10, LEFT)
    await store.join_many(lease, [join], announce=True)


async def test_each_user_is_answered_in_the_order_asked_for(clients: RedisClients) -> None:
    await enter(clients, "ada")
    reader = RedisOnline(clients)

    assert await reader.aonline(APP, ["bob", "ada", "eve"]) == [False, True, False]
    assert reader.online(APP, ["ada", "bob"]) == [True, False]
    assert await reader.aonline("2", ["ada"]) == [False]


async def test_any_number_of_users_may_be_asked_for(clients: RedisClients) -> None:
    await enter(clients, "user-2500")
    names = [f"user-{i}" for i in range(2 * BATCH + 501)]
    reader = RedisOnline(clients)

    assert [i for i, found in enumerate(await reader.aonline(APP, names)) if found] == [2500]
    assert sum(reader.online(APP, names)) == 1
    assert await reader.aonline(APP, []) == reader.online(APP, []) == []


@pytest.mark.parametrize("user_id", ["", "a b", "x" * 129, "{"])
async def test_an_id_that_nobody_can_have_is_refused(clients: RedisClients, user_id: str) -> None:
    with pytest.raises(MalformedMessage, match="cannot have signed in"):
        await RedisOnline(clients).aonline(APP, [user_id])
    with pytest.raises(MalformedMessage):
        RedisOnline(clients).online(APP, [user_id])


async def test_a_redis_that_is_away_is_said() -> None:
    clients = RedisClients("redis://127.0.0.1:1/0")
    with pytest.raises(DriverUnavailable):
        RedisOnline(clients).online(APP, ["ada"])
    with pytest.raises(DriverUnavailable):
        await RedisOnline(clients).aonline(APP, ["ada"])
    await clients.aclose()
