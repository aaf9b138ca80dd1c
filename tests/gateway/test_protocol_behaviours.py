"""
What the protocol promises to a client, asked over a real socket; docs/protocol.md lists it all.

Only what no other test asks as plainly: most behaviours have theirs in the module they belong
to, or in the suites of stock clients.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.protocol.app import AppLimits
from broadcaster.protocol.signing import sign_channel
from tests.gateway.world import APP
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    import httpx

    from broadcaster.testing.client import PusherClient
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

SUCCEEDED = "pusher_internal:subscription_succeeded"
REFUSED = "pusher:subscription_error"


async def subscribe_raw(client: PusherClient, data: object) -> None:
    await client.send({"event": "pusher:subscribe", "data": data})


def signed(client: PusherClient, channel: str, channel_data: str | None = None) -> str:
    return sign_channel(
        APP.key,
        APP.secret,
        socket_id=client.socket_id,
        channel=channel,
        channel_data=channel_data,
    )


async def info(gateway: RunningGateway, channel: str, attributes: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await gateway.get(f"/channels/{channel}", info=attributes)).json()
    return answer


# -- connecting ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "?protocol=7&client=js&version=8.6.0&flash=false",
        "?protocol=4",
        "",
        "?protocol=7&colour=blue&protocols=99",
    ],
)
async def test_the_first_frame_is_the_greeting_and_its_data_is_text(
    any_gateway: RunningGateway, query: str
) -> None:
    async with any_gateway.connect(path=f"/app/{APP.key}{query}") as client:
        [frame] = client.frames

    assert set(frame.raw) == {"event", "data"}
    greeting = json.loads(frame.raw["data"])
    assert greeting == {"socket_id": client.socket_id, "activity_timeout": 120}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/app/unknown?protocol=7", 4001),
        ("/elsewhere", 4005),
        (f"/app/{APP.key}?protocol=7&version=eight", 4006),
        (f"/app/{APP.key}?protocol=3", 4007),
        (f"/app/{APP.key}?protocol=", 4008),
    ],
)
async def test_a_refused_connection_is_told_one_code_as_an_event_and_as_a_close(
    gateway: RunningGateway, path: str, code: int
) -> None:
    async with gateway.connect(path=path, established=False) as client:
        closed, _ = await client.wait_closed()

    [frame] = client.frames
    assert (frame.event, frame.raw["data"]["code"], closed) == ("pusher:error", code, code)


async def test_ping_frames_and_ping_events_are_both_answered(any_gateway: RunningGateway) -> None:
    async with any_gateway.connect() as client:
        async with asyncio.timeout(10):
            await (await client._socket.ping())
        await client.send({"event": "pusher:ping"})

        assert (await client.next("pusher:pong")).raw == {"event": "pusher:pong", "data": {}}


async def test_binary_messages_end_the_connection(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        await client.send(b'{"event":"pusher:ping","data":{}}')

        assert (await client.wait_closed())[0] == 1003


# -- messages ------------------------------------------------------------------------


async def test_a_public_channel_takes_empty_auth_and_null_channel_data(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as client:
        await subscribe_raw(client, {"channel": "news", "auth": "", "channel_data": None})
        await client.next(SUCCEEDED, channel="news")
        await subscribe_raw(client, {"channel": "privateer"})

        frame = await client.next(SUCCEEDED, channel="privateer")
        assert frame.raw["data"] == "{}"


async def test_data_may_be_its_object_as_text(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        await subscribe_raw(client, json.dumps({"channel": "news"}))
        await client.next(SUCCEEDED, channel="news")
        text = json.dumps({"channel": "news"})
        await client.send({"event": "pusher:unsubscribe", "data": text})
        await client.settle()

        assert client.received("pusher:error") == []
        await client.subscribe("news")


async def test_channel_data_of_a_private_channel_is_signed_too(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        name, data = "private-orders", '{"user_id":"ada"}'
        unsigned = {"channel": name, "auth": signed(client, name), "channel_data": data}
        await subscribe_raw(client, unsigned)
        refusal = await client.next(REFUSED, channel=name)
        await subscribe_raw(client, {**unsigned, "auth": signed(client, name, data)})
        await client.next(SUCCEEDED, channel=name)

    assert (refusal.data["type"], refusal.data["status"]) == ("AuthError", 401)


async def test_what_was_signed_is_checked_as_the_text_that_was_sent(
    gateway: RunningGateway,
) -> None:
    name, data = "presence-room", '{ "user_info" : {"b":1, "a":"\\u00fc"},\t"user_id":  "ada"}'
    async with gateway.connect() as client:
        again = {"channel": name, "auth": signed(client, name, data)}
        await subscribe_raw(client, {**again, "channel_data": json.dumps(json.loads(data))})
        await client.next(REFUSED, channel=name)
        await subscribe_raw(client, {**again, "channel_data": data})

        frame = await client.next(SUCCEEDED, channel=name)
        assert frame.data["presence"]["hash"] == {"ada": {"b": 1, "a": "ü"}}


@pytest.mark.parametrize("data", ['{ "a" :1}', "not json", "", "\\u00fc ü", "[1, 2]"])
async def test_published_data_arrives_as_the_text_it_was(
    gateway: RunningGateway, data: str
) -> None:
    name = "App\\Events\\Order Shipped: größe"
    async with gateway.connect() as client:
        await client.subscribe("orders")
        assert (await gateway.publish("orders", name, data)).content == b"{}"

        frame = await client.next(name)
        assert frame.raw == {"event": name, "channel": "orders", "data": data}


async def test_subscribing_twice_and_leaving_nothing_are_errors_without_a_code(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as client:
        await client.subscribe("news")
        await subscribe_raw(client, {"channel": "news", "auth": ""})
        await client.unsubscribe("elsewhere")
        await client.settle()

        errors = client.received("pusher:error")
        assert [error["code"] for error in errors] == [None, None]
        assert "Existing subscription to channel" in errors[0]["message"]
        assert "No current subscription to channel" in errors[1]["message"]


@pytest.mark.parametrize("name", ["#news", "#server-to-user-ada", "#", "#server-to-user-"])
async def test_names_with_a_hash_are_reserved(gateway: RunningGateway, name: str) -> None:
    async with gateway.connect() as client:
        await subscribe_raw(client, {"channel": name, "auth": ""})
        refusal = await client.next(REFUSED, channel=name)
        await client.settle()

    assert refusal.data["status"] in (401, 4009)
    published = await gateway.publish(name, "note")
    assert published.status_code == (200 if name == "#server-to-user-ada" else 400)


@pytest.mark.parametrize(
    ("name", "status"), [("x" * 200, None), ("x" * 201, 4009), ("a b", 4009), ("é", 4009)]
)
async def test_a_channel_name_has_at_most_200_characters_of_the_alphabet(
    gateway: RunningGateway, name: str, status: int | None
) -> None:
    async with gateway.connect() as client:
        await subscribe_raw(client, {"channel": name, "auth": ""})
        frame = await client.next(REFUSED if status else SUCCEEDED)

    assert frame.channel == name
    assert (frame.data or {}).get("status") == status


# -- order ---------------------------------------------------------------------------


async def test_no_event_of_a_channel_comes_before_its_success(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        publishing = [gateway.publish("orders", "tick") for _ in range(20)]
        await client.subscribe("orders", wait=False)
        await asyncio.gather(*publishing)
        await gateway.publish("orders", "fence")
        await client.next("fence")

    first, *_ = [frame.event for frame in client.frames if frame.channel == "orders"]
    assert first == SUCCEEDED


async def test_a_member_list_and_what_follows_it_leave_no_gap(gateway: RunningGateway) -> None:
    users = [f"user-{number}" for number in range(12)]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gateway.connect()) for _ in users]
        await asyncio.gather(
            *(
                client.subscribe("presence-room", {"user_id": user})
                for client, user in zip(clients, users, strict=True)
            )
        )

        await eventually(lambda: all(known(client) == set(users) for client in clients))


def known(client: PusherClient) -> set[str]:
    """Members by the list and by those added; nobody may be told twice."""
    [listed] = client.received(SUCCEEDED, "presence-room")
    added = [data["user_id"] for data in client.received("pusher_internal:member_added")]
    both = [*listed["presence"]["ids"], *added]
    assert len(both) == len(set(both))
    return set(both)


# -- presence and users --------------------------------------------------------------


async def test_a_presence_answer_is_text_with_ids_hash_and_count(gateway: RunningGateway) -> None:
    async with gateway.connect() as client, gateway.connect() as other:
        await client.subscribe("presence-room", {"user_id": 10})
        frame = await other.subscribe("presence-room", {"user_id": "ada", "user_info": {"n": 1}})
        added = await client.next("pusher_internal:member_added")
        await other.unsubscribe("presence-room")
        removed = await client.next("pusher_internal:member_removed")

    assert frame is not None
    assert json.loads(frame.raw["data"]) == {
        "presence": {"count": 2, "ids": ["10", "ada"], "hash": {"10": None, "ada": {"n": 1}}}
    }
    assert json.loads(added.raw["data"]) == {"user_id": "ada", "user_info": {"n": 1}}
    assert json.loads(removed.raw["data"]) == {"user_id": "ada"}


async def test_the_answer_to_a_sign_in_is_text_within_text(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        frame = await client.sign_in({"id": "ada", "user_info": {"name": "Ada"}})

    assert frame is not None
    assert set(frame.raw) == {"event", "data"}
    user_data = json.loads(frame.raw["data"])["user_data"]
    assert json.loads(user_data) == {"id": "ada", "user_info": {"name": "Ada"}}


# -- over all gateways ---------------------------------------------------------------


async def test_the_http_api_counts_over_all_gateways(start_gateway: StartGateway) -> None:
    one, two = await start_gateway(), await start_gateway()
    async with one.connect() as left, two.connect() as right:
        for client, user in ((left, "ada"), (right, "ada")):
            await client.subscribe("presence-room", {"user_id": user})
            await client.subscribe("news")

        both = "user_count,subscription_count"
        for gateway in (one, two):
            room = await info(gateway, "presence-room", both)
            assert room == {"occupied": True, "user_count": 1, "subscription_count": 2}
            assert (await info(gateway, "news", "subscription_count"))["subscription_count"] == 2


async def test_a_connection_that_breaks_off_leaves_nothing_behind(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as client, gateway.connect() as watcher:
        await watcher.subscribe("presence-room", {"user_id": "grace"})
        for name in ("news", "private-orders", "cache-news"):
            await client.subscribe(name)
        await client.subscribe("presence-room", {"user_id": "ada"})

        client._socket.transport.abort()

        removed = await watcher.next("pusher_internal:member_removed")
        assert removed.data == {"user_id": "ada"}

        async def only_the_watcher_is_left() -> bool:
            return list((await gateway.get("/channels")).json()["channels"]) == ["presence-room"]

        await eventually_async(only_the_watcher_is_left)


# -- what the numbers are ------------------------------------------------------------


def test_the_limits_are_those_of_the_hosted_service() -> None:
    limits = AppLimits()

    assert (limits.presence_members, limits.presence_info_bytes) == (100, 1024)
    assert (limits.presence_id_length, limits.watchlist) == (128, 100)
    assert (limits.max_data_bytes, limits.max_event_name) == (10_240, 200)
    assert (limits.client_event_rate, limits.activity_timeout) == (10, 120)


async def test_success_is_always_status_200(gateway: RunningGateway) -> None:
    event = {"name": "a", "data": "{}", "channel": "news"}
    bodies = {"/events": event, "/batch_events": {"batch": [event]}}

    answers: list[httpx.Response] = [
        await gateway.post(route, json.dumps(body).encode()) for route, body in bodies.items()
    ]
    answers += [await gateway.get(route) for route in ("/channels", "/channels/news")]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.content for answer in answers[:2]] == [b"{}", b"{}"]
