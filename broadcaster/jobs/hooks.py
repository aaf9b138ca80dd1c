"""
The hook of a job that was given up: `Job.failed`.

Whatever it raises is logged and goes no further: the job has failed already. It runs with the
job as `current_job`, which its caller sees to.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from broadcaster.jobs.execution import crossing, is_cancelled
from broadcaster.jobs.running import current_job

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from broadcaster.jobs.job import Job

_log = logging.getLogger("broadcaster.jobs")


def call_failed(
    job: Job,
    error: BaseException,
    loop: asyncio.Runner,
    *,
    seconds: float | None,
    passes: Callable[[BaseException], bool],
) -> None:
    """Call the hook of a failed job from sync code, an async one in `loop`; see `acall_failed`."""
    with _logged(job, passes):
        result: object = job.failed(error)
        if inspect.iscoroutine(result):
            hook = _awaited(seconds, result)
            try:
                loop.run(hook)
            finally:  # a loop that runs here already has not begun them
                hook.close()
                result.close()


async def acall_failed(
    job: Job,
    error: BaseException,
    *,
    seconds: float | None = None,
    passes: Callable[[BaseException], bool] = is_cancelled,
) -> None:
    """
    Call the hook of a failed job, a sync one in a thread; what it raises is logged.

    Args:
        seconds: how long it may take; None is no limit.
        passes: which exceptions are no failure of the hook, and go on to who called.
    """
    with _logged(job, passes):
        async with asyncio.timeout(seconds):
            if inspect.iscoroutinefunction(job.failed):
                await job.failed(error)
            else:
                result = await asyncio.to_thread(crossing, partial(job.failed, error))
                if inspect.iscoroutine(result):
                    await result


@contextmanager
def _logged(job: Job, passes: Callable[[BaseException], bool]) -> Generator[None]:
    """A block whose exceptions are logged and go no further."""
    try:
        yield
    except BaseException as error:
        if passes(error):
            raise
        current, name = current_job(), job.options.name
        fields = {"event": "hook_failed", "job": name, "job_id": current.id if current else ""}
        _log.error("the failed() of %s failed", name, exc_info=error, extra=fields)


async def _awaited(seconds: float | None, hook: Coroutine[Any, Any, object]) -> None:
    async with asyncio.timeout(seconds):
        await hook
