"""
Presence and occupancy in Redis.

Connections belong to a node and an epoch, and each node has a lease. Whether a
connection is a user's first or last is decided in Lua, in the same script that publishes
the change. What a node leaves behind when it dies is found through its index.

==========================================  ==========================================
`broadcaster.drivers.redis.member_list`     who is in a channel: slot ``{app:channel}``
`broadcaster.drivers.redis.leases`          nodes, leases, index: slot ``{nodes}``
`broadcaster.drivers.redis.totals`          connections per channel: slot ``{nodes}``
`broadcaster.drivers.redis.occupancy`       the same, to be read
`broadcaster.drivers.redis.sweeper`         what becomes of the dead
==========================================  ==========================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.presence import NOTHING, Joining, Refused, Snapshot
from broadcaster.drivers.redis.leases import Leases, entry
from broadcaster.drivers.redis.member_list import MemberLists
from broadcaster.drivers.redis.occupancy import Occupancy
from broadcaster.drivers.redis.sweeper import Sweeper
from broadcaster.drivers.redis.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.presence import Lease, Member, Renewal, Total, Wanted
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.errors import DriverRefused


class RedisPresence:
    """
    See `PresenceStore`.

    Args:
        clients: connections to the Redis that all gateways share.
        lease: seconds after which a node that does not renew counts as dead.
        sweep_after: seconds between the end of a lease and its sweep. Its members are
            announced as gone about this long after, and another second at most.
        vacate_grace: seconds for which a channel may be empty without being vacated.
        batch: connections or channels that one script call handles at most.
    """

    def __init__(
        self,
        clients: RedisClients,
        *,
        lease: float = 15.0,
        sweep_after: float = 1.5,
        vacate_grace: float = 3.0,
        batch: int = 200,
    ) -> None:
        self._batch = batch
        self._leases = Leases(clients, seconds=lease)
        self._lists = MemberLists(clients, batch=batch)
        self._occupancy = Occupancy(clients)
        self._totals = Totals(clients, grace=vacate_grace, batch=batch)
        self._sweeper = Sweeper(clients, self._lists, self._totals, after=sweep_after)

    async def renew(self, node: str, epoch: int) -> Renewal:
        """See `PresenceStore.renew`."""
        return await self._leases.renew(node, epoch)

    async def join(
        self,
        lease: Lease,
        app_id: str,
        channel: str,
        *,
        socket_id: str,
        member: Member,
        added_frame: bytes,
        max_members: int,
        removed_frame: bytes | None = None,
        facts: bool = False,
        announce: bool = True,
    ) -> Snapshot | Refused:
        """See `PresenceStore.join`."""
        join = Joining(
            app_id, channel, socket_id, member, added_frame, max_members, removed_frame, facts
        )
        return await self._lists.join(lease, join, announce=announce)

    async def join_many(
        self, lease: Lease, joins: Sequence[Joining], *, announce: bool = False
    ) -> list[Refused | DriverRefused | None]:
        """See `PresenceStore.join_many`."""
        answers: list[Refused | DriverRefused | None] = []
        for first in range(0, len(joins), self._batch):
            some = joins[first : first + self._batch]
            channels = dict.fromkeys(entry(join.app_id, join.channel) for join in some)
            await self._leases.index_add(lease, channels)
            answers += await self._lists.join_each(lease, some, announce=announce)
        return answers

    async def leave(
        self, lease: Lease, app_id: str, channel: str, *, socket_id: str, grace: float
    ) -> float | None:
        """See `PresenceStore.leave`."""
        return await self._lists.leave(lease, app_id, channel, socket_id=socket_id, grace=grace)

    async def finish(self, app_id: str, channel: str) -> float | None:
        """See `PresenceStore.finish`."""
        return await self._lists.finish(app_id, channel)

    async def snapshot(self, app_id: str, channel: str) -> Snapshot:
        """See `PresenceStore.snapshot`."""
        (snapshot,) = await self._lists.snapshots(app_id, [channel])
        return snapshot

    async def snapshots(self, app_id: str, channels: Sequence[str]) -> list[Snapshot]:
        """See `PresenceStore.snapshots`."""
        found: list[Snapshot] = []
        for first in range(0, len(channels), self._batch):
            found += await self._lists.snapshots(app_id, channels[first : first + self._batch])
        return found

    async def index_add(self, lease: Lease, app_id: str, channel: str) -> None:
        """See `PresenceStore.index_add`."""
        await self._leases.index_add(lease, [entry(app_id, channel)])

    async def index_remove(self, lease: Lease, app_id: str, channel: str) -> None:
        """See `PresenceStore.index_remove`."""
        await self._leases.index_remove(lease, entry(app_id, channel))

    async def sweep(self) -> float:
        """See `PresenceStore.sweep`."""
        return await self._sweeper.step()

    async def retire(self, lease: Lease) -> None:
        """See `PresenceStore.retire`."""
        await self._leases.retire(lease)

    async def occupy(
        self,
        lease: Lease,
        app_id: str,
        counts: Mapping[str, int],
        *,
        wanted: Wanted = NOTHING,
        announce: bool = True,
    ) -> Mapping[str, Total]:
        """See `PresenceStore.occupy`."""
        return await self._totals.set(lease, app_id, counts, wanted=wanted, announce=announce)

    async def occupied(self, app_id: str, prefix: str = "") -> Mapping[str, int]:
        """See `PresenceStore.occupied`."""
        return await self._occupancy.occupied(app_id, prefix)

    async def counts(self, app_id: str, channels: Sequence[str], *, without: str = "") -> list[int]:
        """See `PresenceStore.counts`."""
        return await self._occupancy.counts(app_id, channels, without=without)

    async def member_counts(self, app_id: str, channels: Sequence[str]) -> list[int]:
        """See `PresenceStore.member_counts`."""
        return await self._lists.counts(app_id, channels)
