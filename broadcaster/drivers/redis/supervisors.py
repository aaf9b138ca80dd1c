"""
What supervisors tell, on Redis: one hash, a field for each, with the store's moment before it.

Its key expires when nobody has told for `SUPERVISOR_SECONDS`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.contracts.supervision import SUPERVISOR_SECONDS, SupervisorStatus
from broadcaster.drivers.redis.client import translated
from broadcaster.drivers.redis.queue_stats import fields_of, seconds_of
from broadcaster.drivers.redis.scripts_loader import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients

_decoder = msgspec.json.Decoder(SupervisorStatus)


class RedisSupervisorBoard:
    """Implements `broadcaster.contracts.supervision.SupervisorBoard`."""

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients
        self._key = clients.keys.queues("supervisors")

    def tell(self, status: SupervisorStatus) -> None:
        """See `SupervisorBoard.tell`."""
        known, now = self._read()
        stamped = dataclasses.replace(status, seen_at=now)
        silent = [name for name, each in known.items() if _is_silent(each, now)]
        client = self._clients.sync
        with translated(client):
            pipeline = client.pipeline(transaction=True)
            pipeline.hset(self._key, status.name, msgspec.json.encode(stamped))  # type: ignore[arg-type]  # bytes are fine
            if silent:
                pipeline.hdel(self._key, *silent)
            pipeline.pexpire(self._key, round(SUPERVISOR_SECONDS * 1000))
            pipeline.execute()

    def read(self) -> Sequence[SupervisorStatus]:
        """See `SupervisorBoard.read`."""
        known, now = self._read()
        found = [each for each in known.values() if each is not None and not _is_silent(each, now)]
        return sorted(found, key=lambda each: each.name)

    def _read(self) -> tuple[dict[str, SupervisorStatus | None], float]:
        fields: Any
        fields, clock = read(self._clients.sync, [("HGETALL", self._key), ("TIME",)])
        told = {
            name.decode("utf-8", "replace"): _decoded(data)
            for name, data in fields_of(fields).items()
        }
        return told, seconds_of(clock)


def _decoded(data: bytes) -> SupervisorStatus | None:
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError):
        return None


def _is_silent(status: SupervisorStatus | None, now: float) -> bool:
    return status is None or now - status.seen_at > SUPERVISOR_SECONDS
