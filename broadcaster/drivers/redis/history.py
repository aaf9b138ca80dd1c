"""
Positions, kept envelopes and cached events, as ``scripts/publish.lua`` left them.

The position's hash lives a day after the last publish and is renewed by `touch`, so that
a channel on which nothing is said for long still proves its continuity.

The key of the cached event holds an envelope, or else the mark of who found it empty. An
event overwrites the mark, a mark never an event.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.history import MISS_SECONDS, Cached, HistoryLimits
from broadcaster.drivers.redis.scripts_loader import aread
from broadcaster.protocol.envelope import NO_ID, START, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients

MAX_COMMANDS = 1_000
_MARK = b"miss:"  # envelopes begin with their version, which is no letter


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

    async def cached(self, app_id: str, channels: Sequence[str]) -> list[Cached | None]:
        """See `History.cached`."""
        keys = [self._clients.keys.channel(app_id, channel, "c") for channel in channels]
        commands = [(command, key) for key in keys for command in ("GET", "TTL")]
        replies = await self._pipelined(commands)
        return [
            None if found is None or found.startswith(_MARK) or ttl < 0 else Cached(found, ttl or 1)
            for found, ttl in zip(replies[::2], replies[1::2], strict=True)
        ]

    async def missed(self, app_id: str, channels: Sequence[str]) -> list[bool]:
        """See `History.missed`. A mark names its writer, so a repeat finds its own."""
        mark = _MARK + os.urandom(16)
        commands: list[tuple[str | bytes | int, ...]] = []
        for channel in channels:
            key = self._clients.keys.channel(app_id, channel, "c")
            commands += [("SET", key, mark, "EX", MISS_SECONDS, "NX"), ("GET", key)]
        replies = await self._pipelined(commands)
        return [found == mark for found in replies[1::2]]

    async def touch(self, app_id: str, channels: Sequence[str]) -> None:
        """See `History.touch`."""
        keys = [self._clients.keys.channel(app_id, channel, "m") for channel in channels]
        await self._pipelined([("EXPIRE", key, self._limits.meta_seconds) for key in keys])

    async def _pipelined(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """Run reads, and writes that may be repeated, in round trips of at most 1,000."""
        replies: list[Any] = []
        for start in range(0, len(commands), MAX_COMMANDS):
            replies += await aread(self._clients.aio, commands[start : start + MAX_COMMANDS])
        return replies


def _position(offset: bytes | None, event_id: bytes | None) -> Position:
    """Read a position; what is none of ours counts as none."""
    if offset is None or event_id is None or len(event_id) != len(NO_ID):
        return START
    return Position(int(offset), event_id) if offset.isdigit() else START
