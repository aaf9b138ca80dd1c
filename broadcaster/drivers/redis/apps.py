"""
Apps in Redis: one hash for all, written and announced by ``scripts/apps_put.lua``.

Each app is JSON, ``{"v": 1, "app": {...}}``, of `MAX_TABLE_BYTES` at most. The hash lives on
when its last app is removed, as its version: a list without version is one that was lost.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any, cast

from broadcaster.contracts.apps import StoredApps
from broadcaster.drivers.redis.client import translated
from broadcaster.drivers.redis.publish import control_envelope
from broadcaster.drivers.redis.scripts_loader import aread, arun, load_script
from broadcaster.errors import ConfigurationError, DriverError
from broadcaster.protocol.app_table import id_problem, parse_app
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.protocol.app_table import AppTable

_log = logging.getLogger("broadcaster.redis")

MAX_APPS = 10_000
MAX_TABLE_BYTES = 16_384
FORMAT = 1
_CHANGED = control_envelope(b'{"apps":"changed"}')


class RedisApps:
    """
    See `AppStore`.

    Args:
        max_apps: most apps kept.
    """

    def __init__(self, clients: RedisClients, *, max_apps: int = MAX_APPS) -> None:
        self._clients = clients
        self._max_apps = max_apps
        keys = clients.keys
        self._keys = [keys.apps("tables"), keys.apps("owners"), keys.apps("version")]

    async def version(self) -> bytes | None:
        """See `AppStore.version`."""
        found: bytes | None = (await aread(self._clients.aio, [("GET", self._keys[2])]))[0]
        return found

    async def read(self) -> StoredApps:
        """See `AppStore.read`."""
        # The version first: what is read with an old one is read again, never the other way.
        version, reply = await aread(
            self._clients.aio, [("GET", self._keys[2]), ("HGETALL", self._keys[0])]
        )
        tables: dict[str, AppTable] = {}
        for name, value in _pairs(reply):
            table = _decoded(name, value)
            if table is not None:
                tables[name.decode()] = table
        return StoredApps(version, tables)

    async def get(self, app_id: str) -> AppTable | None:
        """See `AppStore.get`."""
        [found] = await aread(self._clients.aio, [("HGET", self._keys[0], app_id)])
        return None if found is None else _decoded(app_id.encode(), found)

    def find(self, app_id: str) -> AppTable | None:
        """Return one app, or None, from code without an event loop."""
        client = self._clients.sync
        with translated(client):
            found = cast("bytes | None", client.hget(self._keys[0], app_id))
        return None if found is None else _decoded(app_id.encode(), found)

    async def put(self, table: AppTable, *, replacing: AppTable | None) -> None:
        """See `AppStore.put`."""
        app = parse_app(table, where="the app")
        text = _encoded(table)
        before = "" if replacing is None else _encoded(replacing)
        reply = await self._change(app.id, app.key, text, before)
        if reply == -1 and replacing is None:
            raise DriverError(
                f"there is an app with the id {shown(app.id)}: change it, or choose another id",
                code="app_exists",
            )
        if reply == -1:
            raise DriverError(
                f"the app {shown(app.id)} was changed or removed in the meantime: read it again",
                code="app_changed",
            )
        if reply == -2:  # noqa: PLR2004 (see the script)
            raise DriverError(
                f"another app has the key {shown(app.key)}: keys must differ", code="app_key_taken"
            )
        if reply == -3:  # noqa: PLR2004 (see the script)
            raise DriverError(
                f"there are {self._max_apps} apps, and no room for more: remove some",
                code="apps_full",
            )

    async def delete(self, app_id: str) -> bool:
        """See `AppStore.delete`."""
        if id_problem(app_id):
            return False
        return await self._change(app_id, "", "", "") == 1

    async def restore(self, tables: Mapping[str, AppTable]) -> bool:
        """See `AppStore.restore`."""
        args: list[str | bytes | int | float] = [self._topic, _new_version(), _CHANGED]
        for app_id, table in tables.items():
            args += (app_id, str(table["key"]), _encoded(table))
        script = load_script("apps_restore")
        return bool(await arun(self._clients.aio, script, self._keys, args, repeat_lost=True))

    @property
    def _topic(self) -> bytes:
        return self._clients.keys.apps_topic()

    async def _change(self, app_id: str, key: str, text: str, before: str) -> int:
        args: list[str | bytes | int | float] = [self._topic, self._max_apps, _new_version()]
        args += [_CHANGED, app_id, key, text, before]
        # A removal that is repeated would say that there was nothing to remove.
        script = load_script("apps_put")
        repeat = bool(key)
        return int(await arun(self._clients.aio, script, self._keys, args, repeat_lost=repeat))


def _new_version() -> str:
    return os.urandom(8).hex()


def _encoded(table: AppTable) -> str:
    text = json.dumps({"v": FORMAT, "app": table}, sort_keys=True, separators=(",", ":"))
    if len(text) > MAX_TABLE_BYTES:
        raise ConfigurationError(
            f"the app takes {len(text)} bytes; {MAX_TABLE_BYTES} are the most: "
            "give it fewer webhooks, or shorter headers"
        )
    return text


def _decoded(name: bytes, value: bytes) -> AppTable | None:
    try:
        record: object = json.loads(value)
        match record:
            case {"v": 1, "app": {"id": str(app_id), "key": str(_)} as table} if (
                app_id == name.decode()
            ):
                return cast("AppTable", table)
            case _:
                pass
    except (ValueError, RecursionError):
        pass
    _log.error("passed over an app that is none: %a", name[:80], extra={"event": "bug"})
    return None


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))
