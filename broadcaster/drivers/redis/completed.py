"""
Done jobs on Redis; see `broadcaster.contracts.completed`.

One list for all queues, written by ``scripts/completed_add.lua``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.contracts.completed import CompletedJob
from broadcaster.drivers.redis.client import translated
from broadcaster.drivers.redis.scripts_loader import load_script, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CompletedJob).decode


class RedisCompletedJobs:
    """Implements `broadcaster.contracts.completed.CompletedJobs`."""

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients

    def add(self, jobs: Sequence[CompletedJob], *, most: int, seconds: float) -> None:
        """See `CompletedJobs.add`."""
        args: list[bytes | int] = [most, round(seconds * 1000), *map(_encode, jobs)]
        run(self._clients.sync, load_script("completed_add"), [self._key], args)

    def find(self, *, limit: int = 100) -> Sequence[CompletedJob]:
        """See `CompletedJobs.find`."""
        with translated(self._clients.sync):
            entries: Any = self._clients.sync.lrange(self._key, 0, max(0, limit - 1))
        return [job for entry in entries if (job := _read(entry)) is not None]

    @property
    def _key(self) -> str:
        return self._clients.keys.queues("completed")


def _read(entry: bytes) -> CompletedJob | None:
    """Return an entry, or None if another version wrote it."""
    noted, _, written = entry.partition(b" ")
    try:
        return dataclasses.replace(_decode(written), noted_at=int(noted) / 1000)
    except (ValueError, msgspec.MsgspecError):
        return None
