"""Two looks a second at every connection, instead of a timer for each."""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from typing import TYPE_CHECKING

from broadcaster.gateway.connection import CLOSE_SECONDS
from broadcaster.protocol import close_codes
from broadcaster.protocol.messages import PING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.node import Node

SWEEP_SECONDS = 0.5
FIRST_BYTES_SECONDS = 10.0
# Clients that keep their own watch ask us first; ours comes a little later.
PATIENCE_SECONDS = 5.0
# Closed with 4200 in one look: clients come back at once, all of them.
RENEWALS_A_LOOK = 50
NOT_AUTHORIZED = "Connection not authorized within timeout"


class Keepalive:
    """
    Finds silent, stuck and expired connections.

    All sockets are watched, subscribed or not. After `activity_timeout` of silence a client
    is asked (``pusher:ping``); after `pong_timeout` more its connection is closed with 4201,
    upon which stock clients reconnect at once.

    Connections whose authorization is about to end are closed with 4200, the most urgent
    first and `RENEWALS_A_LOOK` at a time: stock clients get a fresh one in no other way.

    Where an app asks for it, connections that nobody has vouched for in time are closed (4009).
    """

    def __init__(self, node: Node, chance: Callable[[], float] = random.random) -> None:
        self._node = node
        self._chance = chance
        self.paused: set[Connection] = set()
        self.closing: set[Connection] = set()

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self.paused.discard(connection)
        self.closing.discard(connection)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.look(self._node.now(), time.time())

    def look(self, now: float, unix_now: float) -> None:
        """Look once; `now` is the node's clock, `unix_now` is for grants that expire."""
        for sniffer in [s for s in self._node.sniffers if now - s.since > FIRST_BYTES_SECONDS]:
            sniffer.abort()
        for connection in [
            c
            for c in self.closing
            if c.closing_at is not None and now - c.closing_at > CLOSE_SECONDS
        ]:
            connection.abort()
        for connection in [c for c in self.paused if c.is_stuck(now)]:
            self._node.slow_consumer(connection)
        for connection in list(self._node.connections):
            if connection.closing_at is None:
                self._watch(connection, now, unix_now)
                self._demand_authorization(connection, now)
        self._renew(unix_now)

    def _renew(self, unix_now: float) -> None:
        late = [
            connection
            for connection in self._node.connections
            if connection.session.renew_at <= unix_now and connection.closing_at is None
        ]
        for connection in heapq.nsmallest(RENEWALS_A_LOOK, late, key=_renew_at):
            connection.close(close_codes.RENEW)

    def _watch(self, connection: Connection, now: float, unix_now: float) -> None:
        limits = connection.app.limits
        silent = now - connection.last_seen
        if silent > limits.activity_timeout + PATIENCE_SECONDS:
            if not connection.pinged:
                connection.pinged = True
                connection.send(PING)
            elif silent > limits.activity_timeout + PATIENCE_SECONDS + limits.pong_timeout:
                connection.close(close_codes.PONG_MISSING)
                return
        if connection.session.due_at <= unix_now:
            connection.act(connection.session.expire(unix_now, self._chance()))

    def _demand_authorization(self, connection: Connection, now: float) -> None:
        timeout = connection.app.limits.authorization_timeout
        if (
            timeout > 0
            and now - connection.opened_at > timeout
            and not connection.session.is_authorized
            and connection.closing_at is None
        ):
            connection.refuse(close_codes.UNAUTHORIZED, NOT_AUTHORIZED)


def _renew_at(connection: Connection) -> float:
    return connection.session.renew_at
