"""The member list of each presence channel; the rules are in ``scripts/presence_*.lua``."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from broadcaster.contracts.presence import Joining, Lease, Refused, Snapshot
from broadcaster.drivers.redis.client import VERB_SECONDS, translated
from broadcaster.drivers.redis.leases import node_name
from broadcaster.drivers.redis.scripts_loader import Call, arun_many, load_behind
from broadcaster.errors import DriverRefused
from broadcaster.protocol.messages import encode_member_removed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients

_PARTS = ("connections", "tabs", "data", "goodbye", "order", "leaving", "version", "told", "facts")
_GLOB = re.compile(r"([\\*?\[\]])")


class Progress(NamedTuple):
    """
    How far the sweep of a channel is.

    Attributes:
        cursor: where to go on, None when every connection was looked at.
        wait: then the seconds until a leaving member is due, None when nobody is leaving.
        facts: then whether some wait in the channel's outbox.
    """

    cursor: str | None
    wait: float | None
    facts: bool


class MemberLists:
    """
    Joins, leaves and reads. Every call may be repeated, so lost answers are asked for again.

    Args:
        clients: where the lists are kept.
        batch: connections that one call of the sweep removes at most.
    """

    def __init__(self, clients: RedisClients, *, batch: int) -> None:
        self._clients = clients
        self._batch = batch

    async def join(self, lease: Lease, join: Joining, *, announce: bool) -> Snapshot | Refused:
        """See `PresenceStore.join`."""
        (reply,) = await self._run([self._join_call(lease, join, (int(announce), 1))])
        return _read_join(reply)

    async def join_each(
        self, lease: Lease, joins: Sequence[Joining], *, announce: bool
    ) -> list[Refused | DriverRefused | None]:
        """Add connections in one round trip; see `PresenceStore.join_many`."""
        calls = [self._join_call(lease, join, (int(announce), 0)) for join in joins]
        replies = await arun_many(self._clients.aio, calls, repeat_lost=True, keep_refused=True)
        answers: list[Refused | DriverRefused | None] = []
        for reply in replies:
            answer = reply if isinstance(reply, DriverRefused) else _read_join(reply)
            answers.append(None if isinstance(answer, Snapshot) else answer)
        return answers

    async def leave(
        self, lease: Lease, app_id: str, channel: str, *, socket_id: str, grace: float
    ) -> float | None:
        """See `PresenceStore.leave`."""
        connections = _connections(lease, socket_id)
        args = (lease.until_ms, *connections, round(grace * 1000))
        (wait_ms,) = await self._run([self.call("leave", app_id, channel, *args)])
        return _seconds(wait_ms)

    async def finish(self, app_id: str, channel: str) -> float | None:
        """See `PresenceStore.finish`."""
        (wait_ms,) = await self._run([self.call("finish", app_id, channel)])
        return _seconds(wait_ms)

    async def snapshots(self, app_id: str, channels: Sequence[str]) -> list[Snapshot]:
        """See `PresenceStore.snapshots`; one round trip."""
        replies = await self._run([self.call("snapshot", app_id, channel) for channel in channels])
        return [_read_snapshot(reply) for reply in replies]

    async def counts(self, app_id: str, channels: Sequence[str]) -> list[int]:
        """See `PresenceStore.member_counts`."""
        if not channels:
            return []
        client = self._clients.aio
        with translated(client):
            async with asyncio.timeout(VERB_SECONDS):
                pipeline = client.pipeline(transaction=False)
                for channel in channels:
                    pipeline.hlen(self._clients.keys.channel(app_id, channel, "p:data"))
                return [int(count) for count in await pipeline.execute()]

    async def sweep(
        self, name: str, channels: Sequence[tuple[str, str]], cursors: Sequence[str]
    ) -> list[Progress]:
        """
        Remove connections of a dead node from some channels, a batch from each.

        Args:
            name: ``node:epoch``.
            channels: app id and name of each.
            cursors: where to go on in each; "0" begins.
        """
        prefix = f"{name}:"
        pattern = _GLOB.sub(r"\\\1", prefix) + "*"
        replies = await self._run(
            [
                self.call("sweep", app_id, channel, prefix, pattern, cursor, self._batch)
                for (app_id, channel), cursor in zip(channels, cursors, strict=True)
            ]
        )
        return [
            Progress(cursor.decode() if more else None, _seconds(wait_ms), bool(facts))
            for more, cursor, wait_ms, facts in replies
        ]

    def call(self, verb: str, app_id: str, channel: str, *args: str | bytes | float) -> Call:
        """Return the call of ``presence_<verb>`` for a channel."""
        keys = self._clients.keys
        parts = [keys.channel(app_id, channel, f"p:{part}") for part in _PARTS]
        return Call(
            load_behind(f"presence_{verb}", "presence_channel"),
            parts,
            (keys.topic(app_id, channel), *args),
        )

    def _join_call(self, lease: Lease, join: Joining, flags: tuple[int, int]) -> Call:
        goodbye = join.removed_frame
        if goodbye is None:
            goodbye = encode_member_removed(join.channel, join.member.data)
        return self.call(
            "join",
            join.app_id,
            join.channel,
            lease.until_ms,
            *_connections(lease, join.socket_id),
            join.socket_id,
            _packed(join.member.user_id),
            _packed(join.member.data),
            join.added_frame,
            goodbye,
            join.max_members,
            *flags,
            int(join.facts),
        )

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        return await arun_many(self._clients.aio, calls, repeat_lost=True)


def _connections(lease: Lease, socket_id: str) -> tuple[str, str]:
    """Return the connection's field in this epoch and in the one before."""
    now = f"{node_name(lease.node, lease.epoch)}:{socket_id}"
    return now, f"{node_name(lease.node, lease.epoch - 1)}:{socket_id}"


def _read_join(reply: list[Any]) -> Snapshot | Refused:
    if reply[0] == -1:
        return Refused(reply[1])
    return _read_snapshot(reply)


def _read_snapshot(reply: list[Any]) -> Snapshot:
    version, users, data = reply
    members = zip(users, data, strict=True)  # without data it is no entry of ours
    return Snapshot(version, {_unpacked(u): _unpacked(d) for u, d in members if d is not None})


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000


# User ids are hostile: what has no UTF-8 form is kept all the same.
def _packed(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _unpacked(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # nothing of ours
        return data.decode("utf-8", "replace")
