"""A revocation holds on every gateway, also on one that was not there to hear of it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock

import pytest
from broadcaster_auth import tokens

from broadcaster.contracts.apps import StaticApps
from broadcaster.contracts.revocations import Revocation, Stored
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.revocations import RedisRevocations
from broadcaster.errors import DriverUnavailable
from broadcaster.gateway.revocations import Revocations
from broadcaster.protocol.revocation import encode_revoked, revocation
from broadcaster.protocol.signing import sign_channel, sign_user
from broadcaster.testing.client import SUCCEEDED
from tests.gateway.world import APP, running_gateway
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.testing.client import PusherClient
    from tests.faults import FaultyServer
    from tests.gateway.conftest import StartGateway

pytestmark = pytest.mark.redis

KEYED = replace(APP, grant_keys=(("1", "HS256", "a shared key of thirty-two bytes or more"),))
ORDERS = "private-orders.42"
ERROR = "pusher:subscription_error"
REMOVED = "pusher_internal:member_removed"
REVOKED = {
    "type": "AuthError",
    "error": "The authorization for this channel was revoked",
    "status": 401,
    "code": "auth_revoked",
}


def grant(*channels: str, user: str = "42", made: float = 0.0, **options: Any) -> str:
    """A grant made `made` seconds from now."""
    key = tokens.load_keys(KEYED)[0]
    return f"{KEYED.key}:" + tokens.mint(
        key,
        app_id=KEYED.id,
        sub=user,
        channels=channels or [ORDERS],
        now=time.time() + made,
        lifetime=600,
        **options,
    )


async def present(
    client: PusherClient, channel: str, auth: str, channel_data: str | None = None
) -> None:
    data = {"channel": channel, "auth": auth}
    if channel_data is not None:
        data["channel_data"] = channel_data
    await client.send({"event": "pusher:subscribe", "data": data})


async def enter(client: PusherClient, channel: str, auth: str) -> None:
    await present(client, channel, auth)
    await client.next(SUCCEEDED, channel=channel)


async def signed(client: PusherClient, channel: str, channel_data: str) -> None:
    """Subscribe as an endpoint of any library signs it."""
    auth = sign_channel(
        APP.key,
        APP.secret,
        socket_id=client.socket_id,
        channel=channel,
        channel_data=channel_data,
    )
    await present(client, channel, auth, channel_data)


@asynccontextmanager
async def revoking(redis_url: str, prefix: str) -> AsyncIterator[RedisRevocations]:
    clients = RedisClients(redis_url, prefix)
    yield RedisRevocations(clients)
    await clients.aclose()


async def revoke(
    store: RedisRevocations, user: str = "42", channel: str | None = None, ago: float = 0.0
) -> None:
    await store.arevoke(APP.id, revocation(user, channel, now=time.time() - ago))


@pytest.fixture
async def store(clients: RedisClients) -> RedisRevocations:
    return RedisRevocations(clients)


async def test_subscriptions_end_on_every_gateway_and_an_old_grant_is_no_good_any_more(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    """The promise P10: within a second, and nothing is delivered afterwards."""
    left, right = await start_gateway(app=KEYED), await start_gateway(app=KEYED)
    async with left.connect() as a, right.connect() as b, right.connect() as other:
        old = grant()
        for client in (a, b):
            await enter(client, ORDERS, old)
        await enter(other, ORDERS, grant(user="7"))

        await revoke(store)
        errors = [await client.next(ERROR, channel=ORDERS) for client in (a, b)]
        await left.publish(ORDERS, "shipped")
        await other.next("shipped")
        await a.settle()
        await b.settle()
        await present(a, ORDERS, old)
        again = await a.next(ERROR, channel=ORDERS)
        await enter(b, ORDERS, grant(made=5))
        await right.publish(ORDERS, "shipped")
        await b.next("shipped")

    assert [frame.data for frame in (*errors, again)] == [REVOKED] * 3
    assert (a.received("shipped"), len(b.received("shipped"))) == ([], 1)
    assert other.received(ERROR) == []


async def test_nothing_of_a_running_flow_comes_after_the_revocation(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    left, right = await start_gateway(app=KEYED), await start_gateway(app=KEYED)
    async with left.connect() as client, left.connect() as other:
        await enter(client, ORDERS, grant())
        await enter(other, ORDERS, grant(user="7"))

        async def flow() -> None:
            for number in range(200):
                await right.publish(ORDERS, "flow", str(number))

        publishing = asyncio.create_task(flow())
        await client.next("flow")
        await revoke(store)
        await client.next(ERROR)
        await publishing
        while len(other.received("flow")) < 200:
            await other.next("flow")
        await client.settle()

    names = [frame.event for frame in client.frames]
    assert "flow" not in names[names.index(ERROR) :]
    assert len(client.received("flow")) < 200


async def test_a_revoked_member_is_announced_as_gone(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    left, right = await start_gateway(app=KEYED), await start_gateway(app=KEYED)
    async with left.connect() as watcher, right.connect() as ada:
        await enter(watcher, "presence-room", grant("presence-room", user="grace"))
        await enter(ada, "presence-room", grant("presence-room", user="ada"))

        await revoke(store, "ada", "presence-*")

        assert (await ada.next(ERROR)).data == REVOKED
        assert (await watcher.next(REMOVED)).data == {"user_id": "ada"}


async def test_only_what_the_pattern_matches_is_revoked(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    gateway = await start_gateway(app=KEYED)
    async with gateway.connect() as client:
        auth = grant("private-orders.*", "private-news")
        for channel in (ORDERS, "private-orders.43", "private-news"):
            await enter(client, channel, auth)

        await revoke(store, channel="private-orders.*")
        ended = [await client.next(ERROR), await client.next(ERROR)]
        await gateway.publish("private-news", "still")
        await client.next("still")

    assert {frame.channel for frame in ended} == {ORDERS, "private-orders.43"}


async def test_a_signature_of_our_endpoint_is_revoked_like_a_grant(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    gateway = await start_gateway()
    made = int(time.time())
    old = json.dumps({"user_id": "42", "broadcaster": {"iat": made}})
    new = json.dumps({"user_id": "42", "broadcaster": {"iat": made + 30}})
    async with gateway.connect() as client:
        await signed(client, ORDERS, old)
        await client.next(SUCCEEDED)

        await revoke(store)
        await client.next(ERROR)
        await signed(client, ORDERS, old)
        await client.next(ERROR)
        await signed(client, ORDERS, new)
        await client.next(SUCCEEDED)


async def test_a_signature_of_unknown_age_ends_but_cannot_be_refused_later(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    gateway = await start_gateway()
    data = json.dumps({"user_id": 42})
    async with gateway.connect() as client:
        await signed(client, "presence-room", data)
        await client.next(SUCCEEDED)

        await revoke(store)
        await client.next(ERROR)
        await signed(client, "presence-room", data)
        await client.next(SUCCEEDED)


async def test_the_channel_of_a_signed_in_user_ends_too(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    gateway = await start_gateway()
    user_data = json.dumps({"id": "42"})
    async with gateway.connect() as client:
        auth = sign_user(APP.key, APP.secret, socket_id=client.socket_id, user_data=user_data)
        await client.send(
            {"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}
        )
        await enter(client, "#server-to-user-42", "")

        await revoke(store)

        assert (await client.next(ERROR)).channel == "#server-to-user-42"


async def test_a_gateway_that_starts_later_knows_what_was_revoked(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    """Its first answer may be too early to know; nothing is delivered all the same."""
    await revoke(store)
    gateway = await start_gateway(app=KEYED)
    async with gateway.connect() as client:
        await present(client, ORDERS, grant(made=-10))
        refusal = await client.next(ERROR)

    assert refusal.data == REVOKED
    assert client.received(SUCCEEDED) == []


async def test_a_gateway_that_was_cut_off_catches_up_before_it_delivers(
    redis_server: FaultyServer,
) -> None:
    async with (
        running_gateway(redis_server.url, "cut", app=KEYED, lease=15) as gateway,
        revoking(redis_server.url, "cut") as store,
        gateway.connect() as client,
        gateway.connect() as other,
    ):
        await enter(client, ORDERS, grant())
        await enter(other, ORDERS, grant(user="7"))
        cut = await gateway.without_pubsub()
        await revoke(store)
        await gateway.publish(ORDERS, "shipped")
        assert client.received(ERROR) == []
        cut.set()
        await client.next(ERROR)
        await other.next("shipped")
        await client.settle()

    assert client.received("shipped") == []


async def test_a_lost_control_message_is_found_by_the_poll(
    start_gateway: StartGateway, store: RedisRevocations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.gateway.revocations.POLL_SECONDS", 0.2)
    gateway = await start_gateway(app=KEYED)
    monkeypatch.setattr(gateway.node._revocations, "received", lambda *_: None)
    async with gateway.connect() as client:
        await enter(client, ORDERS, grant())

        await revoke(store)

        assert (await client.next(ERROR)).data == REVOKED


async def test_what_an_emptied_redis_has_lost_is_written_back(redis_server: FaultyServer) -> None:
    async with (
        running_gateway(redis_server.url, "lost", app=KEYED, lease=15) as gateway,
        gateway.connect() as client,
    ):
        await enter(client, ORDERS, grant())
        async with revoking(redis_server.url, "lost") as store:
            await revoke(store)
        await client.next(ERROR)

        redis_server.restart(keep_data=False)

        async with revoking(redis_server.url, "lost") as store:

            async def written_back() -> bool:
                return bool((await store.read(APP.id)).items)

            await eventually_async(written_back)
            [item] = (await store.read(APP.id)).items
        await present(client, ORDERS, grant(made=-5))
        await client.next(ERROR)

    assert (item.user, item.channel) == ("42", "")


class ForgetfulStore:
    """Has lost what it knew, and is away again when it is told."""

    def __init__(self) -> None:
        self.items: list[Revocation] = []
        self.failures: list[Exception] = []

    async def version(self, _app_id: str) -> bytes | None:
        return None

    async def read(self, _app_id: str) -> Stored:
        return Stored(None, list(self.items))

    async def add(self, _app_id: str, items: Sequence[Revocation]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.items += items


async def test_what_could_not_be_written_back_is_written_back_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broadcaster.gateway.revocations.RETRY_SECONDS", 0.001)
    lost, store = revocation("42", ORDERS, now=time.time()), ForgetfulStore()
    known = Revocations(
        cast("Any", store),
        topic=str.encode,
        subscriptions=cast("Any", Mock()),
        apps=StaticApps(APP),
        connections=list,
    )
    known.open(APP.id)
    known.received(APP.id.encode(), encode_revoked([lost]))
    store.failures = [DriverUnavailable("away"), DriverUnavailable("away")]
    running = asyncio.create_task(known.run())
    known.acknowledged(APP.id.encode())

    await eventually(lambda: store.items)
    running.cancel()

    assert [item.key for item in store.items] == [lost.key]


async def test_what_is_no_control_message_is_dropped(
    start_gateway: StartGateway, store: RedisRevocations, clients: RedisClients
) -> None:
    """Redis may be shared; a gateway believes nothing that has not the documented shape."""
    gateway = await start_gateway(app=KEYED)
    from broadcaster.drivers.redis.publish import RedisBroker

    async with gateway.connect() as client:
        await enter(client, ORDERS, grant())
        for body in (b"", b"{}", b'{"type":"revoked","items":[{"user":7}]}', b"[" * 5_000):
            await RedisBroker(clients).control(APP.id, body)
        await clients.aio.publish(clients.keys.control(APP.id), b"no envelope")

        await revoke(store)
        await client.next(ERROR)
