"""
Every app that this node serves, in memory: those of the settings, and those of a store.

A change in the store comes as a control message; it is read and takes effect, also on
connections that are open, within the second. What was missed is read again after every
acknowledgement of the topic, and a poll every `POLL_SECONDS` is the net below. While the store
is away the last known apps are served; apps that a store has lost are written back.

An app of the settings wins over one of the store with its id or key.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from broadcaster.contracts.apps import AppLimits, StaticApps
from broadcaster.errors import ConfigurationError, DriverError
from broadcaster.protocol.app_table import parse_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from broadcaster.contracts.apps import App, AppStore
    from broadcaster.protocol.app_table import AppTable

_log = logging.getLogger("broadcaster.gateway")

POLL_SECONDS = 5.0
RETRY_SECONDS = 0.2
MOST_LINES = 10


class AppDirectory:
    """
    See the module, and `AppProvider`.

    Args:
        static: the apps of the settings.
        store: where further ones are kept, or None if there are no others.
        base: limits of apps of the store that do not say their own.
        topic: on which changes to the store are told.
    """

    def __init__(
        self,
        static: Iterable[App],
        store: AppStore | None = None,
        *,
        base: AppLimits | None = None,
        topic: bytes = b"",
    ) -> None:
        self._static = StaticApps(*static)
        self._store = store
        self._base = base or AppLimits()
        self._topic = topic
        self._tables: Mapping[str, AppTable] = {}
        self._by_id = {app.id: app for app in self._static}
        self._by_key = {app.key: app for app in self._static}
        self._complained: dict[str, AppTable] = {}
        self._version: bytes | None = None
        self._changed: Callable[[str, App | None], None] = _nobody
        self._listens = False  # there is a subscription that tells of changes
        self._interrupted = False
        self._generation = 0
        self._event = asyncio.Event()
        self.settled = store is None
        if store is not None:
            self._event.set()

    def __iter__(self) -> Iterator[App]:
        return iter(self._by_id.values())

    def by_id(self, app_id: str) -> App | None:
        """See `AppProvider.by_id`."""
        return self._by_id.get(app_id)

    def by_key(self, key: str) -> App | None:
        """See `AppProvider.by_key`."""
        return self._by_key.get(key)

    def follow(
        self, changed: Callable[[str, App | None], None], want: Callable[[bytes], None]
    ) -> None:
        """
        Tell of changes from now on.

        Args:
            changed: takes the id and the app as it is now, None if it is gone.
            want: subscribes to a topic.
        """
        self._changed = changed
        if self._store is not None:
            self._listens = True
            want(self._topic)

    # -- what pub/sub says ------------------------------------------------------------

    def listens_to(self, topic: bytes) -> bool:
        """Whether changes are told on this topic."""
        return self._listens and topic == self._topic

    def told(self) -> None:
        """Something was changed, or may have been before the topic was subscribed to."""
        self._generation += 1
        self._event.set()

    def acknowledged(self) -> None:
        """From now on no change is missed: read what was."""
        self._interrupted = False
        self.told()

    def interrupted(self) -> None:
        """Changes may be missed from now on."""
        if self._store is not None:
            self._generation += 1
            self._interrupted = True
            self.settled = False

    # -- task -------------------------------------------------------------------------

    async def run(self) -> None:
        """Read what the store holds and what changes there, until cancelled."""
        store = self._store
        if store is None:
            return
        delay = POLL_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._event.wait()
            self._event.clear()
            try:
                if not self.settled or await store.version() != self._version:
                    await self._read(store)
                delay = POLL_SECONDS
            except DriverError as error:
                level = logging.DEBUG if delay == RETRY_SECONDS else logging.WARNING
                _log.log(level, "apps were not read: %s", error, extra={"event": "retry"})
                delay = RETRY_SECONDS

    async def _read(self, store: AppStore) -> None:
        generation = self._generation
        stored = await store.read()
        if stored.version is None and self._tables:
            if await store.restore(self._tables):
                _log.warning(
                    "Redis had lost %d apps: written back",
                    len(self._tables),
                    extra={"event": "apps_restored"},
                )
            stored = await store.read()
        self._version = stored.version
        self._learn(stored.tables)
        if generation == self._generation and not self._interrupted:
            self.settled = True  # else another look follows

    def _learn(self, tables: Mapping[str, AppTable]) -> None:
        """Take what the store holds now; tell of every app that is another than before."""
        before = self._by_id
        apps = {app.id: app for app in self._static}
        keys = {app.key: app for app in self._static}
        complaints: dict[str, AppTable] = {}
        for app_id, table in tables.items():
            app = self._parsed(app_id, table, complaints)
            if app is None:
                continue
            if app.id in apps or app.key in keys:
                text = f"the app {app.id} of Redis has the id or key of another: it is not served"
                self._complain(complaints, app_id, table, logging.WARNING, "app_ignored", text)
                continue
            apps[app.id] = keys[app.key] = app
        self._complained = complaints
        self._tables, self._by_id, self._by_key = tables, apps, keys
        known = [*before, *(app_id for app_id in apps if app_id not in before)]
        changed = [app_id for app_id in known if apps.get(app_id) != before.get(app_id)]
        _say(changed, before, apps)
        for app_id in changed:
            self._changed(app_id, apps.get(app_id))

    def _parsed(self, app_id: str, table: AppTable, complaints: dict[str, AppTable]) -> App | None:
        known = self._by_id.get(app_id)
        if known is not None and self._tables.get(app_id) == table:
            return known  # to read ten thousand tables anew would hold up everybody
        try:
            return parse_app(table, where="an app of Redis", base=self._base)
        except ConfigurationError as error:
            # Written by a newer program, perhaps: what is known of it goes on.
            self._complain(
                complaints, app_id, table, logging.ERROR, "app_unreadable", error.message
            )
            return known

    def _complain(
        self,
        complaints: dict[str, AppTable],
        app_id: str,
        table: AppTable,
        level: int,
        event: str,
        text: str,
    ) -> None:
        """Say what is wrong with an app, unless it was said of the same table."""
        complaints[app_id] = table
        if self._complained.get(app_id) != table:
            _log.log(level, "%s", text, extra={"event": event, "app": app_id})


def _say(changed: Sequence[str], before: Mapping[str, App], now: Mapping[str, App]) -> None:
    """Say which apps are others than before, or how many: at a start it is every one."""
    if len(changed) > MOST_LINES:
        counts = (
            sum(app_id not in before for app_id in changed),
            sum(app_id in before and app_id in now for app_id in changed),
            sum(app_id not in now for app_id in changed),
        )
        text = "%d apps of Redis are served, %d changed, %d are gone"
        _log.info(text, *counts, extra={"event": "app_changed", "count": len(changed)})
        return
    for app_id in changed:
        what = "changed" if app_id in now else "is gone"
        if app_id not in before:
            what = "is served"
        extra = {"event": "app_changed", "app": app_id}
        _log.info("the app %s %s", app_id, what, extra=extra)


def _nobody(app_id: str, app: App | None) -> None:
    del app_id, app
