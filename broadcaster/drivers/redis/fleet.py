"""Workers on Redis: see `broadcaster.contracts.fleet` for what is kept of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.contracts.fleet import RECORD_SECONDS, WorkerRecord
from broadcaster.drivers.redis.scripts_loader import arun, load_script
from broadcaster.drivers.redis.scripts_loader import run as run_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients

MAX_LISTED = 1_000


class RedisFleet:
    """
    Implements `broadcaster.contracts.fleet.Fleet`.

    Args:
        clients: connections.
        silence: seconds after which a worker is no longer listed.
    """

    def __init__(self, clients: RedisClients, silence: float = RECORD_SECONDS) -> None:
        self._clients = clients
        self._silence_ms = round(silence * 1000)
        keys = clients.keys
        self._records = [keys.queues("workers"), keys.queues("worker_times")]
        self._restart = keys.queues("restart")

    async def beat(self, record: WorkerRecord) -> float:
        """See `Fleet.beat`."""
        keys = [*self._records, self._restart]
        args: list[str | bytes | int | float] = [
            record.id,
            msgspec.json.encode(record),
            self._silence_ms,
        ]
        client = self._clients.aio
        reply = await arun(client, load_script("fleet_beat"), keys, args, repeat_lost=True)
        return int(reply) / 1000

    async def leave(self, worker_id: str) -> None:
        """See `Fleet.leave`."""
        script = load_script("fleet_leave")
        await arun(self._clients.aio, script, self._records, [worker_id], repeat_lost=True)

    def workers(self) -> Sequence[WorkerRecord]:
        """See `Fleet.workers`. The 1,000 that described themselves last are listed."""
        script, args = load_script("fleet_list"), [self._silence_ms, MAX_LISTED]
        reply = run_script(self._clients.sync, script, self._records, args, repeat_lost=True)
        return parse_workers(reply)

    def restart(self) -> float:
        """See `Fleet.restart`."""
        script = load_script("fleet_restart")
        reply = run_script(self._clients.sync, script, [self._restart], [], repeat_lost=True)
        return int(reply) / 1000


def parse_workers(reply: Sequence[Any]) -> list[WorkerRecord]:
    """Return the reply of ``fleet_list.lua`` as values; what cannot be read is left out."""
    found: list[WorkerRecord] = []
    for seen_ms, data in zip(reply[::2], reply[1::2], strict=True):
        try:
            record = msgspec.json.decode(data, type=WorkerRecord)
        except (ValueError, RecursionError):
            continue
        found.append(dataclasses.replace(record, seen_at=float(seen_ms) / 1000))
    return sorted(found, key=lambda record: (record.name, record.id))
