"""
How much room there is: for the connections of each app, and for sockets in this process.

An app's limit counts its connections on all nodes: our own as they are, the others' as they
were at the last look (`LOOK_SECONDS`). So a rush on several nodes at once may pass the limit
by what came in between two looks; on one node it is exact. Before the first look, which the
first connection asks for, only a share of the limit is let in: whoever else comes in these
milliseconds is told to come again. While Redis is away the last look counts; if there was none,
nobody is elsewhere.

A process has room for fewer sockets than it may open files: the rest is for Redis, for the
HTTP API, and for the sockets that are told there is no room.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError
from broadcaster.gateway.census import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.apps import App
    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.gateway.census import Census

_log = logging.getLogger("broadcaster.gateway")

LOOK_SECONDS = 1.0
RESERVED_FILES = 256
# Of an app's limit, while nobody knows how many connections other nodes hold.
UNKNOWN_SHARE, UNKNOWN_LEAST = 10, 20


def room_for_sockets(files: int) -> int:
    """Return how many sockets a process that may open so many files should hold."""
    return max(files - min(RESERVED_FILES, files // 4), 1)


class Capacity:
    """
    See the module.

    Args:
        census: the connections of this node.
        presence: knows those of all nodes.
        sockets: returns how many sockets this process holds.
        node: our name; what the store knows of us is older than what we know.
        ceiling: how many it may; 0 is no limit.
    """

    def __init__(
        self,
        census: Census,
        presence: PresenceStore,
        *,
        sockets: Callable[[], int],
        node: str,
        ceiling: int = 0,
    ) -> None:
        self._census = census
        self._presence = presence
        self._sockets = sockets
        self._node = node
        self._ceiling = ceiling
        self._elsewhere: dict[str, int] = {}
        self._asked: set[str] = set()
        self._new = asyncio.Event()

    def is_full(self, app: App) -> bool:
        """Whether there is no room for one more connection of `app`."""
        if self._ceiling and self._sockets() >= self._ceiling:
            return True
        limit = app.limits.max_connections
        if not limit:
            return False
        self._asked.add(app.id)
        elsewhere = self._elsewhere.get(app.id)
        if elsewhere is None:
            self._new.set()
            elsewhere = limit - min(max(limit // UNKNOWN_SHARE, UNKNOWN_LEAST), limit)
        return self._census.count(app.id) + elsewhere >= limit

    async def run(self) -> None:
        """Look at what other nodes hold, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._new.wait()
            self._new.clear()
            await self._look()

    async def _look(self) -> None:
        """Ask about every app with a limit that somebody asked about since the last look."""
        asked, self._asked = self._asked, set()
        for app_id in [known for known in self._elsewhere if known not in asked]:
            if self._census.count(app_id) == 0:
                del self._elsewhere[app_id]
            else:
                asked.add(app_id)
        for app_id in asked:
            try:
                [total] = await self._presence.counts(app_id, [CONNECTIONS], without=self._node)
            except DriverError as error:
                self._elsewhere.setdefault(app_id, 0)
                _log.debug("connections of %s not counted: %s", app_id, error)
            else:
                self._elsewhere[app_id] = total
