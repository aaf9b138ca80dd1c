"""Publishing over stub stores: rates, the old route, and keys whose repeats are harmless."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.apps import AppLimits
from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.http_query import Resource
from broadcaster.protocol.messages import encode_event
from tests.gateway.http_world import (
    APP,
    BATCH,
    EVENT,
    EVENTS,
    ITEM,
    OTHER,
    PATHS,
    World,
    refusal,
)

if TYPE_CHECKING:
    import httpx

OLD = PATHS[Resource.CHANNEL_EVENTS]
SLOW = replace(APP, limits=AppLimits(publish_rate=2))
KEY = {"idempotency-key": "key-1"}
PUBLISHING: list[tuple[str, Any, dict[str, str]]] = [
    (EVENTS, EVENT, {}),
    (BATCH, {"batch": [ITEM, {**ITEM, "channel": "y"}]}, {}),
    (OLD, b"raw data", {"name": "greeting"}),
]
every_way = pytest.mark.parametrize(("path", "body", "params"), PUBLISHING)


@pytest.fixture
def world() -> World:
    return World()


async def publish(
    world: World,
    path: str,
    body: Any,
    params: dict[str, str],
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    return await world.call("POST", path, body, params, headers=headers)


# The deprecated route


async def test_the_old_route_publishes_its_body(world: World) -> None:
    params = {"name": "App\\Events\\X", "socket_id": "1.2"}

    response = await world.call("POST", OLD, '{"a":"\u00e9"}'.encode(), params)

    assert (response.status_code, response.content) == (202, b"{}")
    [message] = world.broker.published
    assert (message.channel, message.excluded) == ("orders", "1.2")
    assert message.frame == encode_event("orders", "App\\Events\\X", '{"a":"\u00e9"}')


async def test_the_old_route_takes_an_empty_body(world: World) -> None:
    response = await world.call("POST", OLD, b"", {"name": "a"})

    assert response.status_code == 202
    assert world.broker.published[0].frame == encode_event("orders", "a", "")


@pytest.mark.parametrize(
    ("path", "params", "body", "status", "code"),
    [
        (OLD, {}, b"", 400, "invalid_event_name"),
        (OLD, {"name": ""}, b"", 400, "invalid_event_name"),
        (OLD, {"name": "pusher:error"}, b"", 400, "reserved_event_name"),
        (OLD, {"name": "a", "socket_id": "x"}, b"", 400, "invalid_socket_id"),
        (OLD, {"name": "a", "info": "user_count"}, b"", 400, "extraneous_parameter"),
        (OLD, {"name": "a"}, b"\xff", 400, "malformed_body"),
        (OLD, {"name": "a"}, b"x" * 10_241, 413, "payload_too_large"),
        ("/apps/1234/channels/a%20b/events", {"name": "a"}, b"", 400, "invalid_channel"),
        ("/apps/1234/channels/%23all/events", {"name": "a"}, b"", 400, "invalid_channel"),
    ],
)
async def test_the_old_route_has_the_rules_of_the_new_one(
    world: World, path: str, params: dict[str, str], body: bytes, status: int, code: str
) -> None:
    response = await world.call("POST", path, body, params)

    assert refusal(response)[:2] == (status, code)
    assert world.untouched


async def test_users_can_be_sent_to_on_every_route(world: World) -> None:
    channel = "#server-to-user-ada"
    old = "/apps/1234/channels/%23server-to-user-ada/events"

    await world.call("POST", EVENTS, {**EVENT, "channels": [channel]})
    await world.call("POST", BATCH, {"batch": [{**ITEM, "channel": channel}]})
    await world.call("POST", old, b"", {"name": "a"})

    assert [message.channel for message in world.broker.published] == [channel] * 3


# Rates


@every_way
async def test_over_the_publish_rate_nothing_is_published(
    path: str, body: Any, params: dict[str, str]
) -> None:
    world = World(apps=[SLOW, OTHER])
    await world.call("POST", EVENTS, {**EVENT, "channels": ["a", "b", "c"]})

    response = await publish(world, path, body, params, KEY)

    status, code, message = refusal(response)
    assert (status, code) == (429, "rate_limited")
    assert "more than 2 messages a second" in message
    assert response.headers["retry-after"] == "1"
    assert world.broker.calls == 1
    assert world.answers.known == {}


async def test_the_rate_comes_back_with_time() -> None:
    world = World(apps=[SLOW, OTHER])
    await world.call("POST", EVENTS, {**EVENT, "channels": ["a", "b"]})
    world.now += 1

    assert (await world.call("POST", EVENTS, EVENT)).status_code == 200


async def test_a_refused_request_costs_nothing_of_the_rate() -> None:
    world = World(apps=[SLOW, OTHER])
    for _ in range(5):
        await world.call("POST", EVENTS, {**EVENT, "channels": ["bad name"]})

    assert (await world.call("POST", EVENTS, EVENT)).status_code == 200


# Idempotency keys


@every_way
async def test_a_repeat_is_answered_as_the_first_and_published_once(
    world: World, path: str, body: Any, params: dict[str, str]
) -> None:
    first = await publish(world, path, body, params, KEY)
    calls = world.broker.calls
    world.now += 599

    again = await publish(world, path, body, params, KEY)

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert first.is_success
    assert world.broker.calls == calls == 1


async def test_a_repeat_gets_the_counts_of_the_first(world: World) -> None:
    body = {**EVENT, "info": "subscription_count"}
    first = await publish(world, EVENTS, body, {}, KEY)
    world.presence.connections["orders"] = 99

    again = await publish(world, EVENTS, body, {}, KEY)

    assert again.json() == first.json() == {"channels": {"orders": {"subscription_count": 2}}}


@every_way
async def test_an_attempt_that_failed_is_repeated_under_the_same_ids(
    world: World, path: str, body: Any, params: dict[str, str]
) -> None:
    """What it got done is known to the store by these ids."""
    world.broker.failure = DriverUnavailable("away")
    attempted = world.broker.attempted
    assert (await publish(world, path, body, params, KEY)).status_code == 503
    world.broker.failure = None

    response = await publish(world, path, body, params, KEY)

    assert response.is_success
    assert [m.event_id for m in world.broker.published] == [m.event_id for m in attempted[0]]
    assert len({m.event_id for m in world.broker.published}) == len(attempted[0])


@every_way
async def test_without_a_key_every_request_is_new(
    world: World, path: str, body: Any, params: dict[str, str]
) -> None:
    await publish(world, path, body, params)
    await publish(world, path, body, params)

    assert world.broker.calls == 2
    assert world.answers.known == {}
    ids = [message.event_id for message in world.broker.published]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"idempotency-key": "k"}, None),
        ({"x-idempotency-key": "k"}, None),
        ({"idempotency-key": "k", "x-idempotency-key": "k"}, "k"),
        ({}, "k"),
    ],
)
@pytest.mark.parametrize(("path", "body"), [(path, body) for path, body, _ in PUBLISHING[:2]])
async def test_a_key_may_stand_in_three_places(
    world: World, path: str, body: dict[str, Any], headers: dict[str, str], field: str | None
) -> None:
    for _ in range(2):
        sent = {**body, "idempotency_key": field} if field else body
        assert (await publish(world, path, sent, {}, headers)).is_success

    assert world.broker.calls == 1
    assert list(world.answers.known) == [("1234", "k")]


async def test_a_key_of_another_request_is_refused(world: World) -> None:
    await publish(world, EVENTS, EVENT, {}, KEY)

    response = await publish(world, EVENTS, {**EVENT, "data": "2"}, {}, KEY)

    status, code, message = refusal(response)
    assert (status, code) == (422, "idempotency_mismatch")
    assert message.startswith("idempotency key 'key-1' was used for another request")
    assert world.broker.calls == 1


async def test_a_key_of_another_route_is_refused(world: World) -> None:
    await publish(world, OLD, b"{}", {"name": "a"}, KEY)

    for params in ({"name": "b"}, {"name": "a", "socket_id": "1.2"}):
        assert (await publish(world, OLD, b"{}", params, KEY)).status_code == 422
    assert (await publish(world, EVENTS, EVENT, {}, KEY)).status_code == 422


async def test_apps_do_not_share_keys(world: World) -> None:
    await publish(world, EVENTS, EVENT, {}, KEY)

    response = await world.call("POST", "/apps/5678/events", EVENT, app=OTHER, headers=KEY)

    assert response.status_code == 200
    assert world.broker.calls == 2
    first, second = world.broker.published
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"idempotency-key": "a", "x-idempotency-key": "b"}, {}, "idempotency_key_ambiguous"),
        ({"idempotency-key": "a"}, {"idempotency_key": "b"}, "idempotency_key_ambiguous"),
        ({"idempotency-key": ""}, {}, "invalid_idempotency_key"),
        ({"idempotency-key": "k" * 129}, {}, "invalid_idempotency_key"),
        ({}, {"idempotency_key": "\u00e9"}, "invalid_idempotency_key"),
        ({}, {"idempotency_key": ""}, "invalid_idempotency_key"),
        ({}, {"idempotency_key": 1}, "malformed_body"),
    ],
)
async def test_a_bad_key_is_refused(
    world: World, headers: dict[str, str], body: dict[str, Any], code: str
) -> None:
    response = await publish(world, EVENTS, {**EVENT, **body}, {}, headers)

    assert refusal(response)[:2] == (400, code)
    assert world.untouched


async def test_a_request_that_was_refused_leaves_its_key_free(world: World) -> None:
    await publish(world, EVENTS, {**EVENT, "channels": ["bad name"]}, {}, KEY)

    assert (await publish(world, EVENTS, EVENT, {}, KEY)).status_code == 200


async def test_without_a_place_to_remember_nothing_is_published(world: World) -> None:
    world.answers.failure = DriverUnavailable("away")

    assert (await publish(world, EVENTS, EVENT, {}, KEY)).status_code == 503
    assert world.broker.calls == 0
