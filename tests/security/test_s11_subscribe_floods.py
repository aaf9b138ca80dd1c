"""S11: subscriptions without end. Bounds per socket, and nothing is kept before it is allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broadcaster.gateway.connection import MAX_REFUSALS
from tests.gateway.world import APP
from tests.polling import eventually
from tests.security.raw import raw_websocket

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

SUBSCRIBE, UNSUBSCRIBE = "pusher:subscribe", "pusher:unsubscribe"


async def test_s11_ten_thousand_names_with_bad_signatures_end_at_a_hundred(
    any_gateway: RunningGateway,
) -> None:
    async with raw_websocket(any_gateway) as client:
        for number in range(10_000):
            data = {"channel": f"private-{number}", "auth": f"{APP.key}:" + "0" * 64}
            client.say({"event": SUBSCRIBE, "data": data})
        code = await client.close_code()

    refused = [e for e in client.events() if e["event"] == "pusher:subscription_error"]
    assert code == 4102
    assert len(refused) == MAX_REFUSALS
    await eventually(lambda: not any_gateway.node.connections)


async def test_s11_a_refused_subscription_leaves_nothing_behind(
    gateway: RunningGateway, clients: RedisClients, prefix: str
) -> None:
    """No channel here, no SUBSCRIBE and no key in Redis before the signature was checked."""
    redis = clients.aio
    keys = set(await redis.keys(f"{prefix}*"))
    async with gateway.connect() as client:
        for number in range(20):
            data = {"channel": f"private-{number}", "auth": f"{APP.key}:" + "0" * 64}
            await client.send({"event": SUBSCRIBE, "data": data})
        for _ in range(20):
            await client.next("pusher:subscription_error")

        assert not gateway.node.hub.channels
        assert not [
            name for name in await redis.pubsub_channels("*private-*") if prefix in str(name)
        ]
        assert not [
            key for key in set(await redis.keys(f"{prefix}*")) - keys if "private" in str(key)
        ]


async def test_s11_a_socket_has_so_many_channels_and_no_more(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(app=replace(APP, limits=replace(APP.limits, max_channels=50)))
    async with raw_websocket(gateway) as client:
        for number in range(120):
            client.say({"event": SUBSCRIBE, "data": {"channel": f"c{number}"}})
        client.say({"event": "pusher:ping"})
        await client.until(b"pusher:pong")
        [connection] = gateway.node.connections
        await eventually(lambda: client.got.count(b"LimitReached") == 70)

        assert len(connection.session.subscriptions) == 50
        assert len(gateway.node.hub.channels) == 50
    await eventually(lambda: not gateway.node.hub.channels)


async def test_s11_coming_and_going_leaves_nothing_behind(gateway: RunningGateway) -> None:
    async with raw_websocket(gateway) as client:
        for number in range(500):
            name = f"churn-{number % 5}"
            client.say({"event": SUBSCRIBE, "data": {"channel": name}})
            client.say({"event": UNSUBSCRIBE, "data": {"channel": name}})
        client.say({"event": "pusher:ping"})
        await client.until(b"pusher:pong")
        [connection] = gateway.node.connections

        assert connection.session.subscriptions == {}
        assert connection.refusals == 0
        await eventually(lambda: not gateway.node.hub.channels)


async def test_s11_names_that_differ_in_case_are_different_channels(
    gateway: RunningGateway,
) -> None:
    """Also where a prefix is written in capitals: that is a public channel, and has no members."""
    async with gateway.connect() as client:
        for name in ("orders", "Orders", "PRIVATE-orders", "Presence-orders"):
            await client.subscribe(name)
        await gateway.publish("orders", "e")
        await client.next("e", channel="orders")
        await client.settle()

    assert client.received("e", "Orders") == []


@pytest.mark.parametrize("messages", [2_500])
async def test_s11_more_messages_than_any_client_sends_end_the_connection(
    messages: int, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start_gateway(app=replace(APP, limits=replace(APP.limits, max_channels=100)))
    still = gateway.node.now()  # a slow machine gives them time to earn more
    async with raw_websocket(gateway) as client:
        monkeypatch.setattr(gateway.node, "now", lambda: still)
        for _ in range(messages):
            client.say({"event": "pusher:ping"})
        assert await client.close_code() == 4102
