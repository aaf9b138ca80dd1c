"""Locks of jobs on Redis, each in a slot of its own; see `broadcaster.contracts.limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.drivers.redis.queue_stats import seconds_of
from broadcaster.drivers.redis.scripts_loader import Call, aread, arun_many, load_script, run_many

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.contracts.limits import LockOwner
    from broadcaster.drivers.redis.client import RedisClients


class RedisLocks:
    """Implements `broadcaster.contracts.limits.Locks`."""

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients

    def acquire(self, key: str, owner: LockOwner, lease: float) -> float:
        """See `Locks.acquire`."""
        return self._run("acquire", key, owner, lease) / 1000

    async def aacquire(self, key: str, owner: LockOwner, lease: float) -> float:
        """See `Locks.acquire`."""
        return await self._arun("acquire", key, owner, lease) / 1000

    def renew(self, held: Mapping[str, LockOwner], lease: float) -> frozenset[str]:
        """See `Locks.renew`."""
        calls = [self._call("renew", key, owner, lease) for key, owner in held.items()]
        replies = run_many(self._clients.sync, calls, repeat_lost=True) if calls else []
        return frozenset(key for key, kept in zip(held, replies, strict=True) if not kept)

    def release(self, key: str, owner: LockOwner) -> bool:
        """See `Locks.release`."""
        return bool(self._run("release", key, owner, 0.0))

    async def arelease(self, key: str, owner: LockOwner) -> bool:
        """See `Locks.release`."""
        return bool(await self._arun("release", key, owner, 0.0))

    async def atime(self) -> float:
        """See `Locks.atime`."""
        (clock,) = await aread(self._clients.aio, [("TIME",)])
        return seconds_of(clock)

    def _call(self, verb: str, key: str, owner: LockOwner, lease: float) -> Call:
        keys = [self._clients.keys.limit(key, "lock")]
        args: list[str | int] = [verb, owner.job_id, owner.token, max(1, int(lease * 1000))]
        return Call(load_script("lock"), keys, args)

    def _run(self, verb: str, key: str, owner: LockOwner, lease: float) -> int:
        call = self._call(verb, key, owner, lease)
        return int(run_many(self._clients.sync, [call], repeat_lost=True)[0])

    async def _arun(self, verb: str, key: str, owner: LockOwner, lease: float) -> int:
        call = self._call(verb, key, owner, lease)
        return int((await arun_many(self._clients.aio, [call], repeat_lost=True))[0])
