"""Client events on their way to Redis: in order, at most once, bounded."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.contracts.broker import Outgoing
from broadcaster.errors import DriverError
from broadcaster.protocol.client_events import fact_of
from broadcaster.protocol.close_codes import CLIENT_EVENT_REFUSED
from broadcaster.protocol.messages import encode_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.broker import Broker
    from broadcaster.contracts.facts import Fact
    from broadcaster.gateway.connection import Connection
    from broadcaster.protocol.effects import Relay

MAX_WAITING = 10_000
BATCH = 200


class _Waiting(NamedTuple):
    connection: Connection
    relay: Relay
    outgoing: Outgoing


class Relays:
    """
    Sends client events to every node, this one included, so that all see one order.

    Named policy when `MAX_WAITING` is reached or Redis is away: the event is dropped and its
    sender told so; client events promise no more. What was sent is told as a fact.

    Args:
        tell: queues a fact.
    """

    def __init__(self, broker: Broker, tell: Callable[[Fact], None]) -> None:
        self._broker = broker
        self._tell = tell
        self._waiting: deque[_Waiting] = deque()
        self._event = asyncio.Event()

    def put(self, connection: Connection, relay: Relay) -> None:
        """Send one event soon."""
        if len(self._waiting) >= MAX_WAITING:
            _refuse(connection)
            return
        outgoing = Outgoing(
            connection.app.id, relay.channel, os.urandom(16), relay.frame, connection.socket_id
        )
        self._waiting.append(_Waiting(connection, relay, outgoing))
        self._event.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._event.wait()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._waiting:
                self._event.clear()
            try:
                await self._broker.relay([one.outgoing for one in batch])
            except DriverError:
                for one in batch:
                    _refuse(one.connection)
                continue
            for one in batch:
                if one.connection.app.wants_facts:
                    self._tell(_fact(one))


def _fact(sent: _Waiting) -> Fact:
    return fact_of(
        sent.relay,
        app_id=sent.outgoing.app_id,
        socket_id=sent.connection.socket_id,
        event_id=sent.outgoing.event_id,
        time_ms=int(time.time() * 1000),
    )


def _refuse(connection: Connection) -> None:
    connection.send(
        encode_error(CLIENT_EVENT_REFUSED, "Client event rejected: it cannot be delivered just now")
    )
