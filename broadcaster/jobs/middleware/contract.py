"""
What stands around the run of a job.

::

    class Timed:
        async def __call__(self, job: Job, next: Next) -> None:
            started = time.monotonic()
            await next()
            print(job, "took", time.monotonic() - started)

- An **async** one runs in the worker's event loop, around jobs of every kind; `next` runs
  what is further in, and it may leave that out (the job is then done) or put the job off
  with `job.release()`.
- A **sync** one, ``def __call__(self, job, next)``, runs inside of all async ones, in the
  thread or process of a sync job, and is refused for async jobs.
- A **surrounding** one has `around(job)`, which returns a context manager, sync or async;
  it is entered where the job runs. `transaction` is one.

The first in the list is the outermost of its kind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from broadcaster.jobs.job import Job

Next = Callable[[], Awaitable[None]]
"""Runs what is further in."""

SyncNext = Callable[[], None]
"""The same, for sync jobs."""


class AsyncMiddleware(Protocol):
    """One that runs in the worker's event loop."""

    async def __call__(self, job: Job, next: Next, /) -> None:  # noqa: A002 - what everybody calls it
        """Run `next`, or do not."""
        ...


class SyncMiddleware(Protocol):
    """One that runs where a sync job does."""

    def __call__(self, job: Job, next: SyncNext, /) -> None:  # noqa: A002 - what everybody calls it
        """Run `next`, or do not."""
        ...


@runtime_checkable
class Surrounding(Protocol):
    """One that is a context manager around the job, where the job runs."""

    def around(self, job: Job) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        """Return what to enter before `handle` and to leave after it."""
        ...


Middleware = AsyncMiddleware | SyncMiddleware | Surrounding
