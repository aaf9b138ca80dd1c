"""
One port, two shells: WebSocket upgrades go to `Socket`, everything else to uvicorn.

uvicorn builds one `Sniffer` per accepted socket (its ``http`` setting takes a class). The
Sniffer looks at the first request only: a ``GET`` whose head contains an upgrade to
WebSocket is answered here, anything else is handed to uvicorn's own HTTP protocol with
every byte that was read. A handshake is never refused once it is well-formed: what is
wrong with it is said over the WebSocket, because a refused handshake leaves stock clients
in the dark for 15 seconds and more.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from broadcaster.errors import MalformedMessage
from broadcaster.gateway.connection import HIGH_WATER
from broadcaster.gateway.http_protocol import MAX_HEAD_BYTES, TOO_LARGE, http_protocol
from broadcaster.gateway.socket import Socket
from broadcaster.protocol.websocket import accept_upgrade, parse_upgrade

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from broadcaster.gateway.node import Node
    from broadcaster.protocol.app import App

_GET = b"GET "
_END = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:[ \t]*websocket", re.IGNORECASE)


class Sniffer(asyncio.Protocol):
    """The first protocol of every socket (see the module)."""

    __slots__ = (
        "_app_state",
        "_buffer",
        "_config",
        "_loop",
        "_node",
        "_server_state",
        "_transport",
        "since",
    )

    def __init__(
        self,
        node: Node,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._node = node
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes, until the node's sweep loses patience."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment] # a stream transport, see above
        self.since = self._node.now()
        self._node.sniffers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """The peer left before it said what it wants."""
        self._node.sniffers.discard(self)

    def data_received(self, data: bytes) -> None:
        """Decide as soon as the request's head is complete."""
        if self._buffer:
            data = self._buffer + data
        if not data[:1].isalpha():  # TLS, for example: an answer at once, not a long wait
            self._to_http(data)
            return
        end = data.find(_END)
        if end < 0:
            if len(data) > MAX_HEAD_BYTES:
                self._refuse(TOO_LARGE)
            elif b"\n\n" in data:  # complete by an older rule: uvicorn knows what to say
                self._to_http(data)
            else:
                self._buffer = data
            return
        head = data[:end]
        if data.startswith(_GET) and _UPGRADE.search(head):
            self._to_websocket(head, data[end + len(_END) :])
        else:
            self._to_http(data)

    def abort(self) -> None:
        """End a socket that never completed a request's head."""
        if self._transport is not None:
            self._transport.abort()

    def _to_http(self, data: bytes) -> None:
        transport = self._taken()
        protocol = http_protocol(
            self._node,
            config=self._config,
            server_state=self._server_state,
            app_state=self._app_state,
            _loop=self._loop,
        )
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def _to_websocket(self, head: bytes, rest: bytes) -> None:
        transport = self._taken()
        connection = upgraded(self._node, transport, head)
        if connection is not None:
            transport.set_protocol(connection)
            if rest:
                connection.data_received(rest)

    def _refuse(self, answer: bytes) -> None:
        transport = self._taken()
        transport.write(answer)
        transport.close()

    def _taken(self) -> asyncio.Transport:
        transport = self._transport
        assert transport is not None
        self._node.sniffers.discard(self)
        self._buffer = b""
        return transport


class LateUpgrade(asyncio.Protocol):
    """
    An upgrade on a connection that has carried HTTP before, as proxies send them.

    uvicorn's HTTP protocol builds it (``ws`` setting), hands it the request, and makes it
    the transport's protocol. It steps aside at the end of that tick, and passes on what
    comes before.
    """

    __slots__ = ("_connection", "_node", "_transport")

    def __init__(
        self,
        node: Node,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        del config, server_state, app_state  # uvicorn's signature
        self._node = node
        self._transport: asyncio.Transport | None = None
        self._connection: Socket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over."""
        self._transport = transport  # type: ignore[assignment] # a stream transport

    def data_received(self, data: bytes) -> None:
        """Read the request, once; later bytes are the connection's."""
        if self._connection is not None:
            self._connection.data_received(data)
            return
        transport = self._transport
        assert transport is not None
        connection = self._connection = upgraded(self._node, transport, data.partition(_END)[0])
        if connection is not None:
            self._node.call_soon(lambda: transport.set_protocol(connection))

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the news on."""
        if self._connection is not None:
            self._connection.connection_lost(exc)


def upgraded(node: Node, transport: asyncio.Transport, head: bytes) -> Socket | None:
    """
    Answer an upgrade request on `transport`.

    Returns:
        The new connection, or None when the request was no valid upgrade: it has been
        answered with 400 and the transport is closing.
    """
    try:
        upgrade = parse_upgrade(head)
    except MalformedMessage as error:
        cause = str(error).replace('"', "'").encode()
        body = b'{"error":{"code":"bad_handshake","message":"%b"}}' % cause
        transport.write(
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            b"Sec-WebSocket-Version: 13\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        transport.close()
        return None
    transport.set_write_buffer_limits(high=HIGH_WATER)

    def build(app: App, socket_id: str) -> Socket:
        return Socket(node, app, socket_id, transport)

    return node.admit(upgrade, build, accept_upgrade(upgrade.key))
