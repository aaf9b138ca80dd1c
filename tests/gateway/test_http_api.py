"""The HTTP API over stub contracts: what a client gets, and what the broker is told."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Mount, Router

from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.protocol.messages import encode_event
from broadcaster.protocol.signing import sign_request
from tests.gateway.http_world import (
    APP,
    BATCH,
    BODIES,
    CHANNELS,
    EVENT,
    EVENTS,
    NOW,
    PARAMS,
    ROUTES,
    World,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Message, Receive, Scope, Send


@pytest.fixture
def world() -> World:
    return World()


# Publishing


async def test_an_event_is_published_once_per_channel_in_one_call(world: World) -> None:
    body = {**EVENT, "channels": ["orders", "private-a"], "socket_id": "1.2"}

    response = await world.call("POST", EVENTS, body)

    assert (response.status_code, response.content) == (200, b"{}")
    assert world.broker.calls == 1
    first, second = world.broker.published
    assert (first.app_id, first.channel, first.excluded) == ("1234", "orders", "1.2")
    assert first.frame == encode_event("orders", "greeting", '{"a":1}')
    assert second.frame == encode_event("private-a", "greeting", '{"a":1}')
    assert first.event_id == second.event_id
    assert len(first.event_id) == 16


async def test_a_batch_is_one_call_with_an_id_per_event(world: World) -> None:
    one = {"name": "a", "data": "1", "channel": "x", "socket_id": "1.2"}
    two = {"name": "b", "data": "2", "channel": "#server-to-user-1"}

    response = await world.call("POST", BATCH, {"batch": [one, two]})

    assert (response.status_code, response.content) == (200, b"{}")
    assert world.broker.calls == 1
    first, second = world.broker.published
    assert (first.channel, first.excluded) == ("x", "1.2")
    assert (second.channel, second.excluded) == ("#server-to-user-1", "")
    assert first.event_id != second.event_id


async def test_one_bad_event_publishes_nothing_of_its_batch(world: World) -> None:
    good = {"name": "a", "data": "1", "channel": "x"}

    response = await world.call("POST", BATCH, {"batch": [good, {**good, "channel": "x y"}]})

    status, code, message = refusal(response)
    assert (status, code) == (400, "invalid_channel")
    assert message.startswith("batch[1]: channel name 'x y' contains ' '")
    assert world.broker.calls == 0


async def test_info_answers_with_what_each_channel_has(world: World) -> None:
    channels = ["orders", "presence-room", "presence-empty"]
    info = "user_count,subscription_count"

    response = await world.call("POST", EVENTS, {**EVENT, "channels": channels, "info": info})

    assert response.json() == {
        "channels": {
            "orders": {"subscription_count": 2},
            "presence-room": {"user_count": 2, "subscription_count": 3},
            "presence-empty": {"user_count": 0, "subscription_count": 0},
        }
    }
    assert len(world.broker.published) == 3


async def test_batch_info_is_aligned_with_its_events(world: World) -> None:
    plain = {"name": "a", "data": "1", "channel": "orders"}
    room = {"name": "a", "data": "1", "channel": "presence-room", "info": "user_count"}

    response = await world.call(
        "POST", BATCH, {"batch": [plain, room, {**plain, "info": "subscription_count"}]}
    )

    assert response.json() == {"batch": [{}, {"user_count": 2}, {"subscription_count": 2}]}


async def test_a_chunked_body_is_put_together(world: World) -> None:
    raw = json.dumps(EVENT).encode()
    query = sign_request(
        APP.key, APP.secret, method="POST", path=EVENTS, body=raw, params={}, now=NOW
    )

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), 7):
            yield raw[start : start + 7]

    response = await world.send("POST", EVENTS, content=chunks(), params=query)

    assert response.status_code == 200


# Reading


async def test_channels_lists_the_occupied_ones(world: World) -> None:
    response = await world.call("GET", CHANNELS)

    assert response.json() == {"channels": {"orders": {}, "presence-room": {}}}


async def test_channels_counts_members_under_a_presence_prefix(world: World) -> None:
    params = {"filter_by_prefix": "presence-", "info": "user_count"}

    response = await world.call("GET", CHANNELS, params=params)

    assert response.json() == {"channels": {"presence-room": {"user_count": 2}}}


@pytest.mark.parametrize(
    ("channel", "info", "expected"),
    [
        ("orders", "", {"occupied": True}),
        ("orders", "subscription_count", {"occupied": True, "subscription_count": 2}),
        ("nobody", "subscription_count", {"occupied": False, "subscription_count": 0}),
        (
            "presence-room",
            "user_count,subscription_count",
            {"occupied": True, "user_count": 2, "subscription_count": 3},
        ),
    ],
)
async def test_a_channel_is_described(
    world: World, channel: str, info: str, expected: dict[str, object]
) -> None:
    response = await world.call(
        "GET", f"{CHANNELS}/{channel}", params={"info": info} if info else {}
    )

    assert response.json() == expected


async def test_users_are_listed_once_each(world: World) -> None:
    response = await world.call("GET", f"{CHANNELS}/presence-room/users")

    assert response.json() == {"users": [{"id": "1"}, {"id": "ada"}]}


async def test_an_empty_room_has_no_users(world: World) -> None:
    response = await world.call("GET", f"{CHANNELS}/presence-empty/users")

    assert response.json() == {"users": []}


# Bad input


BAD_EVENTS: list[tuple[bytes | dict[str, Any], int, str]] = [
    (b"not json", 400, "malformed_body"),
    (b"[" * 5_000, 400, "malformed_body"),
    (b'{"x":' + b"[" * 5_000, 400, "malformed_body"),
    (b'{"name":"\\ud800","data":"","channel":"a"}', 400, "malformed_body"),
    (b'{"name":"a","data":NaN,"channel":"a"}', 400, "malformed_body"),
    ({**EVENT, "data": "x" * 10_241}, 413, "payload_too_large"),
    ({**EVENT, "data": "x" * 200_000}, 413, "request_too_large"),
    ({**EVENT, "channels": [f"c{n}" for n in range(101)]}, 400, "too_many_channels"),
    ({**EVENT, "channels": ["bad name"]}, 400, "invalid_channel"),
    ({**EVENT, "socket_id": "1"}, 400, "invalid_socket_id"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD_EVENTS)
async def test_a_bad_event_is_refused_in_json(
    world: World, body: bytes | dict[str, Any], status: int, code: str
) -> None:
    response = await world.call("POST", EVENTS, body)

    assert refusal(response)[:2] == (status, code)
    assert world.broker.calls == 0


async def test_unknown_json_fields_are_accepted(world: World) -> None:
    response = await world.call("POST", EVENTS, {**EVENT, "tags": {"a": 1}})

    assert (response.status_code, response.content) == (200, b"{}")


async def test_unknown_query_parameters_are_refused_on_reads(world: World) -> None:
    response = await world.call(
        "GET", f"{CHANNELS}/presence-room/users", params={"info": "user_count"}
    )

    assert refusal(response) == (
        400,
        "extraneous_parameter",
        "The following query string parameters are extraneous: info",
    )


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        (CHANNELS, "a=1&a=2", 400, "duplicate_parameter"),
        (CHANNELS, "auth_key=app-key&AUTH_KEY=app-key", 400, "duplicate_parameter"),
        (CHANNELS, "info[]=user_count", 400, "array_parameter"),
        (CHANNELS, "a=%FF", 400, "malformed_query"),
        (CHANNELS, "a=" + "x" * 9_000, 414, "uri_too_long"),
        (f"{CHANNELS}/%FF", "", 400, "malformed_path"),
    ],
)
async def test_an_ambiguous_address_is_refused(
    world: World, path: str, query: str, status: int, code: str
) -> None:
    assert refusal(await world.send("GET", f"{path}?{query}"))[:2] == (status, code)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{CHANNELS}/bad%20name", "invalid_channel"),
        (f"{CHANNELS}/a%2Fusers", "invalid_channel"),
        (f"{CHANNELS}/private-a/users", "not_presence"),
    ],
)
async def test_a_bad_channel_in_the_path_is_refused(world: World, path: str, code: str) -> None:
    assert refusal(await world.call("GET", path))[:2] == (400, code)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
async def test_compressed_bodies_are_refused_unread(world: World, encoding: str) -> None:
    response = await world.call("POST", EVENTS, EVENT, headers={"content-encoding": encoding})

    status, code, message = refusal(response)
    assert (status, code) == (415, "unsupported_encoding")
    assert encoding in message


async def test_an_identity_body_is_no_compressed_one(world: World) -> None:
    response = await world.call("POST", EVENTS, EVENT, headers={"content-encoding": "Identity"})

    assert response.status_code == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("wrong", ["PUT", "DELETE", "OPTIONS", "other"])
async def test_other_methods_are_not_allowed(
    world: World, method: str, path: str, wrong: str
) -> None:
    verb = {"POST": "GET", "GET": "POST"}[method] if wrong == "other" else wrong

    response = await world.send(verb, path)

    assert response.headers["allow"] == method
    assert refusal(response) == (
        405,
        "method_not_allowed",
        f"method '{verb}' is not allowed here; use {method}",
    )


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_head_is_not_allowed(world: World, method: str, path: str) -> None:
    response = await world.send("HEAD", path)

    assert (response.status_code, response.headers["allow"]) == (405, method)


@pytest.mark.parametrize("path", ["/apps/1234", "/apps/1234/nothing", "/apps/1234/events/", "/x"])
async def test_an_unknown_path_is_not_found_in_json(world: World, path: str) -> None:
    status, code, message = refusal(await world.send("GET", path))

    assert (status, code) == (404, "not_found")
    assert path in message


async def test_a_body_over_the_cap_is_refused_before_anything_is_computed(world: World) -> None:
    """No signature is given, and none is asked for: hashing comes after the cap."""
    response = await world.send("POST", EVENTS, content=b"x" * 2_000_000)

    status, code, message = refusal(response)
    assert (status, code) == (413, "request_too_large")
    assert message == "the body has 2000000 bytes or more; 126976 are allowed"
    assert response.headers["connection"] == "close"


async def test_a_body_of_unknown_length_is_cut_off_at_the_cap(world: World) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100_000_000:
            sent += 65_536
            yield b"x" * 65_536

    response = await world.send("POST", EVENTS, content=endless())

    assert refusal(response)[:2] == (413, "request_too_large")
    assert sent < 3_000_000


async def test_a_body_that_never_ends_times_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.gateway.bodies.BODY_SECONDS", 0.02)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    response = await world.send("POST", EVENTS, content=stalled())

    assert refusal(response)[:2] == (408, "body_timeout")


async def test_a_client_that_leaves_gets_no_answer(world: World) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": EVENTS,
        "query_string": b"",
        "headers": [],
    }
    await world.app(scope, receive, send)

    assert sent == []


# Failures behind the API


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_driver_that_cannot_be_reached_answers_503(
    world: World, method: str, path: str
) -> None:
    world.fail(DriverUnavailable("redis://user:password@host does not answer"))

    response = await world.call(method, path, BODIES.get(path, b""), PARAMS.get(path))

    assert response.headers["retry-after"] == "2"
    assert refusal(response) == (
        503,
        "driver_unavailable",
        (
            "the message store cannot be reached; whether this request took effect is not "
            "known: repeat it in 2 s"
        ),
    )


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_driver_that_refuses_answers_500_without_asking_to_come_back(
    world: World, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.fail(DriverRefused("WRONGTYPE at 10.0.0.7"))

    response = await world.call(
        method,
        path,
        BODIES.get(path, b""),
        PARAMS.get(path),
        headers={"x-request-id": "trace-7"},
    )

    assert "retry-after" not in response.headers
    status, code, message = refusal(response)
    assert (status, code) == (500, "driver_refused")
    assert "10.0.0.7" not in message
    assert "HTTP request trace-7 failed: WRONGTYPE at 10.0.0.7" in caplog.text


async def test_nothing_is_published_when_its_info_cannot_be_read(world: World) -> None:
    world.presence.failure = DriverUnavailable("away")

    response = await world.call("POST", EVENTS, {**EVENT, "info": "subscription_count"})

    assert response.status_code == 503
    assert world.broker.calls == 0


async def test_an_unexpected_failure_is_logged_and_not_shown(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.broker.failure = RuntimeError("a secret detail")

    with caplog.at_level(logging.ERROR, "broadcaster.http"):
        response = await world.call("POST", EVENTS, EVENT, headers={"x-request-id": "trace-7"})

    assert refusal(response) == (
        500,
        "internal_error",
        "the server failed; its log has the cause under this id",
    )
    assert response.headers["x-request-id"] == "trace-7"
    [record] = caplog.records
    assert "trace-7" in record.getMessage()
    assert record.exc_info


async def test_neither_payload_nor_signature_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "broadcaster.http"):
        await world.call("POST", EVENTS, {**EVENT, "data": "confidential"})
        await world.call("POST", EVENTS, {**EVENT, "data": "confidential", "socket_id": "x"})

    assert len(caplog.records) == 2
    assert "confidential" not in caplog.text
    assert "auth_signature" not in caplog.text


# Around it


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "\u00e9"])
async def test_an_odd_request_id_is_replaced(world: World, sent: str) -> None:
    response = await world.send("GET", CHANNELS, headers=[(b"x-request-id", sent.encode())])

    assert response.headers["x-request-id"] == f"{1:032x}"


@pytest.mark.parametrize(
    ("path", "signed"),
    [
        ("/ws/apps/1234/channels", "/ws/apps/1234/channels"),  # the proxy passes it on
        ("/apps/1234/channels", "/ws/apps/1234/channels"),  # the proxy takes it off
        ("/apps/1234/channels", "/apps/1234/channels"),  # around the proxy
    ],
)
async def test_a_prefix_may_be_part_of_what_is_signed(path: str, signed: str) -> None:
    world = World(path_prefix="/ws/")

    response = await world.call("GET", path, signed_path=signed)

    assert response.status_code == 200


@pytest.mark.parametrize("signed", ["/wx/apps/1234/channels", "/ws/apps/5678/channels"])
async def test_no_other_path_may_be_signed(signed: str) -> None:
    world = World(path_prefix="/ws")

    response = await world.call("GET", "/apps/1234/channels", signed_path=signed)

    assert refusal(response)[:2] == (401, "auth_mismatch")


async def test_without_a_prefix_none_may_be_signed(world: World) -> None:
    response = await world.call("GET", CHANNELS, signed_path=f"/ws{CHANNELS}")

    assert refusal(response)[:2] == (401, "auth_mismatch")


async def test_the_api_works_mounted_in_another_application(world: World) -> None:
    outer = Router(routes=[Mount("/realtime", world.app)])

    response = await world.call("GET", "/realtime/apps/1234/channels", asgi=outer)

    assert response.status_code == 200


async def test_a_server_without_raw_paths_is_good_enough(world: World) -> None:
    async def poorer(scope: Scope, receive: Receive, send: Send) -> None:
        scope.pop("raw_path")
        await world.app(scope, receive, send)

    response = await world.call("GET", CHANNELS, asgi=poorer)

    assert response.status_code == 200


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200), st.binary(max_size=60), st.sampled_from(ROUTES))
def test_random_bytes_get_a_refusal_in_json(
    body: bytes, query: bytes, route: tuple[str, str]
) -> None:
    world = World()
    method, path = route

    async def ask() -> tuple[int, dict[str, Any]]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [],
        }
        await world.app(scope, receive, send)
        start, end = sent
        return start["status"], json.loads(end["body"])

    status, answer = asyncio.run(ask())

    assert 400 <= status < 500
    assert set(answer["error"]) == {"code", "message"}
    assert world.untouched


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200), st.sampled_from([EVENTS, BATCH]))
def test_signed_random_bytes_get_a_refusal_in_json(body: bytes, path: str) -> None:
    world = World()

    response = asyncio.run(world.call("POST", path, body))

    assert refusal(response)[0] == 400
    assert world.broker.calls == 0


async def test_a_flood_of_refused_requests_is_counted_instead_of_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can send requests without a signature."""
    monkeypatch.setattr("broadcaster.gateway.flood.LINES_A_SECOND", 0.001)
    monkeypatch.setattr("broadcaster.gateway.flood.LINES_AT_ONCE", 5)
    flooded = World()

    with caplog.at_level(logging.INFO, "broadcaster.http"):
        answers = [(await flooded.call("GET", "/apps/1234/nothing")).status_code for _ in range(20)]
        told = [record for record in caplog.records if "refused" in record.getMessage()]

    assert answers == [404] * 20
    assert len(told) == 5
