"""S13: client events where none belong, or in somebody else's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.world import APP

if TYPE_CHECKING:
    from tests.gateway.world import RunningGateway

WHISPER = {"event": "client-typing", "data": {"x": 1}}


async def test_s13_outsiders_cannot_whisper(any_gateway: RunningGateway) -> None:
    """Not to public channels, not to channels they are not in, not to those they left."""
    async with any_gateway.connect() as eve, any_gateway.connect() as ada:
        for name in ("orders", "private-room"):
            await ada.subscribe(name)
        await eve.subscribe("orders")
        await eve.subscribe("private-left")
        await eve.unsubscribe("private-left")
        for channel in ("orders", "private-room", "private-left", "private-none", "#x", ""):
            await eve.send({**WHISPER, "channel": channel})
            assert (await eve.next("pusher:error")).data["code"] == 4301
        await any_gateway.publish("private-room", "after")
        await ada.next("after")

    assert ada.received("client-typing") == []


@pytest.mark.parametrize(
    "event",
    [
        "pusher:error",
        "pusher:connection_established",
        "pusher_internal:member_removed",
        "pusher_internal:subscription_succeeded",
        "pusher:subscription_error",
        "Client-typing",
        "client_typing",
        " client-typing",
        "message",
    ],
)
async def test_s13_nobody_speaks_with_the_server_s_voice(
    event: str, gateway: RunningGateway
) -> None:
    async with gateway.connect() as eve, gateway.connect() as ada:
        await ada.subscribe("private-room")
        await eve.subscribe("private-room")
        await eve.send({"event": event, "channel": "private-room", "data": {}})
        await eve.next("pusher:error")
        await gateway.publish("private-room", "after")
        await ada.next("after")

    assert event not in [frame.event for frame in ada.frames[2:]]


async def test_s13_the_server_says_who_whispers(gateway: RunningGateway) -> None:
    """What a client claims to be is not passed on, nor anything else beside name and data."""
    async with gateway.connect() as eve, gateway.connect() as ada:
        await ada.subscribe("presence-room", {"user_id": "ada"})
        await eve.subscribe("presence-room", {"user_id": "eve"})
        await ada.subscribe("private-room")
        await eve.subscribe("private-room")
        for channel in ("presence-room", "private-room"):
            forged = {"user_id": "ada", "socket_id": ada.socket_id, "id": 7, "__proto__": {}}
            await eve.send({**WHISPER, "channel": channel, **forged})
        in_presence = await ada.next("client-typing", channel="presence-room")
        in_private = await ada.next("client-typing", channel="private-room")

    assert in_presence.raw == {**WHISPER, "channel": "presence-room", "user_id": "eve"}
    assert in_private.raw == {**WHISPER, "channel": "private-room"}


async def test_s13_a_flood_is_dropped_and_the_connection_stays(gateway: RunningGateway) -> None:
    async with gateway.connect() as eve, gateway.connect() as ada:
        await ada.subscribe("private-room")
        await eve.subscribe("private-room")
        for number in range(500):
            await eve.whisper("private-room", "x", number)
        await eve.settle()
        await gateway.publish("private-room", "after")
        await ada.next("after")

    received = ada.received("client-x")
    assert APP.limits.client_event_rate <= len(received) < 100
    assert len(received) + len(eve.received("pusher:error")) == 500
    assert eve.received("client-x") == []
