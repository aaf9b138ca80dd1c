"""What tests of presence do around the store: hear what is announced, let time pass."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.contracts.presence import Joining, Member, Refused, Snapshot
from broadcaster.drivers.redis.presence import RedisPresence
from broadcaster.protocol.envelope import Envelope, decode_envelope
from broadcaster.protocol.messages import encode_member_added

if TYPE_CHECKING:
    from redis.client import PubSub

    from broadcaster.contracts.presence import Lease
    from broadcaster.drivers.redis.client import RedisClients

APP = "123"
ROOM = "presence-room"
LEASE = 15.0
GRACE = 60.0
END = b"end"


class Delta(NamedTuple):
    """One announcement, as the gateways hear it."""

    version: int
    event: str
    user_id: str
    excluded: str


class World:
    """
    One Redis as the tests of a driver see it.

    Time passes when a test says so, by moving the moments that Redis remembers into the
    past; nothing waits for a clock.
    """

    def __init__(self, clients: RedisClients, *, batch: int = 200) -> None:
        self.clients = clients
        self.store = RedisPresence(clients, lease=LEASE, sweep_after=1.5, batch=batch)
        self._ears: dict[str, PubSub] = {}

    def listen(self, channel: str = ROOM) -> None:
        """Begin to hear what is announced on a channel."""
        ear: PubSub = self.clients.sync.pubsub()  # type: ignore[no-untyped-call]  # not annotated by redis-py
        ear.subscribe(self.clients.keys.topic(APP, channel).decode())
        assert ear.get_message(timeout=2) is not None
        self._ears[channel] = ear

    def envelopes(self, channel: str = ROOM) -> list[Envelope]:
        """Return what was published since the last call."""
        self.clients.sync.publish(self.clients.keys.topic(APP, channel).decode(), END)
        heard: list[Envelope] = []
        while True:
            message = self._ears[channel].get_message(timeout=2)
            assert message is not None, "the published end did not arrive"
            if message["data"] == END:
                return heard
            heard.append(decode_envelope(message["data"]))

    def deltas(self, channel: str = ROOM) -> list[Delta]:
        """Return what was announced since the last call."""
        return [as_delta(envelope) for envelope in self.envelopes(channel)]

    def announced(self, channel: str = ROOM) -> list[str]:
        """Return ``+user`` and ``-user`` since the last call."""
        return [
            ("+" if delta.event == "pusher_internal:member_added" else "-") + delta.user_id
            for delta in self.deltas(channel)
        ]

    async def lease(self, node: str, epoch: int = 1) -> Lease:
        """Return a lease that has just been renewed."""
        return (await self.store.renew(node, epoch)).lease

    async def join(
        self, lease: Lease, socket_id: str, user: str, channel: str = ROOM, *, limit: int = 1000
    ) -> Snapshot | Refused:
        """Note the channel and join it, as a gateway does."""
        await self.store.index_add(lease, APP, channel)
        one = joining(socket_id, user, channel, limit=limit)
        return await self.store.join(
            lease,
            APP,
            channel,
            socket_id=socket_id,
            member=one.member,
            added_frame=one.added_frame,
            max_members=limit,
        )

    async def leave(
        self, lease: Lease, socket_id: str, channel: str = ROOM, *, grace: float = 0.0
    ) -> float | None:
        """Leave a channel, at once if not said otherwise."""
        return await self.store.leave(lease, APP, channel, socket_id=socket_id, grace=grace)

    async def users(self, channel: str = ROOM) -> list[str]:
        """Return who is in the list, oldest first."""
        return list((await self.store.snapshot(APP, channel)).members)

    def end_lease(self, lease: Lease) -> None:
        """Let the lease be over for a while: the node is due for a sweep."""
        self._score("{nodes}:leases", f"{lease.node}:{lease.epoch}", lease.until_ms - 20_000)

    def end_lease_only(self, lease: Lease) -> None:
        """Let the lease be over since a moment: refused, but not due for a sweep yet."""
        seconds, microseconds = self.clients.sync.time()
        now_ms = seconds * 1000 + microseconds // 1000
        self._score("{nodes}:leases", f"{lease.node}:{lease.epoch}", now_ms - 1)

    def end_graces(self, channel: str = ROOM) -> None:
        """Let everybody's time to come back be over."""
        key = self.clients.keys.channel(APP, channel, "p:leaving")
        for user in self.clients.sync.zrange(key, 0, -1):
            self.clients.sync.execute_command("ZADD", key, 1, user)  # type: ignore[no-untyped-call]  # not annotated by redis-py

    def lose_everything(self) -> None:
        """Delete all keys, as FLUSHALL or a restart without an append-only file does."""
        for key in self.all_keys():
            self.clients.sync.delete(key)

    def all_keys(self) -> list[str]:
        """Return the keys of this test."""
        pattern = f"{self.clients.prefix}:*"
        return sorted(key.decode() for key in self.clients.sync.scan_iter(pattern, count=1000))

    def close(self) -> None:
        """Stop listening."""
        for ear in self._ears.values():
            ear.close()

    def _score(self, key: str, member: str, score: float) -> None:
        self.clients.sync.zadd(f"{self.clients.prefix}:{key}", {member: score}, xx=True)


def member(user: str, name: str = "") -> Member:
    """Return a member with a string id."""
    data = {"user_id": user, "user_info": {"name": name or user}}
    return Member(user, json.dumps(data, separators=(",", ":")))


def joining(socket_id: str, user: str, channel: str = ROOM, *, limit: int = 1000) -> Joining:
    """Return the arguments of a join."""
    one = member(user)
    frame = encode_member_added(channel, one.data)
    return Joining(APP, channel, socket_id, one, frame, limit)


def as_delta(envelope: Envelope) -> Delta:
    """Read an announcement as pusher-js does."""
    frame = json.loads(envelope.frame)
    user_id = str(json.loads(frame["data"])["user_id"])
    return Delta(envelope.offset, frame["event"], user_id, envelope.excluded)
