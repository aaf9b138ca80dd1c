"""Which app a backend works for just now, where there are several."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from broadcaster import context
from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.protocol.app_table import parse_app
from broadcaster.protocol.channels import shown
from broadcaster.protocol.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.apps import App
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.settings import Settings

KEPT_SECONDS = 5.0
MAX_KEPT = 1_000
SENDS_NOTHING = frozenset({"log", "null"})
"""Broadcast drivers that need no app: a test run, say, without any credentials."""


class BackendApps:
    """
    The apps of the settings, and those that Redis holds.

    Args:
        clients: returns the Redis connections; `NotConfigured` without a server.
        now: seconds of any clock.
    """

    def __init__(
        self,
        settings: Settings,
        clients: Callable[[], RedisClients],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._now = now
        self._lock = threading.Lock()
        self._static = {app.id: app for app in settings.apps}
        self._kept: dict[str, tuple[float, App]] = {}

    @property
    def current(self) -> App:
        """The app that `using_app` chose, or the one of the settings."""
        wanted = context.app_id.get()
        return self._settings.require_app() if wanted is None else self.find(wanted)

    @property
    def current_id(self) -> str:
        """
        Its id, without asking Redis: an app that is not in the settings is taken for granted.

        Without any app it is ``none`` where a driver sends nothing.

        Raises:
            NotConfigured: there is none, or the settings have none of this id and gateways
                serve no others.
        """
        wanted = context.app_id.get()
        if wanted is None:
            if not self._settings.apps and self._settings.broadcast.driver in SENDS_NOTHING:
                return "none"
            return self._settings.require_app().id
        if wanted not in self._static and not self._settings.gateway.dynamic_apps:
            raise self._unknown(wanted)
        return wanted

    def find(self, app_id: str) -> App:
        """
        Return an app; what Redis says of one is kept for `KEPT_SECONDS`.

        Raises:
            NotConfigured: there is none of this id.
            DriverUnavailable: Redis, which may have it, does not answer.
        """
        static = self._static.get(app_id)
        if static is not None:
            return static
        if not self._settings.gateway.dynamic_apps or self._settings.redis_url is None:
            raise self._unknown(app_id)
        with self._lock:
            kept = self._kept.get(app_id)
        if kept is not None and self._now() < kept[0]:
            return kept[1]
        app = self._read(app_id)
        with self._lock:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[app_id] = (self._now() + KEPT_SECONDS, app)
        return app

    def _read(self, app_id: str) -> App:
        from broadcaster.drivers.redis.apps import RedisApps

        table = RedisApps(self._clients()).find(app_id)
        if table is None:
            raise self._unknown(app_id)
        try:
            return parse_app(table, where="an app of Redis", base=self._settings.limits)
        except ConfigurationError as error:
            raise NotConfigured(
                f"{error.message}: a newer version of broadcaster may have written it"
            ) from error

    def _unknown(self, app_id: str) -> NotConfigured:
        known = ", ".join(self._static) or "none"
        added = ", and Redis holds none" if self._settings.gateway.dynamic_apps else ""
        return NotConfigured(
            f"no app has the id {shown(app_id)}{did_you_mean(app_id, self._static)}; the settings "
            f"have: {known}{added}. Add it to [[apps]], or with `broadcaster app add`"
        )
