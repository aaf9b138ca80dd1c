"""
Positions, kept envelopes and cached events, as ``scripts/publish.lua`` left them.

The position's hash lives a day after the last publish and is renewed by `touch`, so that
a channel on which nothing is said for long still proves its continuity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broadcaster.contracts.history import HistoryLimits
from broadcaster.drivers.redis.scripts_loader import aread
from broadcaster.protocol.envelope import NO_ID, START, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients

MAX_COMMANDS = 1_000


class RedisHistory:
    """See `broadcaster.contracts.history.History`."""

    def __init__(self, clients: RedisClients, limits: HistoryLimits | None = None) -> None:
        self._clients = clients
        self._limits = limits or HistoryLimits()

    async def positions(self, app_id: str, channels: Sequence[str]) -> list[Position]:
        """See `History.positions`."""
        keys = [self._clients.keys.channel(app_id, channel, "m") for channel in channels]
        rows = await self._pipelined([("HMGET", key, "o", "i") for key in keys])
        return [_position(offset, event_id) for offset, event_id in rows]

    async def read(self, app_id: str, channel: str) -> list[bytes]:
        """See `History.read`."""
        key = self._clients.keys.channel(app_id, channel, "h")
        kept: list[bytes] = (await self._pipelined([("LRANGE", key, 0, -1)]))[0]
        return kept

    async def cached(self, app_id: str, channel: str) -> bytes | None:
        """Return the last envelope of a cache channel, or None when it has expired."""
        key = self._clients.keys.channel(app_id, channel, "c")
        found: bytes | None = (await self._pipelined([("GET", key)]))[0]
        return found

    async def touch(self, app_id: str, channels: Sequence[str]) -> None:
        """See `History.touch`."""
        keys = [self._clients.keys.channel(app_id, channel, "m") for channel in channels]
        await self._pipelined([("EXPIRE", key, self._limits.meta_seconds) for key in keys])

    async def _pipelined(self, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
        """Run reads and EXPIREs in round trips of at most 1,000."""
        replies: list[Any] = []
        for start in range(0, len(commands), MAX_COMMANDS):
            replies += await aread(self._clients.aio, commands[start : start + MAX_COMMANDS])
        return replies


def _position(offset: bytes | None, event_id: bytes | None) -> Position:
    """Read a position; what is none of ours counts as none."""
    if offset is None or event_id is None or len(event_id) != len(NO_ID):
        return START
    return Position(int(offset), event_id) if offset.isdigit() else START
