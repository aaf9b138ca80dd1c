"""Client events between connections: to the others, at most once, and told as facts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import DriverUnavailable
from broadcaster.gateway import relays as module
from broadcaster.gateway.relays import Relays
from broadcaster.protocol.client_events import relay_of
from broadcaster.protocol.messages import ClientEvent
from broadcaster.protocol.subscription import Subscription
from broadcaster.protocol.subscription_auth import Verified
from tests.gateway.fakes import FakeNode, FakeTransport
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.contracts.broker import Broker, Outgoing
    from broadcaster.protocol.facts import Fact
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

ADA: dict[str, Any] = {"user_id": 7, "user_info": {"name": "Ada"}}
LISTENING = replace(APP, server_events=True)
EVENT = ClientEvent("private-a", "client-x", b"{}")
RELAY = relay_of(EVENT, Subscription(1, Verified()))


class FakeBroker:
    """Takes relays, or fails."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.away = False

    async def relay(self, messages: Sequence[Outgoing]) -> None:
        if self.away:
            raise DriverUnavailable("away")
        self.sent += messages


class World:
    """Relays with a broker that fails on demand, and one connection."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.told: list[Fact] = []
        broker: Broker = self.broker  # type: ignore[assignment] # the part of a broker that it uses
        self.relays = Relays(broker, self.told.append)
        self.transport = FakeTransport()
        self.connection = FakeNode().connection(self.transport, LISTENING)

    def refusals(self) -> int:
        return self.transport.written.count(b'"code":4301')


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    task = asyncio.create_task(made.relays.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_events_are_sent_in_order_and_told_once_they_are(world: World) -> None:
    names = [f"client-{number}" for number in range(500)]
    for name in names:
        world.relays.put(world.connection, RELAY._replace(event=EVENT._replace(name=name)))

    await eventually(lambda: len(world.told) == 500)

    assert [fact.event for fact in world.told] == names
    assert {one.excluded for one in world.broker.sent} == {world.connection.socket_id}
    assert len({fact.id for fact in world.told}) == 500


async def test_what_could_not_be_sent_is_refused_and_not_told(world: World) -> None:
    world.broker.away = True
    world.relays.put(world.connection, RELAY)

    await eventually(lambda: world.refusals() == 1)

    assert world.told == []


async def test_over_the_bound_the_sender_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    for _ in range(3):
        world.relays.put(world.connection, RELAY)

    assert world.refusals() == 1


async def test_a_client_event_reaches_the_others_and_is_told(
    start_gateway: StartGateway, told: list[Fact]
) -> None:
    left, right = await start_gateway(app=LISTENING), await start_gateway(app=LISTENING)
    async with left.connect() as sender, right.connect() as other:
        await sender.subscribe("presence-room", ADA)
        await other.subscribe("presence-room", {"user_id": "grace"})
        await sender.send(
            {
                "event": "client-typing",
                "channel": "presence-room",
                "data": {"at": 1},
                "user_id": "grace",
                "socket_id": other.socket_id,
            }
        )
        frame = await other.next("client-typing")
        await eventually(lambda: [fact for fact in told if fact.name == "client_event"])
        await sender.settle()

    assert frame.raw == {
        "event": "client-typing",
        "channel": "presence-room",
        "data": {"at": 1},
        "user_id": 7,
    }
    assert sender.received("client-typing") == []
    (fact,) = [fact for fact in told if fact.name == "client_event"]
    assert (fact.app_id, fact.channel, fact.event) == (APP.id, "presence-room", "client-typing")
    assert json.loads(fact.data or "") == {"at": 1}
    assert (fact.socket_id, fact.user_id) == (sender.socket_id, "7")


async def test_text_is_relayed_as_text_and_without_a_user_on_private_channels(
    any_gateway: RunningGateway, told: list[Fact]
) -> None:
    async with any_gateway.connect() as sender, any_gateway.connect() as other:
        await sender.subscribe("private-encrypted-room")
        await other.subscribe("private-encrypted-room")
        await sender.whisper("private-encrypted-room", "x", '{"nonce":"n"}')
        frame = await other.next("client-x")

    assert frame.raw == {
        "event": "client-x",
        "channel": "private-encrypted-room",
        "data": '{"nonce":"n"}',
    }
    assert told == []  # nobody wants to know


async def test_a_refused_client_event_is_not_told(
    start_gateway: StartGateway, told: list[Fact]
) -> None:
    gateway = await start_gateway(app=LISTENING)
    async with gateway.connect() as sender:
        await sender.subscribe("orders")
        await sender.whisper("orders", "x", {})
        error = await sender.next("pusher:error")
        await sender.settle()

    assert error.data["code"] == 4301
    assert sender.closed is not None
    assert sender.closed[0] in (1000, 1005)  # the client closed, not the server
    assert [fact for fact in told if fact.name == "client_event"] == []
