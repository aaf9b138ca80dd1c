"""
Limits that all workers share: `RateLimited` and `Throttle`.

::

    limit("mail", Limit(allow=60, every=60))

    class SendMail(Job, middleware=[RateLimited("mail")], tries=3): ...

    class CallApi(Job, middleware=[Throttle("api", allow=30, every=60)]): ...

A job that is over its limit is put off until there is room. This uses up no try, so a crowd
does not fail its jobs (see `broadcaster.jobs.middleware.patience`); ``count=True`` makes it one,
as Laravel has it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broadcaster import current
from broadcaster.errors import DriverUnavailable, InvalidJob
from broadcaster.jobs.delay import Duration, as_seconds
from broadcaster.jobs.middleware.patience import patience

if TYPE_CHECKING:
    from broadcaster.contracts.limits import Limiter
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.middleware.contract import Next

AWAY_SECONDS = 1.0
"""Seconds after which a job is tried again when nobody can be asked for its limit."""

_SLACK = 0.05
"""Seconds past the moment when there is room: the queue's clock counts in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """
    How much may be done.

    Attributes:
        allow: jobs in a window.
        every: seconds (or `timedelta`) that a window is long; it begins with its first job.
        by: whom the window is for; jobs of another one have their own.
        steady: no windows: after a first burst room comes back evenly, a job each
            ``every / allow`` seconds (a token bucket).
    """

    allow: int
    every: Duration = 60.0
    by: str = ""
    steady: bool = False

    def __post_init__(self) -> None:
        """Refuse at once what could never be kept."""
        if self.allow < 1:
            raise ValueError(f"allow must be 1 or more, not {self.allow}")
        if as_seconds(self.every, "every") <= 0:
            raise ValueError(f"every must be more than 0 seconds, not {self.every!r}")

    @property
    def seconds(self) -> float:
        """How long a window is."""
        return as_seconds(self.every, "every")


Limits = Limit | Iterable[Limit] | None
"""What a limiter answers: one limit, several that all hold, or None for no limit."""

_limits: dict[str, Callable[[Any], Limits]] = {}


def limit(name: str, limits: Limit | Callable[[Any], Limits]) -> None:
    """
    Name a limit; a later one of the same name replaces it.

    Args:
        limits: a `Limit`, or what returns limits for a job.

    Source: Laravel, ``RateLimiter::for``.
    """
    _limits[name] = limits if callable(limits) else lambda _: limits


class RateLimited:
    """
    Puts a job off while the limit called `name` is reached.

    Args:
        name: see `limit`.
        count: putting it off uses up a try.
        drop: forget the job instead.

    Source: Laravel, ``Queue/Middleware/RateLimited``.
    """

    def __init__(self, name: str, *, count: bool = False, drop: bool = False) -> None:
        self._name = name
        self._count = count
        self._drop = drop

    def __repr__(self) -> str:
        """Say which limit."""
        return f"{type(self).__name__}({self._name!r})"

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - what everybody calls it
        """Run `next`, or put `job` off."""
        limits = [(self._key(one), one) for one in _as_limits(self._named()(job))]
        # First a look at all: a job that one of them keeps back uses up nothing of the others.
        looks = [0, 1] if len(limits) > 1 else [1]
        for cost in looks:
            for key, one in limits:
                if not await self._may_run(job, key, one, cost):
                    return
        await next()

    def _key(self, one: Limit) -> str:
        kind = "steady" if one.steady else "rate"
        return f"{kind}:{self._name}:{one.allow}/{one.seconds:g}:{one.by}"

    async def _may_run(self, job: Job, key: str, one: Limit, cost: int) -> bool:
        return await _may_run(job, key, one, count=self._count, drop=self._drop, cost=cost)

    def _named(self) -> Callable[[Any], Limits]:
        known = _limits.get(self._name)
        if known is None:
            close = difflib.get_close_matches(self._name, _limits, n=1)
            hint = f" (is it {close[0]!r}?)" if close else ""
            raise InvalidJob(
                f"no limit is called {self._name!r}{hint}: limit({self._name!r}, ...) in a module "
                "that the worker imports"
            )
        return known


class Throttle:
    """
    Lets `allow` jobs run in each window of `every` seconds, and puts the rest off.

    Args:
        key: what is limited; jobs of several classes may share it.
        count: putting it off uses up a try.
        drop: forget the job instead.

    Source: Laravel, ``Redis::throttle``.
    """

    def __init__(
        self,
        key: str,
        *,
        allow: int = 60,
        every: Duration = 60.0,
        count: bool = False,
        drop: bool = False,
    ) -> None:
        self._key = f"throttle:{key}"
        self._limit = Limit(allow=allow, every=every)
        self._count = count
        self._drop = drop

    def __repr__(self) -> str:
        """Say how much of what."""
        key, one = self._key.partition(":")[2], self._limit
        return f"Throttle({key!r}, allow={one.allow}, every={one.seconds:g})"

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - what everybody calls it
        """Run `next`, or put `job` off."""
        if await _may_run(job, self._key, self._limit, count=self._count, drop=self._drop):
            await next()


class RateLimiter:
    """
    A limit for code of your own, which decides what to do.

    ::

        if not RateLimiter(f"mail:{user_id}", allow=10, every=3600).attempt():
            self.release(60, count=False)

    Counting and the end of the window are one step, so no crash leaves a counter without end.
    """

    def __init__(self, key: str, *, allow: int, every: Duration) -> None:
        one = Limit(allow=allow, every=every)
        self._key = f"limiter:{key}"
        self._allow = one.allow
        self._every = one.seconds

    def __repr__(self) -> str:
        """Say how much of what."""
        key = self._key.partition(":")[2]
        return f"RateLimiter({key!r}, allow={self._allow}, every={self._every:g})"

    def attempt(self) -> bool:
        """Count one more and return True, or False if the limit is reached."""
        return _limiter().throttle(self._key, self._allow, self._every).allowed

    async def aattempt(self) -> bool:
        """See `attempt`."""
        return (await _limiter().athrottle(self._key, self._allow, self._every)).allowed

    def clear(self) -> None:
        """Begin anew."""
        _limiter().forget(self._key)

    async def aclear(self) -> None:
        """See `clear`."""
        await _limiter().aforget(self._key)


def _limiter() -> Limiter:
    return current.application().limiter


def _as_limits(limits: Limits) -> Iterable[Limit]:
    if limits is None:
        return ()
    return (limits,) if isinstance(limits, Limit) else limits


async def _may_run(
    job: Job, key: str, limit: Limit, *, count: bool, drop: bool, cost: int = 1
) -> bool:
    """Return whether there is room; if not, say what becomes of `job`. A cost of 0 only looks."""
    try:
        if limit.steady:
            said = await _limiter().atake(key, limit.allow, limit.allow / limit.seconds, cost)
        else:
            said = await _limiter().athrottle(key, limit.allow, limit.seconds, cost)
    except DriverUnavailable:  # no fault of the job
        job.release(patience(AWAY_SECONDS), count=False)
        return False
    if said.allowed:
        return True
    if drop:
        job.delete()
    else:
        wait, every = said.retry_after + _SLACK, 0.0 if limit.steady else limit.seconds
        job.release(wait if count else patience(wait, every), count=count)
    return False
