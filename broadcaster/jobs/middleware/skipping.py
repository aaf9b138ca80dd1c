"""`SkipIf` and `SkipUnless`: jobs that turn out to be unnecessary are done without running."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.middleware.contract import Next

Condition = bool | Callable[[Any], bool | Awaitable[bool]]
"""A bool, or a function of the job, sync or async. A sync one runs in the worker's event loop."""


class SkipIf:
    """
    Does nothing if the condition holds; the job is done then.

    Source: Laravel, ``Queue/Middleware/Skip``.
    """

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    def __repr__(self) -> str:
        """Say on what."""
        return f"{type(self).__name__}({self._condition!r})"

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - what everybody calls it
        """Run `next`, or do nothing."""
        if not await _holds(self._condition, job):
            await next()


class SkipUnless:
    """Does nothing unless the condition holds; see `SkipIf`."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    def __repr__(self) -> str:
        """Say on what."""
        return f"{type(self).__name__}({self._condition!r})"

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - what everybody calls it
        """Run `next`, or do nothing."""
        if await _holds(self._condition, job):
            await next()


async def _holds(condition: Condition, job: Job) -> bool:
    answer = condition(job) if callable(condition) else condition
    return await answer if inspect.isawaitable(answer) else answer
