"""Bytes to a gateway and what comes back, without a client library's scruples."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from broadcaster.protocol import websocket
from tests.gateway.fakes import client_frame
from tests.gateway.world import APP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.world import RunningGateway

UPGRADE_HEADERS = (
    "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SECONDS = 15


class RawClient:
    """
    One TCP connection.

    Attributes:
        got: everything that was read.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.got = b""

    def write(self, *pieces: bytes) -> None:
        self._writer.write(b"".join(pieces))

    def say(self, message: object) -> None:
        """Send one text message: JSON, or text as it is."""
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.write(client_frame(text))

    def half_close(self) -> None:
        self._writer.write_eof()

    async def until(self, mark: bytes) -> bytes:
        """Read until `mark` has come; return everything read so far."""
        async with asyncio.timeout(SECONDS):
            while mark not in self.got:
                data = await self._reader.read(65_536)
                assert data, f"ended before {mark!r} came: {self.got[-500:]!r}"
                self.got += data
        return self.got

    async def rest(self) -> bytes:
        """Read until the server ends the connection; return everything read."""
        async with asyncio.timeout(SECONDS):
            try:
                while data := await self._reader.read(65_536):
                    self.got += data
            except ConnectionError:
                pass
        return self.got

    def frames(self) -> list[tuple[int, bytes]]:
        """Return opcode and payload of each frame after the handshake."""
        data = self.got.partition(b"\r\n\r\n")[2]
        whole = 0
        while (end := _frame_end(data, whole)) <= len(data):
            whole = end
        return websocket.split_frames(data[:whole])

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(text) for opcode, text in self.frames() if opcode == websocket.TEXT]

    def closed_with(self) -> int | None:
        """Return the code of the server's close frame."""
        codes = [payload for opcode, payload in self.frames() if opcode == websocket.CLOSE]
        return int.from_bytes(codes[0][:2], "big") if codes else None

    async def close_code(self) -> int | None:
        """Wait for the server's close, answer it, and return its code."""
        async with asyncio.timeout(SECONDS):
            while (code := self.closed_with()) is None:
                data = await self._reader.read(65_536)
                assert data, f"ended without a close: {self.got[-500:]!r}"
                self.got += data
        self.write(client_frame(code.to_bytes(2, "big"), websocket.CLOSE))
        await self.rest()
        return code


def _frame_end(data: bytes, start: int) -> int:
    """Where the server's frame at `start` ends; past the end of `data` if it is not all there."""
    head = data[start : start + 10].ljust(10, b"\xff")
    length = head[1]
    if length == 126:
        return start + 4 + int.from_bytes(head[2:4], "big")
    if length > 126:
        return start + 10 + int.from_bytes(head[2:], "big")
    return start + 2 + length


@asynccontextmanager
async def raw_client(gateway: RunningGateway) -> AsyncIterator[RawClient]:
    """Open a TCP connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def raw_websocket(
    gateway: RunningGateway, *, headers: str = "", target: str = f"/app/{APP.key}?protocol=7"
) -> AsyncIterator[RawClient]:
    """Open a WebSocket and read the greeting."""
    under = gateway.url.partition(str(gateway.port))[2]
    async with raw_client(gateway) as client:
        head = f"GET {under}{target} HTTP/1.1\r\n{UPGRADE_HEADERS}{headers}\r\n"
        client.write(head.encode())
        await client.until(b"\r\n\r\n")
        yield client
