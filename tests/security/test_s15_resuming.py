"""
S15: theft of a session that could be resumed. There are none: what is lost is lost.

A client that comes back gets a new socket id and has every channel authorized again, so
there is nothing to guess, to reuse or to replay. These tests hold that door shut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.world import APP
from tests.security.raw import raw_websocket

if TYPE_CHECKING:
    from tests.gateway.world import RunningGateway

SESSION = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (f"/s/{SESSION}/app/{APP.key}?protocol=7", 4005),
        (f"/app/~{SESSION}/app/{APP.key}?protocol=7", 4005),
        (f"/app/~{SESSION}?protocol=7", 4001),
        (f"/app/{APP.key}/{SESSION}?protocol=7", 4005),
    ],
)
async def test_s15_a_path_with_a_session_leads_nowhere(
    target: str, code: int, gateway: RunningGateway
) -> None:
    async with raw_websocket(gateway, target=target) as client:
        assert await client.close_code() == code


async def test_s15_nobody_gets_the_socket_id_or_the_channels_of_another_connection(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as lost:
        await lost.subscribe("private-room")
        socket_id = lost.socket_id
    claims = f"session={SESSION}&socket_id={socket_id}&resume={socket_id}&recover=1"
    async with gateway.connect(path=f"/app/{APP.key}?protocol=7&{claims}") as thief:
        assert thief.socket_id != socket_id
        await gateway.publish("private-room", "secret")
        await thief.settle()

    assert thief.received("secret") == []


@pytest.mark.parametrize("event", ["pusher:resume", "pusher:recover", "pusher:session"])
async def test_s15_nothing_is_resumed_by_message(event: str, gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        await client.send({"event": event, "data": {"session": SESSION, "channel": "private-room"}})
        assert (await client.next("pusher:error")).data["code"] == 4200


async def test_s15_a_signature_of_an_earlier_connection_is_worth_nothing(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as first:
        await first.subscribe("private-room")
    old = first.socket_id
    async with gateway.connect() as second:
        new, second.socket_id = second.socket_id, old
        await second.subscribe("private-room", wait=False)
        answer = await second.next("pusher:subscription_error")

    assert new != old
    assert answer.data["type"] == "AuthError"


async def test_s15_socket_ids_cannot_be_guessed(gateway: RunningGateway) -> None:
    """62 random bits each: neither in order nor near to one another."""
    ids = {gateway.node._admission.new_socket_id() for _ in range(1_000)}
    numbers = [int(part) for socket_id in ids for part in socket_id.split(".")]

    assert len(ids) == 1_000
    assert sum(number > 2**30 for number in numbers) > 800
    assert sum(abs(a - b) < 1_000 for a, b in zip(numbers, numbers[2:], strict=False)) < 5
