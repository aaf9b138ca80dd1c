"""
Channels, presence and client events through real sockets and a real Redis.

What every shell of the gateway has to do runs behind each of them (`any_gateway`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.gateway import upkeep
from broadcaster.protocol.signing import sign_channel
from tests.gateway.world import APP
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

ADA = {"user_id": "ada", "user_info": {"name": "Ada"}}
GRACE = {"user_id": 7, "user_info": {"name": "Grace"}}
ADDED, REMOVED = "pusher_internal:member_added", "pusher_internal:member_removed"


async def test_a_published_event_reaches_subscribers_and_nobody_else(
    any_gateway: RunningGateway,
) -> None:
    async with any_gateway.connect() as subscriber, any_gateway.connect() as other:
        await subscriber.subscribe("orders")
        await other.subscribe("invoices")

        answer = await any_gateway.publish("orders", "App\\Events\\OrderShipped", '{"id":1}')
        frame = await subscriber.next("App\\Events\\OrderShipped")
        await other.settle()

    assert (answer.status_code, answer.text) == (200, "{}")
    assert frame.raw == {
        "event": "App\\Events\\OrderShipped",
        "channel": "orders",
        "data": '{"id":1}',
    }
    assert other.received("App\\Events\\OrderShipped") == []


async def test_the_named_socket_is_left_out(any_gateway: RunningGateway) -> None:
    async with any_gateway.connect() as sender, any_gateway.connect() as other:
        await sender.subscribe("orders")
        await other.subscribe("orders")

        await any_gateway.publish("orders", "first", socket_id=sender.socket_id)
        await any_gateway.publish("orders", "second")
        await sender.next("second")
        await other.next("second")

    assert len(other.received("first")) == 1
    assert sender.received("first") == []


async def test_nothing_arrives_after_unsubscribe(any_gateway: RunningGateway) -> None:
    async with any_gateway.connect() as leaver, any_gateway.connect() as stayer:
        await leaver.subscribe("orders")
        await stayer.subscribe("orders")
        await leaver.unsubscribe("orders")
        await leaver.settle()

        await any_gateway.publish("orders", "late")
        await stayer.next("late")
        await leaver.settle()

    assert leaver.received("late") == []


async def test_events_keep_their_order_under_load(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        await client.subscribe("orders")
        for number in range(100):
            await gateway.publish("orders", "numbered", str(number))
        while len(client.received("numbered")) < 100:
            await client.next("numbered")

    assert client.received("numbered") == list(range(100))


async def test_two_tabs_of_one_member_count_once(any_gateway: RunningGateway) -> None:
    async with any_gateway.connect() as watcher:
        await watcher.subscribe("presence-room", GRACE)
        async with any_gateway.connect() as first, any_gateway.connect() as second:
            await first.subscribe("presence-room", ADA)
            success = await second.subscribe("presence-room", ADA)
            await watcher.next(ADDED)
            await first.unsubscribe("presence-room")
            await first.settle()
        await watcher.next(REMOVED)

    assert success is not None
    assert success.data["presence"] == {
        "count": 2,
        "ids": ["7", "ada"],
        "hash": {"7": {"name": "Grace"}, "ada": {"name": "Ada"}},
    }
    assert watcher.received(ADDED) == [{"user_id": "ada", "user_info": {"name": "Ada"}}]
    assert watcher.received(REMOVED) == [{"user_id": "ada"}]


async def test_a_reload_within_the_grace_is_not_announced(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(grace=5.0)
    async with gateway.connect() as watcher:
        await watcher.subscribe("presence-room", GRACE)
        async with gateway.connect() as before:
            await before.subscribe("presence-room", ADA)
            await watcher.next(ADDED)
        async with gateway.connect() as after:
            await after.subscribe("presence-room", ADA)
            await gateway.publish("presence-room", "marker")
            await watcher.next("marker")

    assert len(watcher.received(ADDED)) == 1
    assert watcher.received(REMOVED) == []


async def test_a_full_channel_refuses_new_members_but_no_second_tab(
    start_gateway: StartGateway,
) -> None:
    limits = replace(APP.limits, presence_members=1)
    gateway = await start_gateway(app=replace(APP, limits=limits))
    async with gateway.connect() as first, gateway.connect() as tab, gateway.connect() as late:
        await first.subscribe("presence-room", ADA)
        await tab.subscribe("presence-room", ADA)
        await late.subscribe("presence-room", GRACE, wait=False)
        refusal = await late.next("pusher:subscription_error")

    assert refusal.data["type"] == "LimitReached"
    assert refusal.channel == "presence-room"


async def test_whispers_reach_the_others_with_the_senders_id(any_gateway: RunningGateway) -> None:
    async with any_gateway.connect() as ada, any_gateway.connect() as grace:
        await ada.subscribe("presence-room", ADA)
        await grace.subscribe("presence-room", GRACE)

        await ada.whisper("presence-room", "typing", {"on": True})
        frame = await grace.next("client-typing")
        await ada.settle()

    assert frame.raw["data"] == {"on": True}
    assert frame.raw["user_id"] == "ada"
    assert ada.received("client-typing") == []


@pytest.mark.parametrize(
    ("channel", "name", "cause"),
    [
        ("orders", "typing", "only private and presence"),
        ("private-other", "typing", "not subscribed"),
        ("private-room", "x" * 200, "event name"),
        ("private-room", "big", "data has"),
    ],
)
async def test_a_client_event_out_of_bounds_is_refused_with_its_cause(
    gateway: RunningGateway, channel: str, name: str, cause: str
) -> None:
    async with gateway.connect() as client:
        await client.subscribe("orders")
        await client.subscribe("private-room")

        await client.whisper(channel, name, "y" * 11_000 if name == "big" else {})
        error = await client.next("pusher:error")

    assert error.data["code"] == 4301
    assert cause in error.data["message"]


async def test_client_events_over_the_rate_are_dropped_and_the_connection_lives(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as client, gateway.connect() as other:
        await client.subscribe("private-room")
        await other.subscribe("private-room")
        for number in range(40):
            await client.whisper("private-room", "n", number)
        error = await client.next("pusher:error")
        await client.settle()
        await eventually(lambda: len(other.received("client-n")) >= 10)

    assert error.data["code"] == 4301
    assert 10 <= len(other.received("client-n")) < 40


async def test_the_http_api_knows_a_channel_when_its_subscriber_does(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as client:
        await client.subscribe("orders")
        listed: dict[str, Any] = (await gateway.get("/channels")).json()
        await client.unsubscribe("orders")
        await client.settle()

        for _ in range(200):
            later: dict[str, Any] = (await gateway.get("/channels")).json()
            if not later["channels"]:
                break

    assert listed == {"channels": {"orders": {}}}
    assert later == {"channels": {}}


async def test_a_user_channel_is_for_its_signed_in_user(gateway: RunningGateway) -> None:
    from broadcaster.protocol.signing import sign_user

    async with gateway.connect() as client:
        await client.subscribe("#server-to-user-ada", wait=False)
        refusal = await client.next("pusher:subscription_error")
        auth = sign_user(APP.key, APP.secret, socket_id=client.socket_id, user_data='{"id":"ada"}')
        await client.send(
            {"event": "pusher:signin", "data": {"auth": auth, "user_data": '{"id":"ada"}'}}
        )
        success = await client.next("pusher:signin_success")
        await client.subscribe("#server-to-user-ada")
        await gateway.publish("#server-to-user-ada", "hello")
        await client.next("hello")

    assert refusal.data["status"] == 401
    assert success.data == {"user_data": '{"id":"ada"}'}


async def test_an_upgrade_may_follow_http_on_one_connection(gateway: RunningGateway) -> None:
    """Proxies keep connections to us and reuse them for whatever comes next."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /up HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r")[0]))
    writer.write(
        b"GET /app/app-key?protocol=7 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = await reader.readuntil(b"\r\n\r\n")
    greeting = await reader.readuntil(b"}")
    ping = b'{"event":"pusher:ping"}'
    writer.write(bytes((0x81, 0x80 | len(ping))) + b"\0\0\0\0" + ping)
    pong = await reader.readuntil(b"}}")
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 101")
    assert b"connection_established" in greeting
    assert b"pusher:pong" in pong


@pytest.mark.parametrize("first", [b"", b"GET /up HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_an_upgrade_that_is_none_is_answered_with_400(
    gateway: RunningGateway, first: bytes
) -> None:
    """Also when it comes after HTTP; and a POST that asks for an upgrade goes nowhere."""
    for method in (b"GET", b"POST"):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(first)
        if first:
            await reader.readuntil(b'"up"}')
        writer.write(
            method + b" /app/app-key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()

        assert answer.startswith(b"HTTP/1.1 400")
        assert b"bad_handshake" in answer


async def test_a_refusal_is_one_line_with_its_likely_cause_in_the_log_alone(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "broadcaster.gateway")
    async with gateway.connect() as client:
        auth = sign_channel(APP.key, APP.secret, socket_id=client.socket_id, channel="a")
        data = {"channel": "private-a", "auth": auth}
        await client.send({"event": "pusher:subscribe", "data": data})
        refusal = await client.next("pusher:subscription_error")

    lines = [record.getMessage() for record in caplog.records if "private-a" in record.getMessage()]
    assert len(lines) == 1
    assert "signed for the name without its prefix" in lines[0]
    assert "without its prefix" not in json.dumps(refusal.raw)
    assert auth not in caplog.text


async def test_a_connection_has_so_many_refusals_and_no_more(gateway: RunningGateway) -> None:
    """Guessing signatures costs the server more than the guesser: it ends early, politely."""
    async with gateway.connect() as guesser, gateway.connect() as other:
        await other.subscribe("orders")
        for number in range(300):
            data = {"channel": f"private-{number}", "auth": "app-key:" + "0" * 64}
            await guesser.send({"event": "pusher:subscribe", "data": data})
        code, _ = await guesser.wait_closed()
        await gateway.publish("orders", "after")
        await other.next("after")

    assert code == 4102
    assert len(guesser.received("pusher:subscription_error")) == 100


async def test_positions_of_quiet_channels_with_subscribers_are_kept_alive(
    start_gateway: StartGateway, clients: RedisClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position that expires in between would look like lost data at the next reconnect."""
    monkeypatch.setattr(upkeep, "TOUCH_SECONDS", 0.05)
    gateway = await start_gateway()
    position = clients.keys.channel(APP.id, "quiet", "m")
    async with gateway.connect() as client:
        await client.subscribe("quiet")
        await gateway.publish("quiet", "hello")
        await client.next("hello")

        await clients.aio.expire(position, 10)

        async def kept_alive() -> bool:
            return int(await clients.aio.ttl(position)) > 3_600

        await eventually_async(kept_alive)


async def test_counts_are_those_that_clients_have_been_told(gateway: RunningGateway) -> None:
    """Each subscriber is counted when the API is asked right after its success."""
    async with gateway.connect() as first, gateway.connect() as second, gateway.connect() as third:
        for expected, client in enumerate((first, second, third), start=1):
            await client.subscribe("orders")
            answer = await gateway.get("/channels/orders", info="subscription_count")
            assert answer.json() == {"occupied": True, "subscription_count": expected}
        await third.unsubscribe("orders")
        await third.settle()
        answer = await gateway.get("/channels/orders", info="subscription_count")

    assert answer.json() == {"occupied": True, "subscription_count": 2}
