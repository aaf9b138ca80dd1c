"""Who is in each presence channel, and which channels are occupied, as every node sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.errors import DriverRefused


class Lease(NamedTuple):
    """
    What a node needs to write presence.

    Attributes:
        node: name of this process, unique per start.
        epoch: rises by one when the node registers everything anew.
        until_ms: Redis time at which Redis starts refusing this epoch's writes.
    """

    node: str
    epoch: int
    until_ms: int


class Renewal(NamedTuple):
    """
    The answer to a renewal.

    Attributes:
        lease: with the new end.
        existed: False when Redis did not know this node and epoch (swept, or data lost).
        incarnation: identifies the data set; it changes when Redis came back empty.
        run_id: identifies the server process; it changes with every restart.
    """

    lease: Lease
    existed: bool
    incarnation: str
    run_id: str


class Member(NamedTuple):
    """
    A user of a presence channel.

    Attributes:
        user_id: canonical text, the key everywhere (``10`` and ``"10"`` are one member).
        data: JSON text ``{"user_id":...,"user_info":...}`` with the id in its original type;
            what ``member_added`` carries.
    """

    user_id: str
    data: str


class Snapshot(NamedTuple):
    """
    A presence channel at one moment.

    Attributes:
        version: rises with each member_added and member_removed; deltas carry it too.
        members: `Member.data` by user id, oldest first.
    """

    version: int
    members: Mapping[str, str]


class Refused(NamedTuple):
    """A join that was not made because the channel is full."""

    members: int


class Joining(NamedTuple):
    """One connection to add; the attributes are the arguments of `PresenceStore.join`."""

    app_id: str
    channel: str
    socket_id: str
    member: Member
    added_frame: bytes
    max_members: int
    removed_frame: bytes | None = None
    facts: bool = False


class Wanted(NamedTuple):
    """
    What somebody wants to be told about an app's channels.

    Attributes:
        facts: that channels are occupied and vacated, and `counts` as facts.
        counts: subscribers of channels other than presence ones, how many they are.
    """

    facts: bool = False
    counts: bool = False


NOTHING = Wanted()


class Total(NamedTuple):
    """
    Connections of a channel over all nodes, at one moment.

    Attributes:
        connections: how many.
        version: rises from moment to moment; count envelopes carry it too.
    """

    connections: int
    version: int


class PresenceStore(Protocol):
    """
    Presence and occupancy over all nodes.

    A member is present while at least one of their connections is. Every call is atomic
    per channel and safe to repeat. `member_added` and `member_removed` are published by
    the same script that changes the list (as presence envelopes that carry the version),
    so no crash can fall between the two. A write whose lease has ended raises
    `LeaseLost`; a store that cannot be reached raises `DriverUnavailable`, one that finds a
    key it cannot use `DriverRefused`.
    """

    async def renew(self, node: str, epoch: int) -> Renewal:
        """
        Start or extend the lease of `node` in `epoch`.

        A lease that has ended is not extended, for somebody may be sweeping it: the answer
        has `existed` False and the old end, and the node goes on in the next epoch.
        """
        ...

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
        """
        Add one connection of `member`.

        Args:
            added_frame: the ``member_added`` frame, published when this is the member's
                first connection and they are not just reloading (see `leave`); the
                joining socket is excluded.
            max_members: a *new* member over this count is refused; a further connection
                of a present member never is.
            removed_frame: published when they are gone; None for the ``member_removed``
                of a presence channel.
            facts: whether `member_added` and `member_removed` of this user become facts, in
                the channel's `Outbox`; what the member's first connection says holds.
            announce: False when a node registers everything again after data loss.
        """
        ...

    async def join_many(
        self, lease: Lease, joins: Sequence[Joining], *, announce: bool = False
    ) -> list[Refused | DriverRefused | None]:
        """
        Add many connections, of one or more channels, in few round trips.

        For a node that registers everything again after an outage: its connections in
        the epoch before are taken over, so nobody comes or goes. The channels are noted
        in the node's index first. Member lists are not answered; read a `snapshot` of each
        channel when all nodes had time to come back.

        Returns:
            Per connection None, or `Refused` when its channel is full, or the error when the
            list of its channel cannot be used, which does not hold the others up. A call that
            raises may have added some; it can be repeated.
        """
        ...

    async def leave(
        self, lease: Lease, app_id: str, channel: str, *, socket_id: str, grace: float
    ) -> float | None:
        """
        Remove one connection.

        Returns:
            None while the member has other connections, or when they were announced at
            once because `grace` is 0; else the seconds until `finish` may announce that
            they are gone. A repeat for a connection that is no longer there answers when
            the next member of the channel is due, None when nobody is leaving.
        """
        ...

    async def finish(self, app_id: str, channel: str) -> float | None:
        """
        Announce members whose grace is over as removed.

        Returns:
            Seconds until the next one is due, or None when nobody is leaving and no fact
            waits in the channel's outbox.
        """
        ...

    async def snapshot(self, app_id: str, channel: str) -> Snapshot:
        """Return the member list."""
        ...

    async def snapshots(self, app_id: str, channels: Sequence[str]) -> list[Snapshot]:
        """Return the member list of each given channel, each as of its own moment."""
        ...

    async def index_add(self, lease: Lease, app_id: str, channel: str) -> None:
        """
        Note, before a first join, that this node has members in `channel`.

        Raises `LeaseLost` also when Redis does not know the lease (swept, or data lost).
        Of this and `index_remove`, what was *called* last holds, whichever arrives last.
        """
        ...

    async def index_remove(self, lease: Lease, app_id: str, channel: str) -> None:
        """Forget it, after the last one left and was announced."""
        ...

    async def sweep(self) -> float:
        """
        Finish what dead nodes left behind, one bounded step under a lock.

        Returns:
            Seconds until the next step is due.
        """
        ...

    async def retire(self, lease: Lease) -> None:
        """
        End this node's lease now: the next sweep, on any node, removes its connections.

        Members who are left without one are announced at once; those who were leaving
        already keep the rest of their grace. No write under this lease may be under way.
        """
        ...

    async def occupy(
        self,
        lease: Lease,
        app_id: str,
        counts: Mapping[str, int],
        *,
        wanted: Wanted = NOTHING,
        announce: bool = True,
    ) -> Mapping[str, Total]:
        """
        Set this node's number of connections for each given channel; 0 forgets it.

        The first connection over all nodes becomes the fact ``channel_occupied``; when the
        last one is gone for longer than the grace, ``channel_vacated``. Subscribers are told
        a new total by the store itself. Names that begin with ``#`` are only counted. A node
        that registers everything anew takes the counts of its epoch before over.

        Args:
            wanted: what becomes of it, beside the numbers.
            announce: False when a node registers everything again after data loss.

        Returns:
            The totals when `wanted.counts`, else nothing.
        """
        ...

    async def occupied(self, app_id: str, prefix: str = "") -> Mapping[str, int]:
        """Return connections per occupied channel over all live nodes."""
        ...

    async def counts(self, app_id: str, channels: Sequence[str], *, without: str = "") -> list[int]:
        """
        Return connections of each given channel over all live nodes.

        Args:
            without: name of a node whose connections do not count.
        """
        ...

    async def member_counts(self, app_id: str, channels: Sequence[str]) -> list[int]:
        """Return the number of distinct members of each given presence channel."""
        ...
