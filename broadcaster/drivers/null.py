"""The driver ``null``: publishes nothing, runs nothing, limits nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broadcaster.contracts.limits import Allowance
from broadcaster.contracts.queue import Pushed
from broadcaster.contracts.unserved import UnservedQueue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.limits import LockOwner
    from broadcaster.contracts.publisher import Publication
    from broadcaster.contracts.queue import NewJob


class NullPublisher:
    """Accepts publications and forgets them; see `Publisher`."""

    def publish(self, publications: Sequence[Publication]) -> None:
        """Do nothing."""

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """Do nothing."""


class NullQueue(UnservedQueue):
    """Accepts jobs and forgets them; see `Queue`. A worker finds nothing to do."""

    def __init__(self, runner: object = None) -> None:
        del runner  # what every queue that is not on Redis is given

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        """Say that all were queued."""
        return Pushed([job.id for job in jobs])

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        """Say that all were queued."""
        return self.push(jobs)


class NullLocks:
    """Locks that are always free: for jobs that run inline, without a server; see `Locks`."""

    def acquire(self, key: str, owner: LockOwner, lease: float) -> float:
        """Return that `owner` has it."""
        del key, owner, lease
        return 0.0

    async def aacquire(self, key: str, owner: LockOwner, lease: float) -> float:
        """Return that `owner` has it."""
        return self.acquire(key, owner, lease)

    def renew(self, held: Mapping[str, LockOwner], lease: float) -> frozenset[str]:
        """Return that none was lost."""
        del held, lease
        return frozenset()

    def release(self, key: str, owner: LockOwner) -> bool:
        """Return that it is free."""
        del key, owner
        return True

    async def arelease(self, key: str, owner: LockOwner) -> bool:
        """Return that it is free."""
        return self.release(key, owner)

    async def atime(self) -> float:
        """Return the time of this process."""
        return time.time()


class NullLimiter:
    """Limits that are never reached: for jobs that run inline, without a server; see `Limiter`."""

    def throttle(self, key: str, allow: int, every: float, cost: int = 1) -> Allowance:
        """Allow it."""
        del key, every, cost
        return Allowance(allowed=True, remaining=allow, retry_after=0.0)

    async def athrottle(self, key: str, allow: int, every: float, cost: int = 1) -> Allowance:
        """Allow it."""
        return self.throttle(key, allow, every, cost)

    def take(self, key: str, capacity: int, per_second: float, cost: int = 1) -> Allowance:
        """Allow it."""
        return self.throttle(key, capacity, per_second, cost)

    async def atake(self, key: str, capacity: int, per_second: float, cost: int = 1) -> Allowance:
        """Allow it."""
        return self.take(key, capacity, per_second, cost)

    def count(self, key: str, seconds: float, by: int = 1) -> int:
        """Return `by`: there was nothing before."""
        del key, seconds
        return by

    async def acount(self, key: str, seconds: float, by: int = 1) -> int:
        """Return `by`: there was nothing before."""
        return self.count(key, seconds, by)

    def left(self, key: str) -> float:
        """Return that it has no counter."""
        del key
        return 0.0

    async def aleft(self, key: str) -> float:
        """Return that it has no counter."""
        return self.left(key)

    def forget(self, key: str) -> None:
        """Do nothing."""

    async def aforget(self, key: str) -> None:
        """Do nothing."""
        self.forget(key)
