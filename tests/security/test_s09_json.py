"""S9: JSON made to hurt: bounded work, an error, and the connection lives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.security.raw import raw_websocket

if TYPE_CHECKING:
    from tests.gateway.world import RunningGateway

HUGE = b"9" * 60_000

HURTFUL = {
    "depth of 10,000": b"[" * 10_000,
    "closed depth of 10,000": b"[" * 10_000 + b"]" * 10_000,
    "depth in an ignored field": b'{"event":"pusher:ping","x":' + b"[" * 30_000 + b"}",
    "as many brackets as fit": b"[" * 65_000,
    "depth of objects": b'{"a":' * 10_000,
    "depth inside a string of data": json.dumps(
        {"event": "pusher:subscribe", "data": "[" * 30_000}
    ).encode(),
    "a huge integer as event": b'{"event":' + HUGE + b"}",
    "a huge integer as channel": b'{"event":"pusher:subscribe","data":{"channel":' + HUGE + b"}}",
    "a huge exponent": b'{"event":1e' + HUGE + b"}",
    "NaN": b'{"event":NaN}',
    "Infinity": b'{"event":-Infinity}',
    "a lone surrogate": b'{"event":"\\ud800"}',
    "a lone surrogate in a channel": (
        b'{"event":"pusher:subscribe","data":{"channel":"private-\\udfff"}}'
    ),
    "an event called toString": b'{"event":"toString"}',
    "an event called __proto__": b'{"event":"__proto__"}',
    "an event called constructor": b'{"event":"constructor","data":{}}',
    "no object": b'"pusher:ping"',
    "nothing": b"",
    "NUL": b"\0",
}


async def test_s09_hurtful_json_is_an_error_and_the_connection_lives(
    any_gateway: RunningGateway,
) -> None:
    for name, message in HURTFUL.items():
        async with raw_websocket(any_gateway) as client:
            client.say(message)
            client.say({"event": "pusher:ping", "data": {}})
            await client.until(b'"event":"pusher:pong"')

        [answer] = client.events()[1:-1]
        assert answer["event"] in ("pusher:error", "pusher:subscription_error"), name
        assert len(json.dumps(answer)) < 1_000, f"an answer does not grow with {name}"


@pytest.mark.parametrize(
    "message",
    [
        b'{"event":"pusher:ping","__proto__":{"event":"pusher:error"},"data":{}}',
        b'{"event":"pusher:error","event":"pusher:ping","data":{}}',
        b'{"event":"pusher:ping","data":{"constructor":{"prototype":{"x":1}}}}',
    ],
)
async def test_s09_odd_keys_are_only_keys(message: bytes, gateway: RunningGateway) -> None:
    """What is not known is ignored; of a repeated key the last counts."""
    async with raw_websocket(gateway) as client:
        client.say(message)
        await client.until(b'"event":"pusher:pong"')

    assert [event["event"] for event in client.events()[1:]] == ["pusher:pong"]


@pytest.mark.parametrize(
    "data",
    [
        '{"__proto__":{"admin":true}}',
        "[" * 5_000,
        "1e999999",
        '{"a":1,"a":2}',
        "\u2028</script>\x00\x7f",
        '"toString"',
    ],
)
async def test_s09_published_data_is_opaque_text(data: str, gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        await client.subscribe("orders")
        assert (await gateway.publish("orders", "e", data)).status_code == 200
        frame = await client.next("e")

    assert frame.raw["data"] == data
