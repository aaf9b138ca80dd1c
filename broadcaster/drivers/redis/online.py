"""Who is online, read for backends; gateways write it as presence (`watchlist`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.drivers.redis.scripts_loader import Command, aread, read
from broadcaster.protocol.sign_in import check_signed_in_id
from broadcaster.protocol.watchlist import online_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients

BATCH = 1_000


class RedisOnline:
    """See `OnlineReader`."""

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients

    def online(self, app_id: str, user_ids: Sequence[str]) -> list[bool]:
        """See `OnlineReader.online`."""
        return [
            bool(found)
            for batch in self._batches(app_id, user_ids)
            for found in read(self._clients.sync, batch)
        ]

    async def aonline(self, app_id: str, user_ids: Sequence[str]) -> list[bool]:
        """See `OnlineReader.aonline`."""
        return [
            bool(found)
            for batch in self._batches(app_id, user_ids)
            for found in await aread(self._clients.aio, batch)
        ]

    def _batches(self, app_id: str, user_ids: Sequence[str]) -> list[list[Command]]:
        """Ask whether each list has an entry: ``p:data``, see ``presence_channel.lua``."""
        keys = self._clients.keys
        commands: list[Command] = [
            ("EXISTS", keys.channel(app_id, online_list(check_signed_in_id(user_id)), "p:data"))
            for user_id in user_ids
        ]
        return [commands[first : first + BATCH] for first in range(0, len(commands), BATCH)]
