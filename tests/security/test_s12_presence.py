"""S12: members that are too large, too many, or not who they seem."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.protocol.signing import sign_channel
from tests.gateway.world import APP

if TYPE_CHECKING:
    from broadcaster.testing.client import PusherClient
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway


async def refusal(client: PusherClient, channel_data: str) -> dict[str, Any]:
    auth = sign_channel(
        APP.key,
        APP.secret,
        socket_id=client.socket_id,
        channel="presence-room",
        channel_data=channel_data,
    )
    data = {"channel": "presence-room", "auth": auth, "channel_data": channel_data}
    await client.send({"event": "pusher:subscribe", "data": data})
    answer: dict[str, Any] = (await client.next("pusher:subscription_error")).data
    return answer


@pytest.mark.parametrize(
    "member",
    [
        {"user_id": "1", "user_info": {"x": "x" * 1_020}},
        {"user_id": "1", "user_info": {"x": "x" * 60_000}},
        {"user_id": ""},
        {"user_id": "x" * 129},
        {"user_id": "a\nb"},
        {"user_id": "a\x00b"},
        {"user_id": "__proto__"},
        {"user_id": None},
        {"user_id": True},
        {"user_id": 1.5},
        {"user_id": ["1"]},
        {},
    ],
)
async def test_s12_a_member_that_does_not_fit_is_refused_although_signed(
    member: dict[str, Any], gateway: RunningGateway
) -> None:
    async with gateway.connect() as client:
        answer = await refusal(client, json.dumps(member))

    assert answer["type"] == "AuthError"
    assert len(json.dumps(answer)) < 500


async def test_s12_numbers_and_strings_are_one_user(gateway: RunningGateway) -> None:
    async with gateway.connect() as one, gateway.connect() as other:
        first = await one.subscribe("presence-room", {"user_id": 1})
        second = await other.subscribe("presence-room", {"user_id": "1"})
        await one.settle()

    assert first is not None
    assert second is not None
    assert second.data["presence"]["count"] == 1
    assert one.received("pusher_internal:member_added") == []


async def test_s12_many_connections_of_one_user_are_one_member(
    start_gateway: StartGateway,
) -> None:
    """And a further tab of a member is never refused, however full the channel is."""
    gateway = await start_gateway(app=replace(APP, limits=replace(APP.limits, presence_members=2)))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gateway.connect()) for _ in range(30)]
        for client in clients[:28]:
            await client.subscribe("presence-room", {"user_id": "1"})
        await clients[28].subscribe("presence-room", {"user_id": "2"})
        answer = await refusal(clients[29], '{"user_id":"3"}')
        frame = await clients[29].subscribe("presence-room", {"user_id": "1"})

    assert answer["type"] == "LimitReached"
    assert frame is not None
    assert frame.data["presence"]["count"] == 2
    assert len(clients[0].received("pusher_internal:member_added")) == 1


async def test_s12_the_member_list_is_bounded_by_its_limits() -> None:
    """100 members of 1 KB: what one subscription may cost at most, before settings change it."""
    limits = APP.limits
    longest = limits.presence_members * (
        limits.presence_info_bytes + 2 * limits.presence_id_length + 16
    )

    assert longest < limits.max_backlog_bytes
