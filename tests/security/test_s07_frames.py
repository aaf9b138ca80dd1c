"""S7: frames that are too large, never end, or are none at all; in both shells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.protocol import websocket
from broadcaster.protocol.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT
from tests.gateway.fakes import MASK, client_frame
from tests.gateway.world import APP
from tests.polling import eventually
from tests.security.raw import raw_websocket

if TYPE_CHECKING:
    from tests.gateway.world import RunningGateway

LIMIT = APP.limits.max_frame_bytes


def piece(payload: bytes, opcode: int, *, last: bool = False) -> bytes:
    frame = bytearray(client_frame(payload, opcode))
    if not last:
        frame[0] &= 0x7F
    return bytes(frame)


def long_frame(length: int) -> bytes:
    """A text frame announced and begun, but not sent."""
    return b"\x81\xff" + length.to_bytes(8, "big") + MASK


VIOLATIONS = {
    "oversize": (long_frame(LIMIT + 1) + b"x" * 100, 1009),
    "oversize by its announcement alone": (long_frame(2**62), 1009),
    "oversize in fragments": (
        piece(b"x" * 60_000, TEXT) + piece(b"x" * 5_537, CONTINUATION, last=True),
        1009,
    ),
    "oversize in many small fragments": (
        piece(b"x" * 100, TEXT) + piece(b"x" * 100, CONTINUATION) * 700,
        1009,
    ),
    "fragmented for ever": (piece(b"", TEXT) + piece(b"", CONTINUATION) * 2_000, 1009),
    "a fragment that continues nothing": (piece(b"x", CONTINUATION, last=True), 1002),
    "a message inside a message": (piece(b"x", TEXT) + client_frame(b"y"), 1002),
    "a control frame over 125 bytes": (b"\x89\xfe\x00\x7e" + MASK + b"x" * 126, 1002),
    "a control frame in fragments": (piece(b"x", PING), 1002),
    "a length that is not minimal": (b"\x81\xfe\x00\x05" + MASK + b"xxxxx", 1002),
    "a length with the top bit": (long_frame(2**63), 1002),
    "a frame that is not masked": (b"\x81\x02{}", 1002),
    "a reserved bit": (b"\xc1\x80" + MASK, 1002),
    "an unknown opcode": (b"\x83\x80" + MASK, 1002),
    "an unknown control opcode": (b"\x8b\x80" + MASK, 1002),
    "invalid UTF-8": (client_frame(b"\xff\xfe"), 1007),
    "UTF-8 cut at the end of a message": (
        piece(b"\xc3", TEXT) + piece(b"", CONTINUATION, last=True),
        1007,
    ),
    "a UTF-16 surrogate": (client_frame(b"\xed\xa0\x80"), 1007),
    "a binary frame": (client_frame(b"x", BINARY), 1003),
    "a close of one byte": (client_frame(b"\x03", CLOSE), 1002),
    "a close with a code of nobody's": (client_frame((999).to_bytes(2, "big"), CLOSE), 1002),
    "a close with a code not for the wire": (client_frame((1006).to_bytes(2, "big"), CLOSE), 1002),
    "a close with a reason that is not UTF-8": (client_frame(b"\x03\xe8\xff", CLOSE), 1007),
    "more pings than any client sends": (client_frame(b"x" * 125, PING) * 6_000, 4102),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_s07_a_violation_is_closed_with_its_code(name: str, gateway: RunningGateway) -> None:
    data, code = VIOLATIONS[name]

    async with raw_websocket(gateway) as client:
        client.write(data)
        assert await client.close_code() == code

    await eventually(lambda: not gateway.node.connections)


MOUNTED_MAY_DIFFER = {
    # The host's WebSocket library decides these before us: it does not check how a length is
    # written, answers pings itself, and collects a message up to its own bound (uvicorn's
    # `ws_max_size`) before ours is asked.
    "oversize",
    "oversize in many small fragments",
    "a length that is not minimal",
    "more pings than any client sends",
    "a close with a reason that is not UTF-8",
    "fragmented for ever",
}


async def test_s07_a_mounted_gateway_ends_them_too(any_gateway: RunningGateway) -> None:
    for name, (data, code) in VIOLATIONS.items():
        if name in MOUNTED_MAY_DIFFER:
            continue
        async with raw_websocket(any_gateway) as client:
            client.write(data)
            got = await client.close_code()

        # The library's own bounds are larger than ours, and its words are its own.
        assert got in (code, 1002, 1007, 1009), name
    await eventually(lambda: not any_gateway.node.connections)


async def test_s07_fragments_with_control_frames_between_are_one_message(
    any_gateway: RunningGateway,
) -> None:
    message = '{"event":"pusher:subscribe","data":{"channel":"a","x":"é"}}'.encode()
    cut = message.index(b"\xa9")  # in the middle of a character

    async with raw_websocket(any_gateway) as client:
        client.write(
            piece(message[:cut], TEXT),
            client_frame(b"one", PING),
            piece(message[cut:-3], CONTINUATION),
            client_frame(b"two", PING),
            client_frame(b"unasked", websocket.PONG),
            piece(message[-3:], CONTINUATION, last=True),
        )
        await client.until(b"subscription_succeeded")

    pongs = [payload for opcode, payload in client.frames() if opcode == websocket.PONG]
    assert pongs == [b"one", b"two"]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 3000, 4000, 4999])
async def test_s07_a_close_is_answered_with_its_code(code: int, gateway: RunningGateway) -> None:
    async with raw_websocket(gateway) as client:
        client.write(client_frame(code.to_bytes(2, "big") + "grüße".encode(), CLOSE))
        await client.rest()

    assert client.closed_with() == code


async def test_s07_a_close_without_a_code_is_answered_without_one(gateway: RunningGateway) -> None:
    async with raw_websocket(gateway) as client:
        client.write(client_frame(b"", CLOSE))
        await client.rest()

    assert client.frames()[-1] == (CLOSE, b"")


async def test_s07_nothing_is_read_after_a_close(gateway: RunningGateway) -> None:
    async with raw_websocket(gateway) as client:
        client.write(client_frame(b"", CLOSE))
        client.say({"event": "pusher:subscribe", "data": {"channel": "a"}})
        await client.rest()

    assert [event["event"] for event in client.events()] == ["pusher:connection_established"]
