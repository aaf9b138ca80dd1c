"""
The fast shell of a connection: a socket's own protocol, without task, queue or timer.

The handshake is read before, by `broadcaster.gateway.sniff`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broadcaster.errors import WebSocketViolation
from broadcaster.gateway.connection import Connection
from broadcaster.protocol import websocket

if TYPE_CHECKING:
    from broadcaster.gateway.node import Node
    from broadcaster.protocol.app import App


class Socket(Connection, asyncio.Protocol):
    """A `Connection` that reads its frames from a transport of asyncio's."""

    __slots__ = ("_reader", "_transport")

    def __init__(self, node: Node, app: App, socket_id: str, transport: asyncio.Transport) -> None:
        super().__init__(node, app, socket_id, transport)
        self._transport = transport
        self._reader = websocket.FrameReader(app.limits.max_frame_bytes)

    def data_received(self, data: bytes) -> None:
        """Read frames; a violation closes with the code that RFC 6455 gives it."""
        if self.closing_at is not None:
            if b"\x88" in data:
                self._transport.close()
            return
        try:
            events = self._reader.feed(data)
        except WebSocketViolation as error:
            self.violated(error)
            return
        if not events:
            return
        self.heard(len(events))
        for opcode, payload in events:
            if self.closing_at is not None:
                return
            if opcode == websocket.TEXT:
                self.received(payload)
            elif opcode == websocket.PING:
                self.send_raw(websocket.encode_control(websocket.PONG, payload))
            elif opcode == websocket.CLOSE:
                self._node.hub.flush()
                self._write(websocket.encode_control(websocket.CLOSE, payload))
                self.closing_at = self.last_seen
                self._node.closing(self)
                self._transport.close()

    def eof_received(self) -> bool:
        """Close when the peer half-closes."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """The socket is gone, whoever ended it."""
        self.gone()
