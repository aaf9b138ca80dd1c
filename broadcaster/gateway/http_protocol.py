"""
uvicorn's HTTP protocol, with bounds on what a request may be and how long it may take.

uvicorn bounds neither the size of a head nor the time it may take, collects trailers
without end, and waits for a body whose request has long been answered. `Sniffer` sees to
the head of a connection's first request; this sees to everything after it. What a body
may be is the business of who reads it. Without httptools uvicorn uses h11, which bounds
sizes itself, but not times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from broadcaster.gateway.node import Node

MAX_HEAD_BYTES = 16_384
# Chunk headers and trailers: eight bytes for each of the body, and this much beside.
MAX_FRAMING_BYTES, FRAMING_PER_BODY_BYTE = 65_536, 8
# A body may take this much longer than a head; its reader answers before that.
BODY_SECONDS = 5.0
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


def http_protocol(node: Node, **arguments: Any) -> asyncio.Protocol:
    """
    Return uvicorn's protocol for one connection.

    Args:
        node: aborts heads that take too long.
        arguments: as uvicorn builds its own.
    """
    return _build(node, **arguments)


class PatientH11(H11Protocol):
    """
    For installations without httptools.

    Attributes:
        since: when the present head began, or a little after the body did.
    """

    def __init__(self, node: Node, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._node = node
        self._under_way: object = None
        self.since = 0.0

    def data_received(self, data: bytes) -> None:
        """Watch what is not complete by now."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """What came behind the request may be the beginning of another."""
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Take an upgrade; uvicorn would pass one by HTTP/1.0 on as one by 1.1."""
        if event.http_version == b"1.1":
            self._node.sniffers.discard(self)
            super().handle_websocket_upgrade(event)
        else:
            self.send_400_response("An upgrade needs HTTP/1.1.")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._node.sniffers.discard(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """End a connection whose request took too long."""
        self.transport.abort()

    def _watch(self) -> None:
        state = self.conn.their_state
        in_head = state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not (in_head or state is h11.SEND_BODY):
            self._under_way = None
            self._node.sniffers.discard(self)
        elif self._under_way is not state:
            self._under_way = state
            self.since = self._node.now() + (0.0 if in_head else BODY_SECONDS)
            self._node.sniffers.add(self)


_build: Callable[..., asyncio.Protocol] = PatientH11

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:  # the [fast] extra is not installed
    pass
else:

    class BoundedHttp(HttpToolsProtocol):
        """
        See the module.

        Attributes:
            since: when the present head began, or a little after the body did.
        """

        def __init__(self, node: Node, **arguments: Any) -> None:
            super().__init__(**arguments)
            self._node = node
            self._head_bytes: int | None = None  # None while there is no head under way
            self._framing: int | None = None  # None while there is no body under way
            self.since = 0.0

        def on_message_begin(self) -> None:
            """A request begins."""
            super().on_message_begin()
            self._head_bytes = 0
            self.since = self._node.now()
            self._node.sniffers.add(self)

        def on_headers_complete(self) -> None:
            """Its head is complete."""
            self._head_bytes = None
            self._framing = 0
            self.since = self._node.now() + BODY_SECONDS
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            """Part of its body has come, with its framing taken off."""
            if self._framing is not None:
                self._framing -= len(body) * (1 + FRAMING_PER_BODY_BYTE)
            super().on_body(body)

        def on_message_complete(self) -> None:
            """The request has come whole."""
            self._over()
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            """Count what is no body; a little too much does no harm."""
            if self._head_bytes is not None:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._over()
                    self.transport.write(TOO_LARGE)
                    self.transport.close()
                    return
            elif self._framing is not None:
                self._framing += len(data)
            super().data_received(data)
            if self._framing is not None and self._framing > MAX_FRAMING_BYTES:
                self._over()
                self.transport.abort()

        def handle_websocket_upgrade(self) -> None:
            """Take an upgrade, unless an answer would be written into the WebSocket."""
            self._over()
            if self.scope["http_version"] != "1.1":  # uvicorn would pass it on as 1.1
                self.send_400_response("An upgrade needs HTTP/1.1.")
            elif not self.cycle or self.cycle.response_complete:  # None at first
                super().handle_websocket_upgrade()
            else:
                self.send_400_response("An upgrade must wait for the answers before it.")

        def connection_lost(self, exc: Exception | None) -> None:
            """The connection is gone."""
            self._over()
            super().connection_lost(exc)

        def abort(self) -> None:
            """End a connection whose request took too long."""
            self.transport.abort()

        def _over(self) -> None:
            self._head_bytes = self._framing = None
            self._node.sniffers.discard(self)

    _build = BoundedHttp
