"""Connections per channel over all nodes, and what follows: ``scripts/occupancy_*.lua``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.outbox import Settled
from broadcaster.contracts.presence import Total
from broadcaster.drivers.redis.leases import NodeKeys, entry, node_name
from broadcaster.drivers.redis.scripts_loader import Call, arun_many, load_behind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from broadcaster.contracts.presence import Lease, Wanted
    from broadcaster.drivers.redis.client import RedisClients


class Totals:
    """
    Writes what each node counts, and keeps the sum.

    Args:
        clients: where it is kept.
        grace: seconds for which a channel may be empty without being vacated.
        batch: channels per script call.
    """

    def __init__(self, clients: RedisClients, *, grace: float = 3.0, batch: int = 200) -> None:
        self._clients = clients
        self._keys = NodeKeys(clients)
        self._grace_ms = round(grace * 1000)
        self._batch = batch

    async def set(
        self,
        lease: Lease,
        app_id: str,
        counts: Mapping[str, int],
        *,
        wanted: Wanted,
        announce: bool,
    ) -> dict[str, Total]:
        """See `PresenceStore.occupy`."""
        name = node_name(lease.node, lease.epoch)
        former = node_name(lease.node, lease.epoch - 1)
        keys = (self._keys.nodes, self._keys.occupancy(name), self._keys.occupancy(former))
        flags = (int(wanted.facts), int(wanted.counts), int(announce))
        head = (name, lease.until_ms, *flags, self._grace_ms)
        channels = list(counts)
        totals: dict[str, Total] = {}
        for first in range(0, len(channels), self._batch):
            some = channels[first : first + self._batch]
            flat = [part for name in some for part in (entry(app_id, name), counts[name])]
            version, *sums = await self._run("set", keys, *head, *flat) or [0]
            totals |= {name: Total(sum_, version) for name, sum_ in zip(some, sums, strict=False)}
        return totals

    async def sweep(self, name: str, *, batches: int) -> bool:
        """
        Subtract what a dead node counted.

        Args:
            name: ``node:epoch``.
            batches: script calls at most.

        Returns:
            Whether nothing is left.
        """
        keys = (self._keys.nodes, self._keys.occupancy(name))
        cursor: str | bytes = "0"
        for _ in range(batches):
            more, cursor = await self._run("sweep", keys, name, self._grace_ms, cursor, self._batch)
            if not more:
                return True
        return False

    async def settle(self) -> Settled:
        """See `Outbox.settle`."""
        wait_ms, facts = await self._run("settle", ())
        return Settled(None if wait_ms < 0 else wait_ms / 1000, facts)

    async def _run(self, verb: str, keys: Sequence[str], *args: str | bytes | int) -> list[Any]:
        call = Call(
            load_behind(f"occupancy_{verb}", "occupancy_totals"),
            (*self._keys.totals, *keys),
            (self._clients.prefix, *args),
        )
        (reply,) = await arun_many(self._clients.aio, [call], repeat_lost=True)
        return list(reply)
