"""
`WithoutOverlapping`: one at a time of the jobs that share a key.

The lock belongs to the run and lives as long as its lease: the heartbeat that renews the one
renews the other, so a worker that is killed keeps nobody out for longer.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.contracts.limits import LockOwner
from broadcaster.errors import DriverUnavailable
from broadcaster.jobs.delay import Duration, as_seconds
from broadcaster.jobs.middleware.limiting import AWAY_SECONDS
from broadcaster.jobs.middleware.patience import patience
from broadcaster.jobs.running import require_current_job

if TYPE_CHECKING:
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.middleware.contract import Next

INLINE_LEASE = 3_600.0
"""Seconds for which a job that runs without a worker has its lock at most."""


class WithoutOverlapping:
    """
    Puts a job off while another one with the same key runs.

    ::

        class Recount(Job):
            account: int

            def middleware(self):
                return [WithoutOverlapping(f"account:{self.account}")]

    Args:
        key: what must not be worked on twice at the same time.
        shared: jobs of other classes with this key keep it out too.
        release_after: seconds after which it tries again; None: as soon as the lock may be
            free, at most 5 seconds.
        count: putting it off uses up a try.
        drop: forget the job instead.

    Source: Laravel, ``Queue/Middleware/WithoutOverlapping``.
    """

    def __init__(
        self,
        key: str,
        *,
        shared: bool = False,
        release_after: Duration | None = None,
        count: bool = False,
        drop: bool = False,
    ) -> None:
        self._key = key
        self._shared = shared
        self._wait = None if release_after is None else as_seconds(release_after, "release_after")
        self._count = count
        self._drop = drop

    def __repr__(self) -> str:
        """Say which key."""
        return f"WithoutOverlapping({self._key!r})"

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - what everybody calls it
        """Run `next` under the lock, or put `job` off."""
        running = require_current_job("WithoutOverlapping")
        scope = "" if self._shared else job.options.name
        key, owner = f"overlap:{scope}:{self._key}", LockOwner(running.id, running.token)
        locks = current.application().locks
        try:
            left = await locks.aacquire(key, owner, running.lease or INLINE_LEASE)
        except DriverUnavailable:  # no fault of the job
            job.release(patience(AWAY_SECONDS), count=False)
            return
        if left > 0:
            if self._drop:
                job.delete()
            else:
                job.release(self._patience(left), count=self._count)
            return
        running.locks[key] = owner
        try:
            await next()
        finally:
            running.locks.pop(key, None)
            with contextlib.suppress(DriverUnavailable):  # it lapses with the lease
                await locks.arelease(key, owner)

    def _patience(self, left: float) -> float:
        """Return how long to wait for a lock that lapses in `left` seconds unless it is renewed."""
        if self._wait is not None:
            return self._wait
        soon = min(left, 5.0)
        return patience(soon, soon)
