"""What one connection does to the node when its peer misbehaves."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from base64 import b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from broadcaster.gateway.socket import Socket
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.world import RunningGateway

CLOSE_FRAME = b"\x88\x80\0\0\0\0"


@asynccontextmanager
async def unread_socket(gateway: RunningGateway, *messages: object) -> AsyncIterator[socket.socket]:
    """A WebSocket that sends `messages` and never reads, with a small receive buffer."""
    loop = asyncio.get_running_loop()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.setblocking(False)
        await loop.sock_connect(raw, ("127.0.0.1", gateway.port))
        key = b64encode(os.urandom(16)).decode()
        head = (
            f"GET /app/{APP.key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        frames = b"".join(_masked(json.dumps(message).encode()) for message in messages)
        await loop.sock_sendall(raw, head.encode() + frames)
        yield raw


def _masked(text: bytes) -> bytes:
    assert len(text) < 126
    return bytes((0x81, 0x80 | len(text))) + bytes(4) + text


def subscribe(channel: str) -> dict[str, object]:
    return {"event": "pusher:subscribe", "data": {"channel": channel}}


async def test_who_says_goodbye_and_reads_nothing_is_gone_after_the_close_time(
    gateway: RunningGateway,
) -> None:
    loop = asyncio.get_running_loop()
    hub = gateway.node.hub
    async with unread_socket(gateway, subscribe("orders")) as raw:
        await eventually(lambda: any(len(channel) for channel in hub.channels.values()))
        (connection,) = gateway.node.connections
        (channel,) = hub.channels.values()
        while not connection.paused:
            hub.broadcast(channel, b"x" * 60_000)
            await asyncio.sleep(0)

        await loop.sock_sendall(raw, CLOSE_FRAME)
        await eventually(lambda: connection.closing_at is not None)
        await eventually(lambda: not hub.channels, within=1.0)
        await eventually(lambda: not gateway.node.connections)


async def test_nothing_is_written_after_the_answer_to_a_goodbye(gateway: RunningGateway) -> None:
    loop = asyncio.get_running_loop()
    hub = gateway.node.hub
    async with unread_socket(gateway, subscribe("orders")) as raw:
        await eventually(lambda: any(len(channel) for channel in hub.channels.values()))
        (connection,) = gateway.node.connections
        (channel,) = hub.channels.values()

        hub.broadcast(channel, b"news")
        assert isinstance(connection, Socket)
        connection.data_received(CLOSE_FRAME)
        received = b""
        while piece := await asyncio.wait_for(loop.sock_recv(raw, 4_096), 10):
            received += piece

    assert b"news" in received
    assert received.endswith(b"\x88\x00")


async def test_a_connection_that_is_gone_is_freed_without_a_garbage_collection(
    gateway: RunningGateway,
) -> None:
    def alive() -> bool:
        # Not isinstance: it asks weak proxies for their class, those of the dead included.
        return any(type(o) is Socket and o._node is gateway.node for o in gc.get_objects())

    gc.disable()
    try:
        async with gateway.connect() as client:
            await client.subscribe("orders")
            assert alive()
        await eventually(lambda: not alive())
    finally:
        gc.enable()
