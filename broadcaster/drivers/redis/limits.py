"""Limits and counters on Redis, each name in a slot of its own; see `contracts.limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broadcaster.contracts.limits import Allowance
from broadcaster.drivers.redis.scripts_loader import (
    Call,
    Command,
    aread,
    arun_many,
    load_script,
    read,
    run_many,
)

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

_SUFFIXES = ("window", "bucket", "count")


class RedisLimiter:
    """
    Implements `broadcaster.contracts.limits.Limiter`.

    A call whose answer was lost raises and may have counted: limits then err to the safe side.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients

    def throttle(self, key: str, allow: int, every: float, cost: int = 1) -> Allowance:
        """See `Limiter.throttle`."""
        return _allowance(self._run(self._window(key, allow, every, cost)))

    async def athrottle(self, key: str, allow: int, every: float, cost: int = 1) -> Allowance:
        """See `Limiter.throttle`."""
        return _allowance(await self._arun(self._window(key, allow, every, cost)))

    def take(self, key: str, capacity: int, per_second: float, cost: int = 1) -> Allowance:
        """See `Limiter.take`."""
        return _allowance(self._run(self._bucket(key, capacity, per_second, cost)))

    async def atake(self, key: str, capacity: int, per_second: float, cost: int = 1) -> Allowance:
        """See `Limiter.take`."""
        return _allowance(await self._arun(self._bucket(key, capacity, per_second, cost)))

    def count(self, key: str, seconds: float, by: int = 1) -> int:
        """See `Limiter.count`."""
        return int(self._run(self._counter(key, seconds, by)))

    async def acount(self, key: str, seconds: float, by: int = 1) -> int:
        """See `Limiter.count`."""
        return int(await self._arun(self._counter(key, seconds, by)))

    def left(self, key: str) -> float:
        """See `Limiter.left`."""
        return _seconds(read(self._clients.sync, [self._left(key)])[0])

    async def aleft(self, key: str) -> float:
        """See `Limiter.left`."""
        return _seconds((await aread(self._clients.aio, [self._left(key)]))[0])

    def forget(self, key: str) -> None:
        """See `Limiter.forget`."""
        read(self._clients.sync, [self._forgetting(key)])

    async def aforget(self, key: str) -> None:
        """See `Limiter.forget`."""
        await aread(self._clients.aio, [self._forgetting(key)])

    def _run(self, call: Call) -> Any:
        return run_many(self._clients.sync, [call])[0]

    async def _arun(self, call: Call) -> Any:
        return (await arun_many(self._clients.aio, [call]))[0]

    def _window(self, key: str, allow: int, every: float, cost: int) -> Call:
        _check("allow", allow, cost or 1)
        keys = [self._clients.keys.limit(key, "window")]
        return Call(load_script("limit_window"), keys, [allow, _ms("every", every), cost])

    def _bucket(self, key: str, capacity: int, per_second: float, cost: int) -> Call:
        _check("capacity", capacity, cost or 1)
        if not per_second > 0:
            raise ValueError(f"per_second is {per_second!r}; it must be above 0")
        keys = [self._clients.keys.limit(key, "bucket")]
        return Call(load_script("limit_bucket"), keys, [capacity, per_second, cost])

    def _counter(self, key: str, seconds: float, by: int) -> Call:
        keys = [self._clients.keys.limit(key, "count")]
        return Call(load_script("limit_count"), keys, [by, _ms("seconds", seconds)])

    def _left(self, key: str) -> Command:
        return ("PTTL", self._clients.keys.limit(key, "count"))

    def _forgetting(self, key: str) -> Command:
        return ("DEL", *(self._clients.keys.limit(key, suffix) for suffix in _SUFFIXES))


def _allowance(reply: Any) -> Allowance:
    allowed, remaining, wait_ms = reply
    return Allowance(bool(allowed), int(remaining), int(wait_ms) / 1000)


def _seconds(pttl: int) -> float:
    return max(0, pttl) / 1000


def _check(what: str, limit: int, cost: int) -> None:
    if not 1 <= cost <= limit:
        raise ValueError(
            f"cost is {cost!r} and {what} {limit!r}: it must be from 1 to {what}, or it is never "
            "allowed"
        )


def _ms(what: str, seconds: float) -> int:
    if not seconds > 0:
        raise ValueError(f"{what} is {seconds!r}; it must be above 0 seconds")
    return max(1, int(seconds * 1000))
