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


# Messages of one connection that are taken at once, and the pause between the turns of those
# that were refused something before.
TURN = 16
DISTRUSTED_TURN = 4
DISTRUSTED_PAUSE = 0.05


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
            elif self.is_distrusted:
                self._transport.pause_reading()  # it may have megabytes more to say
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        """
        Take messages in turns: one peer must not keep the others waiting.

        What is left over is not even parsed, and nothing more is read until its turn comes.
        Peers whose messages were refused before get few at a time, with a pause in between.
        """
        distrusted = self.is_distrusted
        try:
            events = self._reader.feed(data, DISTRUSTED_TURN if distrusted else TURN)
        except WebSocketViolation as error:
            self.violated(error)
            return
        if events:
            self.heard(len(events))
        for opcode, payload in events:
            if self.closing_at is not None:
                return
            self._take_one(opcode, payload)
        if self._reader.more and self.closing_at is None:
            self._transport.pause_reading()
            self._node.later(DISTRUSTED_PAUSE if self.is_distrusted else 0.0, self._go_on)

    def _go_on(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        if self.closing_at is None:
            self._take(b"")

    def _take_one(self, opcode: int, payload: bytes) -> None:
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
