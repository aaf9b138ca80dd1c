"""
Saying which jobs are due when, where they are defined.

::

    @schedule("*/5 * * * *")
    def tidy() -> None: ...

    schedule(Report("sales")).cron("0 7 * * 1-5").timezone("Europe/Berlin")
    schedule(Poll()).every(minutes(1)).without_overlapping()

``broadcaster schedule run`` imports the modules that say so, and queues what is due.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Self, overload

from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.jobs.bus import PreparedJob, prepared
from broadcaster.jobs.delay import Duration, as_seconds
from broadcaster.jobs.function import job as job_of
from broadcaster.jobs.job import Job
from broadcaster.protocol.ids import derived_id
from broadcaster.scheduling.timetable import (
    CATCH_UP_SECONDS,
    MAX_CATCH_UP_SECONDS,
    Entry,
    EveryTimes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.scheduling.timetable import Times

OVERLAP_SECONDS = 86_400.0
"""Longest time that `ScheduledJob.without_overlapping` keeps others out, unless it is said."""


class ScheduledJob:
    """
    A job that is due at times; each method changes it and returns it.

    Args:
        job: what is queued, as it is now, each time.
    """

    def __init__(self, job: Job | PreparedJob) -> None:
        self._job = prepared(job)
        self._cron: str | None = None
        self._every: float | None = None
        self._zone = "UTC"
        self._lock: float | None = None
        self._catch_up = CATCH_UP_SECONDS
        self._name = ""

    def __repr__(self) -> str:
        """Say what, and when."""
        when = self._cron or ("never" if self._every is None else f"every {self._every:g} s")
        return f"<ScheduledJob {self._job!r} {when}>"

    def cron(self, expression: str) -> Self:
        """Make it due by a cron expression, such as ``0 7 * * 1-5``; needs the extra ``cron``."""
        self._cron, self._every = expression, None
        self._times()
        return self

    def every(self, duration: Duration) -> Self:
        """Make it due every so many seconds, from 1; 86,400 is midnight in UTC."""
        self._cron, self._every = None, as_seconds(duration, "every")
        self._times()
        return self

    def timezone(self, name: str) -> Self:
        """Have the cron expression mean the clocks of a time zone, such as ``Europe/Berlin``."""
        self._zone = name
        if self._cron is not None:
            self._times()
        return self

    def without_overlapping(self, at_most: Duration = OVERLAP_SECONDS) -> Self:
        """
        Leave it out while an earlier one waits or runs.

        Args:
            at_most: longest time that an earlier one keeps others out. A job class that is
                unique keeps its own lock.
        """
        self._lock = as_seconds(at_most, "at_most")
        return self

    def catch_up(self, duration: Duration) -> Self:
        """Make up for a moment that was missed for up to so long: 60 s unless said, 0 to 12 h."""
        seconds = as_seconds(duration, "catch_up")
        if seconds > MAX_CATCH_UP_SECONDS:
            raise ValueError(f"catch_up must be at most {MAX_CATCH_UP_SECONDS:,.0f} s (12 h)")
        self._catch_up = max(1.0, seconds)
        return self

    def named(self, name: str) -> Self:
        """Give it a name, instead of the job's; what is renamed counts as new."""
        self._name = name
        return self

    def entry(self) -> Entry:
        """
        Return it as it will be run.

        Raises:
            ConfigurationError: it was never said when it is due.
        """
        times = self._times()
        if times is None:
            raise ConfigurationError(
                f"{self._job.options.name} is scheduled without a time: "
                "add .cron('*/5 * * * *') or .every(60)"
            )
        fields = str(sorted(self._job.job.encode_fields().items()))
        mark = derived_id(str(times), fields, str(self._job.options.queue))[:8]
        name = self._name or f"{self._job.options.name}:{mark}"
        lock, catch_up = self._lock, self._catch_up
        return Entry(name=name, job=self._job, times=times, lock=lock, catch_up=catch_up)

    def _times(self) -> Times | None:
        if self._every is not None:
            return EveryTimes(self._every)
        if self._cron is None:
            return None
        try:
            cron: Any = importlib.import_module("broadcaster.scheduling.cron")
        except ImportError as error:
            raise NotConfigured(
                "cron expressions need cronsim: pip install 'broadcaster-server[cron]'; "
                "every(60) works without"
            ) from error
        times: Times = cron.CronTimes(self._cron, self._zone)
        return times


class Schedule:
    """All that is scheduled in this process."""

    def __init__(self) -> None:
        self._jobs: list[ScheduledJob] = []

    def add(self, scheduled: ScheduledJob) -> None:
        """Add one; the same one twice, as of a module that is loaded again, counts once."""
        self._jobs.append(scheduled)

    def clear(self) -> None:
        """Forget all."""
        self._jobs.clear()

    def entries(self) -> list[Entry]:
        """
        Return all, by name.

        Raises:
            ConfigurationError: one has no time, or two different ones have the same name.
        """
        found: dict[str, Entry] = {}
        for scheduled in self._jobs:
            entry = scheduled.entry()
            other = found.setdefault(entry.name, entry)
            if other != entry:
                raise ConfigurationError(
                    f"two scheduled jobs are called {entry.name!r}: give one another name "
                    "with .named(...)"
                )
        return [found[name] for name in sorted(found)]


the_schedule = Schedule()
"""What `schedule` adds to."""


@overload
def schedule(what: Job | PreparedJob, /) -> ScheduledJob: ...
@overload
def schedule(
    what: str | None = None,
    /,
    *,
    every: Duration | None = None,
    timezone: str = "UTC",
    without_overlapping: bool = False,
) -> Callable[[Callable[..., Any]], Any]: ...
def schedule(
    what: Any = None,
    /,
    *,
    every: Duration | None = None,
    timezone: str = "UTC",
    without_overlapping: bool = False,
) -> Any:
    """
    Schedule a job, or the function or class of jobs below.

    ``schedule(job)`` returns a `ScheduledJob`, to be told when. ``@schedule("*/5 * * * *")`` and
    ``@schedule(every=60)`` stand above a function or a class of jobs that needs no arguments;
    a function becomes a job, as by ``@job``.

    Raises:
        ValueError: the expression or the time zone is wrong.
        NotConfigured: cron expressions need the extra ``cron``.
    """
    if isinstance(what, Job | PreparedJob):
        scheduled = ScheduledJob(what)
        the_schedule.add(scheduled)
        return scheduled
    if what is not None and not isinstance(what, str):
        raise TypeError(
            f"schedule() was given {what!r}: say when, as in @schedule('*/5 * * * *') or "
            "@schedule(every=60), or give it a job: schedule(Report()).every(60)"
        )
    if (what is None) == (every is None):
        raise TypeError("schedule takes a cron expression, or every=seconds, or a job")

    def decorate(decorated: Any) -> Any:
        is_job = inspect.isclass(decorated) and issubclass(decorated, Job)
        made: Any = decorated if is_job else job_of(decorated)
        scheduled = ScheduledJob(made()).timezone(timezone)
        scheduled = scheduled.cron(what) if what is not None else scheduled.every(every or 0)
        if without_overlapping:
            scheduled.without_overlapping()
        the_schedule.add(scheduled)
        return made

    return decorate
