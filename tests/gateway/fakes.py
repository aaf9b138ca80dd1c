"""A transport and a node that keep what was asked of them, and a clock set by the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from broadcaster.gateway.socket import Socket
from broadcaster.hub.hub import Hub
from broadcaster.protocol.subscription_auth import Verified
from tests.gateway.world import APP
from tests.hub.subscribers import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.sniff import Sniffer
    from broadcaster.protocol.app import App
    from broadcaster.protocol.close_codes import CloseCode
    from broadcaster.protocol.session import Denied, Join, Relay
    from broadcaster.protocol.websocket import Upgrade

MASK = b"\x11\x22\x33\x44"


def client_frame(payload: bytes, opcode: int = 1) -> bytes:
    """One masked frame, as a client sends it."""
    length = len(payload)
    size = bytes((0x80 | length,)) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    masked = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    return bytes((0x80 | opcode,)) + size + MASK + masked


class FakeTransport(asyncio.Transport):
    """Keeps what was written; `unsent` is what the peer has not read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.closed = False
        self.aborted = False
        self.reading = True
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class FakeNode:
    """What a connection needs of a node; it decides nothing."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.hub = Hub(Owner())
        self.connections: set[Connection] = set()
        self.sniffers: set[Sniffer] = set()
        self.said: list[tuple[Any, ...]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.upgrades: list[Upgrade] = []
        self.proved = Verified()

    def now(self) -> float:
        return self.time

    def admit(
        self, upgrade: Upgrade, build: Callable[[App, str], Socket], response: bytes = b""
    ) -> Socket:
        self.upgrades.append(upgrade)
        connection = build(APP, f"{len(self.connections) + 1}.1")
        self.connections.add(connection)
        connection.greet(response)
        return connection

    def connection(self, transport: asyncio.Transport, app: App = APP) -> Socket:
        connection = Socket(self, app, f"{len(self.connections) + 1}.1", transport)  # type: ignore[arg-type] # the part of a node that it uses
        self.connections.add(connection)
        return connection

    def verify(self, *_: object) -> Verified:
        return self.proved

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay, callback))

    def fire(self) -> float:
        """Let the one timer that is set go off; return how long it would have taken."""
        ((delay, callback),) = self.timers
        self.timers.clear()
        callback()
        return delay

    def join(self, connection: Connection, join: Join) -> None:
        self.said.append(("join", join.channel.name))

    def leave(self, connection: Connection, name: str) -> None:
        self.said.append(("leave", name))

    def relay(self, connection: Connection, relay: Relay) -> None:
        self.said.append(("relay", relay.channel))

    def denied(self, connection: Connection, denied: Denied) -> None:
        self.said.append(("denied", denied.code))

    def pace_changed(self, connection: Connection) -> None:
        self.said.append(("pace", connection.paused))

    def slow_consumer(self, connection: Connection) -> None:
        self.said.append(("slow",))

    def closing(self, connection: Connection) -> None:
        self.said.append(("closing",))

    def socket_closed(self, connection: Connection) -> None:
        self.said.append(("gone",))
        self.connections.discard(connection)


def close_code(reason: CloseCode | int, written: bytes) -> bool:
    """Whether the last thing written is a close with this code."""
    code = reason if isinstance(reason, int) else reason.code
    start = written.rfind(b"\x88")
    return start >= 0 and written[start + 2 : start + 4] == code.to_bytes(2, "big")
