"""
Locks and limits that jobs of all workers share.

Keys are any text. All moments are the store's. The plain verbs block for at most one round
trip; drivers raise `DriverUnavailable` and `DriverRefused`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class LockOwner(NamedTuple):
    """
    Who has a lock: one reservation of a job.

    A later reservation of the same job takes the lock over from an earlier one; of two
    reservations the one with the higher token is the later.
    """

    job_id: str
    token: int


class Locks(Protocol):
    """
    Locks that die with their owner's worker.

    A lock lives as long as a job's lease and is renewed by the same heartbeat. It is kept
    under its owner, so nobody renews or frees what somebody else has by now.
    """

    def acquire(self, key: str, owner: LockOwner, lease: float) -> float:
        """
        Take the lock `key` for `lease` seconds.

        Returns 0.0 when `owner` has it now, else the seconds until it lapses unless renewed.
        """
        ...

    async def aacquire(self, key: str, owner: LockOwner, lease: float) -> float:
        """See `acquire`."""
        ...

    def renew(self, held: Mapping[str, LockOwner], lease: float) -> frozenset[str]:
        """Let the locks `held` (key -> owner) live `lease` seconds more; return the lost ones."""
        ...

    def release(self, key: str, owner: LockOwner) -> bool:
        """Free the lock; False when `owner` did not have it."""
        ...

    async def arelease(self, key: str, owner: LockOwner) -> bool:
        """See `release`."""
        ...

    async def atime(self) -> float:
        """Return what the clock of the store says, Unix seconds."""
        ...


class Allowance(NamedTuple):
    """
    What a limiter said.

    Attributes:
        allowed: go on; it has been counted.
        remaining: how many more are allowed now.
        retry_after: seconds until the next may be allowed; 0.0 when this one was.
    """

    allowed: bool
    remaining: int
    retry_after: float


class Limiter(Protocol):
    """Counts what many workers do."""

    def throttle(self, key: str, allow: int, every: float, cost: int = 1) -> Allowance:
        """
        Allow `allow` in a window of `every` seconds that begins with its first hit.

        ``cost=0`` counts nothing: it says whether one would be allowed now.

        Source: Laravel, ``Redis/Limiters/DurationLimiter``.
        """
        ...

    async def athrottle(self, key: str, allow: int, every: float, cost: int = 1) -> Allowance:
        """See `throttle`."""
        ...

    def take(self, key: str, capacity: int, per_second: float, cost: int = 1) -> Allowance:
        """
        Take `cost` tokens of a bucket of `capacity` that fills by `per_second`.

        ``cost=0`` takes none: it says whether one could be taken now.
        """
        ...

    async def atake(self, key: str, capacity: int, per_second: float, cost: int = 1) -> Allowance:
        """See `take`."""
        ...

    def count(self, key: str, seconds: float, by: int = 1) -> int:
        """
        Add `by` to a counter that begins again `seconds` after its first count; return it.

        ``by=0`` only reads. Never starts the time anew.
        """
        ...

    async def acount(self, key: str, seconds: float, by: int = 1) -> int:
        """See `count`."""
        ...

    def left(self, key: str) -> float:
        """Return the seconds until the counter of `key` begins again; 0.0 if it has none."""
        ...

    async def aleft(self, key: str) -> float:
        """See `left`."""
        ...

    def forget(self, key: str) -> None:
        """Begin the window, the bucket and the counter of `key` anew."""
        ...

    async def aforget(self, key: str) -> None:
        """See `forget`."""
        ...
