"""
The slower shell of a connection: whole messages, through somebody else's ASGI server.

The server's task reads; a task of the connection's own sends, so that the hub never waits.
What waits between the two is the `Outbox`, and the rule for slow consumers is the one of
`broadcaster.gateway.connection`: it bounds the outbox as it bounds a transport.

What ASGI does not offer is not here either: the server answers WebSocket pings itself, and
nobody but the server can reset a connection whose peer reads nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.gateway.connection import HIGH_WATER, Connection
from broadcaster.protocol.websocket import CLOSE, TEXT, Upgrade, no_binary, split_frames, too_big

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from broadcaster.gateway.node import Node
    from broadcaster.protocol.app import App

_log = logging.getLogger("broadcaster.gateway")

LOW_WATER = HIGH_WATER // 4


class _Letter(NamedTuple):
    """One message on its way: text, or with a code the close that ends the connection."""

    text: str
    size: int
    code: int = 0

    def message(self) -> Message:
        if self.code:
            return {"type": "websocket.close", "code": self.code, "reason": self.text}
        return {"type": "websocket.send", "text": self.text}


class _Letters:
    """Makes letters of joined frames; of the same frames only once for all connections."""

    __slots__ = ("_data", "_letters")

    def __init__(self) -> None:
        self._data = b""
        self._letters: list[_Letter] = []

    def of(self, data: bytes) -> list[_Letter]:
        if data is not self._data:
            self._letters = [
                _letter(opcode, payload)
                for opcode, payload in split_frames(data)
                if opcode in (TEXT, CLOSE)
            ]
            self._data = data
        return self._letters


def _letter(opcode: int, payload: bytes) -> _Letter:
    if opcode == TEXT:
        return _Letter(payload.decode(errors="replace"), len(payload))
    code, reason = int.from_bytes(payload[:2], "big"), payload[2:]
    return _Letter(reason.decode(errors="replace"), len(payload), code)


class Outbox:
    """
    What one connection has still to send; its `Outlet`.

    Args:
        letters: shared by the connections of a node.
        leaving: ends the server's task when it expires.
    """

    __slots__ = (
        "_connection",
        "_filled",
        "_leaving",
        "_letters",
        "_over",
        "_paused",
        "_size",
        "_waiting",
    )

    def __init__(self, letters: _Letters, leaving: asyncio.Timeout) -> None:
        self._letters = letters
        self._leaving = leaving
        self._waiting: deque[_Letter] = deque()
        self._size = 0
        self._filled = asyncio.Event()
        self._paused = False
        self._over = False
        self._connection: Connection | None = None

    def attach(self, connection: Connection) -> None:
        """Tell `connection` from now on when the peer does not keep up."""
        self._connection = connection

    def write(self, data: bytes) -> None:
        """See `Outlet.write`."""
        if self._over:
            return
        letters = self._letters.of(data)
        self._waiting.extend(letters)
        self._size += sum([letter.size for letter in letters])
        self._filled.set()
        if self._size > HIGH_WATER and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        """See `Outlet.get_write_buffer_size`."""
        return self._size

    def abort(self) -> None:
        """See `Outlet.abort`."""
        if not self._over:
            self.close()
            self._leaving.reschedule(0.0)

    def close(self) -> None:
        """The server's task is leaving by itself."""
        self._over = True
        self._waiting.clear()
        self._size = 0

    async def run(self, send: Send) -> None:
        """Send until a close was sent, or the server says that the WebSocket has ended."""
        try:
            while True:
                await self._filled.wait()
                while self._waiting:
                    letter = self._waiting[0]
                    await send(letter.message())
                    if letter.code:
                        return
                    self._sent(letter)
                self._filled.clear()
        except (OSError, RuntimeError) as error:  # servers differ in which
            _log.debug("cannot send any more: %s", error, extra={"event": "disconnected"})
        finally:
            self.abort()

    def _sent(self, letter: _Letter) -> None:
        if self._over:
            return
        self._waiting.popleft()
        self._size -= letter.size
        if self._paused and self._size < LOW_WATER and self._connection is not None:
            self._paused = False
            self._connection.resume_writing()


class MountedSockets:
    """The WebSockets that a node holds through an ASGI server."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._letters = _Letters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket; what is wrong with it is told once it is accepted."""
        await receive()  # websocket.connect
        try:
            await send({"type": "websocket.accept"})
        except OSError:
            return
        leaving = asyncio.timeout(None)
        try:
            async with leaving:
                await self._serve(_upgrade(scope), receive, send, leaving)
        except TimeoutError:
            if not leaving.expired():
                raise

    async def _serve(
        self, upgrade: Upgrade, receive: Receive, send: Send, leaving: asyncio.Timeout
    ) -> None:
        outbox = Outbox(self._letters, leaving)

        def build(app: App, socket_id: str) -> Connection:
            connection = Connection(self._node, app, socket_id, outbox)
            outbox.attach(connection)
            return connection

        connection = self._node.admit(upgrade, build)
        sending = asyncio.create_task(outbox.run(send), name=f"send to {connection.socket_id}")
        try:
            await _read(connection, receive)
        finally:
            outbox.close()
            connection.gone()
            sending.cancel()
            await asyncio.wait((sending,))
            if not sending.cancelled() and (error := sending.exception()) is not None:
                _log.error("sending failed", exc_info=error, extra={"event": "bug"})


async def _read(connection: Connection, receive: Receive) -> None:
    """Read until the WebSocket has ended."""
    limit = connection.app.limits.max_frame_bytes
    while (message := await receive())["type"] == "websocket.receive":
        connection.heard()
        if connection.closing_at is not None:
            continue
        text = message.get("text")
        if text is None:
            connection.violated(no_binary())
            continue
        data = text.encode(errors="replace")
        if len(data) > limit:
            connection.violated(too_big(limit))
        else:
            connection.received(data)


def _upgrade(scope: Scope) -> Upgrade:
    """Return what the client asked for, as if the mount were the root."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    query = scope.get("query_string", b"").decode("latin-1")
    return Upgrade(
        f"{path}?{query}",
        headers.get(b"sec-websocket-key", "").encode("latin-1"),
        headers.get(b"origin", ""),
        headers.get(b"x-forwarded-for", ""),
    )
