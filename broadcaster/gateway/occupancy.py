"""Telling the store how many connections each app and channel has here, as it changes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from broadcaster.contracts.presence import NOTHING, Wanted
from broadcaster.errors import DriverError, DriverRefused, LeaseLost
from broadcaster.gateway.census import CONNECTIONS, Census
from broadcaster.protocol.messages import encode_subscription_count
from broadcaster.protocol.watchlist import is_online_list

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.contracts.presence import Lease, PresenceStore, Total
    from broadcaster.gateway.lease import LeaseKeeper
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.hub.hub import Hub

_Changed: TypeAlias = dict[tuple[str, str], bytes | None]

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
    node's clients have been told; other nodes are behind by the pause at most. How many
    connections an app has is written together with the channels that they enter.

    Args:
        wanted: what an app wants to know beside the numbers.
        wake: called when facts may have come of it.

    Attributes:
        census: the connections of this node; it is told who comes and goes.
    """

    def __init__(
        self,
        hub: Hub,
        store: PresenceStore,
        lease: LeaseKeeper,
        *,
        wanted: Callable[[str], Wanted],
        wake: Callable[[], None],
    ) -> None:
        self.census = Census(self._connections_changed)
        self._hub = hub
        self._store = store
        self._lease = lease
        self._wanted_by = wanted
        self._wake = wake
        self._writing = asyncio.Lock()
        # By app and name; the topic, None for the number of the app's connections.
        self._changed: _Changed = {}
        # Presence channels whose first member could not be written: it is, even if they left.
        self._entered: set[tuple[str, str]] = set()
        self._soon: asyncio.TimerHandle | None = None
        self._event = asyncio.Event()
        self._wanted = asyncio.Event()  # somebody waits: no pause
        self._settled = asyncio.Event()
        self._settled.set()

    def changed(self, channel: LocalChannel) -> None:
        """The number of connections of `channel` has changed."""
        if is_online_list(channel.name):
            return  # nobody can subscribe to it
        self._changed[channel.app_id, channel.name] = channel.topic
        self._event.set()
        self._settled.clear()

    def _connections_changed(self, app_id: str) -> None:
        self._changed[app_id, CONNECTIONS] = None
        self._settled.clear()
        if self._soon is None and not self._event.is_set():
            loop = asyncio.get_running_loop()
            self._soon = loop.call_later(PAUSE_SECONDS, self._event.set)

    async def register(self, app_id: str, counts: Mapping[str, int]) -> None:
        """
        Write that channels have their first connections here, before those hear of success.

        Who enters a presence channel may still be refused: facts about it come after that.
        """
        wanted = self._wanted_by(app_id)
        sure = {name: n for name, n in counts.items() if not name.startswith("presence-")}
        async with self._writing:
            lease = await self._lease.current()
            if wanted != NOTHING and sure:
                await self._store.occupy(lease, app_id, sure, wanted=wanted)
                counts = {name: n for name, n in counts.items() if name not in sure}
            if counts:
                await self._store.occupy(lease, app_id, counts)
        if wanted.facts:
            self._wake()

    async def entered(self, app_id: str, name: str, topic: bytes) -> None:
        """
        Write that a presence channel without members here has one, before they hear of it.

        Whatever becomes of them, that they came is a fact; the number itself follows.
        """
        wanted = self._wanted_by(app_id)
        if not wanted.facts:
            return
        try:
            async with self._writing:
                lease = await self._lease.current()
                count = max(self._count(app_id, topic), 1)
                await self._store.occupy(lease, app_id, {name: count}, wanted=wanted)
        except DriverError:  # is written by the task, which says what is wrong
            self._entered.add((app_id, name))
        self._changed[app_id, name] = topic  # gone again, perhaps, before this was written
        self._event.set()
        self._settled.clear()
        self._wake()

    async def settled(self) -> None:
        """Return when every change so far is written, or cannot be written just now."""
        if self._settled.is_set():
            return
        self._wanted.set()
        self._event.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._settled.wait()

    def checked(self, channel: LocalChannel) -> None:
        """Tell subscribers how many they are, if that was missed."""
        missed = channel.counted is None and channel.subscribers and _is_shown(channel.name)
        if missed and self._wanted_by(channel.app_id).counts:
            self.changed(channel)

    async def register_all(self, lease: Lease, *, data_lost: bool) -> None:
        """Write everything under a new lease; raises when that fails."""
        everything: _Changed = {
            (channel.app_id, channel.name): channel.topic
            for channel in self._hub.channels.values()
            if not is_online_list(channel.name)
        }
        everything |= {(app_id, CONNECTIONS): None for app_id in self.census}
        await self._write(everything, lease, announce=not data_lost)

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
            except Exception as error:
                self._changed = {**changed, **self._changed}
                if not isinstance(error, DriverError):
                    self._event.set()
                    raise
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

    async def _write(
        self, changed: _Changed, lease: Lease | None = None, *, announce: bool = True
    ) -> None:
        async with self._writing:  # two at once could leave the older number standing
            lease = lease or await self._lease.current()
            counts: dict[str, dict[str, int]] = {}
            for (app_id, name), topic in changed.items():
                counts.setdefault(app_id, {})[name] = self._count(app_id, topic)
            for app_id, by_name in counts.items():
                wanted = self._wanted_by(app_id)
                entered = self._entered.intersection((app_id, name) for name in by_name)
                ones = {name: 1 for _, name in entered if not by_name[name]}
                if ones and wanted.facts:
                    await self._store.occupy(lease, app_id, ones, wanted=wanted, announce=announce)
                    self._entered.difference_update((app_id, name) for name in ones)
                totals = await self._store.occupy(
                    lease, app_id, by_name, wanted=wanted, announce=announce
                )
                self._entered -= entered
                for name, total in totals.items():
                    self._show(changed[app_id, name], name, total)
                if wanted.facts:
                    self._wake()

    def _show(self, topic: bytes | None, name: str, total: Total) -> None:
        """Tell a first number; those after it come from the store."""
        channel = self._hub.channels.get(topic) if topic is not None else None
        if channel is not None and channel.counted is None and _is_shown(name):
            frame = encode_subscription_count(name, total.connections)
            self._hub.count(channel, total.version, frame)

    def _count(self, app_id: str, topic: bytes | None) -> int:
        if topic is None:
            return self.census.count(app_id)
        channel = self._hub.channels.get(topic)
        return len(channel) if channel is not None else 0


def _is_shown(name: str) -> bool:
    return not name.startswith(("presence-", "#"))


def wanted_by(apps: AppProvider) -> Callable[[str], Wanted]:
    """Return what tells for an app id what that app wants to know."""

    def wanted(app_id: str) -> Wanted:
        app = apps.by_id(app_id)
        return NOTHING if app is None else Wanted(app.wants_facts, app.limits.subscription_counts)

    return wanted
