"""
`ThrottlesExceptions`: leave a service alone that fails again and again.

::

    class CallApi(Job, tries=0, middleware=[ThrottlesExceptions("api", after=10, every=300)]): ...

After `after` exceptions within `every` seconds, jobs with this key are put off until that time
is over, without running and without using up a try. A run that succeeds ends the count. The
exception itself goes on to the worker, which tries the job again as its options say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.errors import DriverUnavailable, InvalidJob, JobFailed, ModelMissing, UnknownJob
from broadcaster.jobs.delay import Duration, as_seconds
from broadcaster.jobs.middleware.limiting import AWAY_SECONDS
from broadcaster.jobs.middleware.patience import patience

if TYPE_CHECKING:
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.middleware.contract import Next

Counted = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]

_NEVER = (JobFailed, InvalidJob, UnknownJob, ModelMissing)
_SLACK = 0.05


class ThrottlesExceptions:
    """
    Puts jobs off after too many exceptions; see the head of this module.

    Args:
        key: what fails; jobs of several classes may share it.
        after: exceptions that are allowed in a window.
        every: seconds that a window is long; it begins with its first exception.
        when: which exceptions count: classes, or a function. What gives a job up at once
            never does.

    Source: Laravel, ``Queue/Middleware/ThrottlesExceptions``, which swallows
    the exception; here it counts as one (`max_exceptions`) and is logged.
    """

    def __init__(
        self,
        key: str,
        *,
        after: int = 10,
        every: Duration = 600.0,
        when: Counted = Exception,
    ) -> None:
        if after < 1:
            raise ValueError(f"after must be 1 or more, not {after}")
        self._key = f"exceptions:{key}"
        self._after = after
        self._every = as_seconds(every, "every")
        if self._every <= 0:
            raise ValueError(f"every must be more than 0 seconds, not {every!r}")
        self._when = when

    def __repr__(self) -> str:
        """Say how many of what."""
        key = self._key.partition(":")[2]
        return f"ThrottlesExceptions({key!r}, after={self._after}, every={self._every:g})"

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - what everybody calls it
        """Run `next`, or put `job` off."""
        limiter = current.application().limiter
        try:
            seen = await limiter.acount(self._key, self._every, by=0)
            left = await limiter.aleft(self._key) if seen >= self._after else 0.0
        except DriverUnavailable:  # no fault of the job
            job.release(patience(AWAY_SECONDS), count=False)
            return
        if seen >= self._after:
            job.release(patience(left + _SLACK, self._every), count=False)
            return
        try:
            await next()
        except Exception as error:
            if self._counts(error):
                with contextlib.suppress(DriverUnavailable):
                    await limiter.acount(self._key, self._every)
            raise
        if seen:
            with contextlib.suppress(DriverUnavailable):
                await limiter.aforget(self._key)

    def _counts(self, error: Exception) -> bool:
        if isinstance(error, _NEVER):
            return False
        if isinstance(self._when, type | tuple):
            return isinstance(error, self._when)
        return self._when(error)
