"""Telling the store how many connections each app and channel has here, as it changes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError, DriverRefused, LeaseLost
from broadcaster.gateway.census import CONNECTIONS, Census

if TYPE_CHECKING:
    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.gateway.lease import LeaseKeeper
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.hub.hub import Hub

_log = logging.getLogger("broadcaster.gateway")

RETRY_SECONDS = 0.25
REFUSED_SECONDS = 5.0
# A first change is written at once; while more follow, the next write waits this long. Without
# it, a thousand clients that come back together cost almost as many writes.
PAUSE_SECONDS = 0.05
# Counts that cannot be written by then are read as they are.
SETTLE_SECONDS = 1.0


class Occupancy:
    """
    Writes changed counts: the first at once, and all that changed in the pause after it.

    What is written is the count at the time of the write, so nothing is lost by skipping
    what was true in between. Who reads counts here asks `settled` first, and sees what this
    node's clients have been told; other nodes are behind by the pause at most.
    """

    def __init__(self, hub: Hub, store: PresenceStore, lease: LeaseKeeper) -> None:
        self.census = Census(self._connections_changed)
        self._hub = hub
        self._store = store
        self._lease = lease
        # By app and name; the topic, None for the number of the app's connections.
        self._changed: dict[tuple[str, str], bytes | None] = {}
        self._soon: asyncio.TimerHandle | None = None
        self._event = asyncio.Event()
        self._wanted = asyncio.Event()  # somebody waits: no pause
        self._settled = asyncio.Event()
        self._settled.set()

    def changed(self, channel: LocalChannel) -> None:
        """The number of connections of `channel` has changed."""
        self._changed[channel.app_id, channel.name] = channel.topic
        self._event.set()
        self._settled.clear()

    def _connections_changed(self, app_id: str) -> None:
        self._changed[app_id, CONNECTIONS] = None
        self._settled.clear()
        if self._soon is None and not self._event.is_set():
            loop = asyncio.get_running_loop()
            self._soon = loop.call_later(PAUSE_SECONDS, self._event.set)

    async def settled(self) -> None:
        """Return when every change so far is written, or cannot be written just now."""
        if self._settled.is_set():
            return
        self._wanted.set()
        self._event.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._settled.wait()

    def all_changed(self) -> None:
        """Everything must be written again, under a new lease."""
        for channel in self._hub.channels.values():
            self.changed(channel)
        for app_id in self.census:
            self._connections_changed(app_id)

    async def run(self) -> None:
        """Write until cancelled; while Redis is away, keep what changed."""
        while True:
            await self._event.wait()
            self._event.clear()
            if self._soon is not None:
                self._soon.cancel()
                self._soon = None
            changed, self._changed = self._changed, {}
            try:
                await self._write(changed)
            except DriverError as error:
                self._changed = {**changed, **self._changed}
                if isinstance(error, LeaseLost):
                    self._lease.wake()
                refused = isinstance(error, DriverRefused)
                if refused:
                    _log.warning("counts not written: %s", error, extra={"event": "refused"})
                await asyncio.sleep(REFUSED_SECONDS if refused else RETRY_SECONDS)
                self._event.set()
            else:
                if not self._changed:
                    self._settled.set()
                await self._pause()

    async def _pause(self) -> None:
        """Let changes gather, unless somebody waits for them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._wanted.wait()
        self._wanted.clear()

    async def _write(self, changed: dict[tuple[str, str], bytes | None]) -> None:
        counts: dict[str, dict[str, int]] = {}
        for (app_id, name), topic in changed.items():
            counts.setdefault(app_id, {})[name] = self._count(app_id, topic)
        lease = await self._lease.current()
        for app_id, by_name in counts.items():
            await self._store.occupy(lease, app_id, by_name)

    def _count(self, app_id: str, topic: bytes | None) -> int:
        if topic is None:
            return self.census.count(app_id)
        channel = self._hub.channels.get(topic)
        return len(channel) if channel is not None else 0
