"""
S10: who is slow, silent, or gone without a word. No patience is without end.

Ages are set instead of waited for: the deadlines themselves are `FIRST_BYTES_SECONDS` for a
head, `BODY_SECONDS` more for a body, ``activity_timeout`` and ``pong_timeout`` for a socket.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.gateway.connection import CLOSE_SECONDS
from broadcaster.gateway.http_protocol import BODY_SECONDS
from broadcaster.gateway.keepalive import FIRST_BYTES_SECONDS, PATIENCE_SECONDS
from tests.gateway.fakes import client_frame
from tests.gateway.world import APP
from tests.polling import eventually
from tests.security.raw import UPGRADE_HEADERS, raw_client, raw_websocket

if TYPE_CHECKING:
    from broadcaster.gateway.connection import Connection
    from tests.gateway.world import RunningGateway

PING = client_frame(b'{"event":"pusher:ping","data":{}}')
SILENCE = APP.limits.activity_timeout + PATIENCE_SECONDS
BEGINNINGS = {
    "nothing at all": b"",
    "part of a request line": b"GET /app/app-k",
    "part of the headers": b"GET /app/app-key HTTP/1.1\r\nHost: x\r\nX: ",
    "a handshake without its end": f"GET /app/app-key HTTP/1.1\r\n{UPGRADE_HEADERS}".encode(),
}


@pytest.mark.parametrize("name", BEGINNINGS)
async def test_s10_a_head_that_comes_byte_by_byte_has_a_deadline(
    name: str, gateway: RunningGateway
) -> None:
    """More bytes do not prolong it."""
    async with raw_client(gateway) as client:
        for byte in BEGINNINGS[name]:
            client.write(bytes((byte,)))
        await eventually(lambda: gateway.node.sniffers)
        [newcomer] = gateway.node.sniffers
        began = newcomer.since
        client.write(b"x" if BEGINNINGS[name] else b"")
        newcomer.since -= FIRST_BYTES_SECONDS
        await client.rest()

    assert newcomer.since == began - FIRST_BYTES_SECONDS
    assert client.got == b""
    assert not gateway.node.sniffers


async def test_s10_a_body_that_comes_byte_by_byte_has_a_deadline(gateway: RunningGateway) -> None:
    async with raw_client(gateway) as client:
        client.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        await client.until(b"HTTP/1.1 404")
        for _ in range(5):
            client.write(b"x")
        [newcomer] = gateway.node.sniffers
        newcomer.since -= FIRST_BYTES_SECONDS + BODY_SECONDS
        await client.rest()

    await eventually(lambda: not gateway.node.sniffers)


def only(gateway: RunningGateway) -> Connection:
    [connection] = gateway.node.connections
    return connection


def look(gateway: RunningGateway, seconds: float) -> None:
    """Let the sweep look as if this much time had passed."""
    gateway.node._keepalive.look(gateway.node.now() + seconds, time.time())


@pytest.mark.parametrize("subscribed", [True, False])
async def test_s10_a_silent_socket_is_asked_and_closed_subscribed_or_not(
    gateway: RunningGateway, *, subscribed: bool
) -> None:
    async with raw_websocket(gateway) as client:
        await client.until(b"connection_established")
        if subscribed:
            client.say({"event": "pusher:subscribe", "data": {"channel": "orders"}})
            await client.until(b"subscription_succeeded")
        look(gateway, SILENCE + 1)
        await client.until(b"pusher:ping")
        look(gateway, SILENCE + APP.limits.pong_timeout + 1)
        assert await client.close_code() == 4201

    await eventually(lambda: not gateway.node.connections)


async def test_s10_half_a_message_is_no_sign_of_life(gateway: RunningGateway) -> None:
    """One byte a second would else hold a connection and its buffer for hours."""
    async with raw_websocket(gateway) as client:
        await client.until(b"connection_established")
        seen = only(gateway).last_seen
        for byte in PING[:-1]:
            client.write(bytes((byte,)))
        client.write(b"")
        reader = only(gateway)._reader  # type: ignore[attr-defined] # a `Socket`
        await eventually(lambda: reader._buffer == PING[:-1])
        assert only(gateway).last_seen == seen
        client.write(PING[-1:])
        await client.until(b"pusher:pong")

    assert client.closed_with() is None


async def test_s10_a_peer_that_vanished_is_aborted_after_the_close(gateway: RunningGateway) -> None:
    """A half-open connection answers neither ping nor close."""
    async with raw_websocket(gateway) as client:
        await client.until(b"connection_established")
        look(gateway, SILENCE + 1)
        look(gateway, SILENCE + APP.limits.pong_timeout + 1)
        connection = only(gateway)
        assert connection.closing_at is not None
        look(gateway, CLOSE_SECONDS + 1)
        await client.rest()

    await eventually(lambda: not gateway.node.connections)


async def test_s10_a_peer_that_closes_its_half_is_gone(gateway: RunningGateway) -> None:
    async with raw_websocket(gateway) as client:
        await client.until(b"connection_established")
        client.half_close()
        await client.rest()

    await eventually(lambda: not gateway.node.connections)


async def test_s10_a_reader_that_never_reads_is_closed_and_the_others_are_not_delayed(
    gateway: RunningGateway,
) -> None:
    async with raw_websocket(gateway) as slow, gateway.connect() as healthy:
        await healthy.subscribe("orders")
        slow.say({"event": "pusher:subscribe", "data": {"channel": "orders"}})
        await slow.until(b"subscription_succeeded")
        slow._reader._transport.pause_reading()  # type: ignore[attr-defined] # of asyncio's
        for number in range(400):
            assert (await gateway.publish("orders", "e", "x" * 10_000)).status_code == 200
            if len(gateway.node.connections) == 1:
                break
            if number % 50 == 0:
                look(gateway, CLOSE_SECONDS + 1)  # ends who was closed and does not answer
        await healthy.settle()
        look(gateway, CLOSE_SECONDS + 1)
        await eventually(lambda: len(gateway.node.connections) == 1)

    assert len(healthy.received("e")) == number + 1
