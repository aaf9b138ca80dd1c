"""
Presence joins and leaves of this node: in order per channel, retried until Redis answers.

The store decides who is first in and last out, and publishes the deltas itself. This
module keeps what must be registered again after an outage (`members`), and the order:
operations of one channel run one after the other in one task, so that a leave can never
overtake the join it follows. A subscription is answered only when its join is in Redis:
while Redis is away its answer waits.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from broadcaster.contracts.presence import Member, Refused, Snapshot
from broadcaster.errors import DriverRefused, DriverUnavailable, LeaseLost
from broadcaster.gateway.presence_channel import PresenceChannel, is_outdated
from broadcaster.gateway.presence_queue import FinishOp, JoinOp, LeaveOp, RefreshOp, RegisterOp
from broadcaster.protocol import close_codes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from broadcaster.contracts.outbox import Source
    from broadcaster.contracts.presence import Lease, PresenceStore
    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.lease import LeaseKeeper
    from broadcaster.gateway.presence_queue import Operation
    from broadcaster.gateway.tasks import TaskOwner
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.hub.hub import Hub

_log = logging.getLogger("broadcaster.gateway")

RETRY_SECONDS = 0.2
REFUSED_SECONDS = 5.0
RECOVERY_SECONDS = 7.0
_REPEATED = (LeaseLost, DriverUnavailable, DriverRefused)
UNLIMITED = 2**31  # a node that comes back brings no new members


class Rosters:
    """
    See the module.

    Args:
        grace: seconds that a member may be away unannounced.
        wake: called with a channel when facts may have come into its outbox.
        entered: told app, name and topic when a first member came in here.
    """

    def __init__(
        self,
        hub: Hub,
        store: PresenceStore,
        lease: LeaseKeeper,
        tasks: TaskOwner,
        *,
        grace: float,
        wake: Callable[[Source], None],
        entered: Callable[[str, str, bytes], Awaitable[None]],
    ) -> None:
        self._hub = hub
        self._store = store
        self._lease = lease
        self._tasks = tasks
        self._grace = grace
        self._wake = wake
        self._entered = entered
        self._channels: dict[bytes, PresenceChannel] = {}

    # -- what the node asks for, synchronously ----------------------------------------

    def join(
        self, channel: LocalChannel, connection: Connection, generation: int, member: Member
    ) -> None:
        """Join `member`; the outcome reaches the connection's session."""
        presence = self._presence(channel)
        presence.facts |= connection.app.wants_facts
        self._enqueue(presence, JoinOp(connection, generation, member))

    def leave(self, topic: bytes, app_id: str, name: str, socket_id: str) -> None:
        """Take a connection out, after whatever was asked for it before."""
        presence = self._channels.get(topic)
        if presence is not None:
            self._enqueue(presence, LeaveOp(socket_id))
        else:
            _log.debug("nothing to leave in %s", name, extra={"app": app_id, "channel": name})

    def refresh(self, channel: LocalChannel, *, always: bool = False) -> None:
        """Read the member list again and repair what subscribers here believe."""
        self._enqueue(self._presence(channel), RefreshOp(always))

    async def register_all(self, lease: Lease, *, data_lost: bool) -> None:
        """Register every member of this node under a new lease, then repair the lists."""
        held = [
            (presence, socket_id, member)
            for presence in self._channels.values()
            for socket_id, member in presence.members.items()
        ]
        kept = list(dict.fromkeys(presence for presence, _, _ in held))
        for presence in kept:
            presence.begin_registration()
        try:
            await self._register_held(lease, held, announce=not data_lost)
        finally:
            for presence in kept:
                presence.end_registration()
                if not presence.members:  # nobody has forgotten it meanwhile
                    self._enqueue(presence, FinishOp())
        delay = RECOVERY_SECONDS if data_lost else 0.0
        for channel in list(self._hub.channels.values()):
            if channel.roster is not None:
                if data_lost:
                    channel.roster = None
                self._later(delay, channel.topic, RefreshOp(always=True))

    async def _register_held(
        self,
        lease: Lease,
        held: Sequence[tuple[PresenceChannel, str, Member]],
        *,
        announce: bool,
    ) -> None:
        joins = [
            presence.joining(socket_id, member, limit=UNLIMITED)
            for presence, socket_id, member in held
        ]
        answers = await self._store.join_many(lease, joins, announce=announce)
        for (presence, socket_id, member), answer in zip(held, answers, strict=True):
            presence.indexed = lease.epoch
            now = presence.members.get(socket_id)
            # Alone and later if it was refused: the node needs its lease. Or it is somebody else
            # by now, and there is no telling who was written last.
            if isinstance(answer, DriverRefused) or now not in (None, member):
                self._enqueue(presence, RegisterOp(announce=announce))
            if now is None:  # it left while we were registering it
                presence.ops.undo(socket_id)
                self._start(presence)

    async def settled(self, *, within: float) -> None:
        """Wait until nothing is under way, for `within` seconds at most."""
        deadline = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < deadline:
            if not any(presence.busy for presence in self._channels.values()):
                return
            await asyncio.sleep(0.01)

    # -- one task per busy channel ----------------------------------------------------

    def _presence(self, channel: LocalChannel) -> PresenceChannel:
        presence = self._channels.get(channel.topic)
        if presence is None:
            presence = self._channels[channel.topic] = PresenceChannel(
                channel.topic, channel.app_id, channel.name
            )
        return presence

    def _enqueue(self, presence: PresenceChannel, op: Operation) -> None:
        presence.ops.add(op)
        self._start(presence)

    def _start(self, presence: PresenceChannel) -> None:
        if presence.ops and not presence.busy:
            presence.busy = True
            self._tasks.spawn(self._drain(presence), f"presence {presence.name}")

    def _later(self, delay: float, topic: bytes, op: Operation) -> None:
        def start() -> None:
            presence = self._channels.get(topic)
            if presence is not None:
                self._enqueue(presence, op)

        self._tasks.later(delay, start)

    async def _drain(self, presence: PresenceChannel) -> None:
        try:
            while presence.ops:
                await self._next(presence)
        finally:
            presence.busy = False
        if presence.is_over:
            del self._channels[presence.topic]

    async def _next(self, presence: PresenceChannel) -> None:
        """Carry out the first operation, or the joins that stand at the front together."""
        ops = presence.ops.begin()
        op = ops[0]
        try:
            if isinstance(op, JoinOp):
                await self._join(presence, [op for op in ops if isinstance(op, JoinOp)])
                return
            await self._carry_out(presence, op)
            presence.ops.done(1)
        except LeaseLost:
            self._lease.wake()
            await asyncio.sleep(RETRY_SECONDS)
        except DriverUnavailable:
            await asyncio.sleep(RETRY_SECONDS)
        except DriverRefused as error:  # only this channel waits, until its key is repaired
            presence.refused(error)
            await asyncio.sleep(REFUSED_SECONDS)
        except Exception as error:  # noqa: BLE001 - the others in the room wait behind this one
            presence.ops.done(len(ops))
            presence.complain(error)
            for op in ops:
                if isinstance(op, JoinOp):
                    self._failed(presence, op)

    async def _carry_out(
        self, presence: PresenceChannel, op: LeaveOp | FinishOp | RefreshOp | RegisterOp
    ) -> None:
        if isinstance(op, LeaveOp):
            await self._leave(presence, op)
        elif isinstance(op, FinishOp):
            await self._finish(presence)
        elif isinstance(op, RegisterOp):
            await self._register(presence, announce=op.announce)
        else:
            await self._refresh(presence, always=op.always)

    def _told(self, presence: PresenceChannel) -> None:
        if presence.facts:
            self._wake((presence.app_id, presence.name))

    def _failed(self, presence: PresenceChannel, op: JoinOp) -> None:
        """Answer a join that ended in a fault, and undo what it may have written."""
        connection = op.connection
        if not connection.session.is_current(presence.name, op.generation):
            return  # its leave is behind us in the queue, perhaps a new join too
        presence.ops.add(LeaveOp(connection.socket_id))
        self._hub.remove(presence.topic, connection)
        connection.act(connection.session.failed(presence.name, op.generation))

    async def _join(self, presence: PresenceChannel, ops: list[JoinOp]) -> None:
        live = [op for op in ops if op.connection.session.is_current(presence.name, op.generation)]
        registrations = presence.registrations
        answers: list[Snapshot | Refused | Exception] = []
        if live:
            lease = await self._lease.current()
            for op in live:
                # Before the first write: an answer may get lost, and a leave must undo it.
                presence.members[op.connection.socket_id] = op.member
            if presence.indexed != lease.epoch:
                await self._store.index_add(lease, presence.app_id, presence.name)
                presence.indexed = lease.epoch
            answers = await _all(self._join_one(lease, presence, op) for op in live)
            came = any(isinstance(answer, Snapshot) for answer in answers)
            if came and presence.facts and not self._hub.channels.get(presence.topic):
                await self._entered(presence.app_id, presence.name, presence.topic)
        presence.ops.done(len(ops))
        self._told(presence)
        for op, answer in zip(live, answers, strict=True):
            if isinstance(answer, Exception):
                presence.complain(answer)
                self._failed(presence, op)
                continue
            if isinstance(answer, Refused) and presence.registered_since(registrations):
                presence.ops.undo(op.connection.socket_id)  # let in by that, perhaps
            try:
                self._joined(presence, op, answer)
            except Exception as error:  # noqa: BLE001 - one member's fault is not the others'
                presence.complain(error)
                self._failed(presence, op)

    async def _join_one(
        self, lease: Lease, presence: PresenceChannel, op: JoinOp
    ) -> Snapshot | Refused:
        connection = op.connection
        limit = connection.app.limits.presence_members
        join = presence.joining(connection.socket_id, op.member, limit=limit)
        return await self._store.join(
            lease,
            join.app_id,
            join.channel,
            socket_id=join.socket_id,
            member=join.member,
            added_frame=join.added_frame,
            max_members=join.max_members,
            facts=join.facts,
        )

    def _joined(self, presence: PresenceChannel, op: JoinOp, answer: Snapshot | Refused) -> None:
        connection = op.connection
        if isinstance(answer, Refused):
            presence.members.pop(connection.socket_id, None)
        if not connection.session.is_current(presence.name, op.generation):
            return  # left meanwhile: its leave is behind us in the queue, perhaps a new join too
        channel = self._hub.channels.get(presence.topic)
        joining = channel.joining.pop(connection, None) if channel is not None else None
        if channel is None or joining is None:
            return
        if isinstance(answer, Refused):
            error = (
                f"A presence channel has at most {connection.app.limits.presence_members} members"
            )
            connection.act(
                connection.session.refused(presence.name, op.generation, error=error, status=4100)
            )
            self._hub.close_if_empty(channel)
            return
        if joining.overflowed:
            connection.close(close_codes.SLOW_CONSUMER)
            return
        self._hub.flush()
        connection.joined(presence.name, op.generation, presence.member_list(answer))
        for frame in joining.after(answer.version, connection.socket_id):
            connection.send_raw(frame)
        if connection.session.is_current(presence.name, op.generation):  # else it was too slow
            self._hub.add_member(channel, connection, answer.version)

    async def _leave(self, presence: PresenceChannel, op: LeaveOp) -> None:
        presence.members.pop(op.socket_id, None)
        lease = await self._lease.current()
        delay = await self._store.leave(
            lease, presence.app_id, presence.name, socket_id=op.socket_id, grace=self._grace
        )
        self._told(presence)
        if delay is not None:
            self._later(delay, presence.topic, FinishOp())
        elif not presence.members:
            presence.ops.add(FinishOp())

    async def _finish(self, presence: PresenceChannel) -> None:
        delay = await self._store.finish(presence.app_id, presence.name)
        self._told(presence)
        if delay is not None:
            self._later(delay, presence.topic, FinishOp())
        elif not presence.is_held and presence.indexed is not None:
            await self._store.index_remove(
                await self._lease.current(), presence.app_id, presence.name
            )
            presence.indexed = None

    async def _register(self, presence: PresenceChannel, *, announce: bool) -> None:
        """Add everybody of this node again, whose list could not be used under a new lease."""
        lease = await self._lease.current()
        joins = [
            presence.joining(socket_id, member, limit=UNLIMITED)
            for socket_id, member in presence.members.items()
        ]
        for answer in await self._store.join_many(lease, joins, announce=announce):
            if isinstance(answer, DriverRefused):
                raise answer

    async def _refresh(self, presence: PresenceChannel, *, always: bool) -> None:
        await self._lease.confirm()
        before = self._roster(presence)
        snapshot = await self._store.snapshot(presence.app_id, presence.name)
        channel = self._hub.channels.get(presence.topic)
        if channel is None:
            return
        if not always and channel.roster in (None, snapshot.version):
            # Nothing was missed; or the data is lost, and a list that not every node has
            # come back to would make members vanish: the later refresh tells the truth.
            return
        if is_outdated(snapshot.version, before, channel.roster):
            if always or (before is not None and snapshot.version < before):
                self._later(RETRY_SECONDS, presence.topic, RefreshOp(always))
            return
        self._hub.broadcast(channel, presence.member_list(snapshot))
        self._hub.flush()
        channel.roster = snapshot.version
        channel.ahead.clear()

    def _roster(self, presence: PresenceChannel) -> int | None:
        channel = self._hub.channels.get(presence.topic)
        return None if channel is None else channel.roster


async def _all(
    joins: Iterable[Awaitable[Snapshot | Refused]],
) -> list[Snapshot | Refused | Exception]:
    """
    Return every outcome, or raise what asks for a repetition when none is under way any more.

    A join that were left behind could reach Redis after the leave that follows it.
    """
    outcomes = await asyncio.gather(*joins, return_exceptions=True)
    answers: list[Snapshot | Refused | Exception] = []
    for outcome in outcomes:
        if isinstance(outcome, _REPEATED) or not isinstance(
            outcome, (Snapshot, Refused, Exception)
        ):
            raise outcome
        answers.append(outcome)
    return answers
