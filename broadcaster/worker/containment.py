"""
Keeps ``sys.exit()`` inside the job that called it.

asyncio lets `SystemExit` and `KeyboardInterrupt` of any task out of the event loop. That
would end the worker, and what it holds would wait for its leases to run out. What a job's
own coroutine raises is caught by the runner; the tasks that a job starts are made here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from broadcaster.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

T = TypeVar("T")

running_job: ContextVar[str | None] = ContextVar("running_job", default=None)
"""The id of the job whose code runs here; tasks inherit it."""


async def take_back_cancels() -> None:
    """Let this task go on after user code that ran in it has cancelled it."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # what was not raised yet is raised here


def new_task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Return a task of a worker's own code, which needs no watching."""
    if loop.get_task_factory() is _new_task:
        return asyncio.Task(work, loop=loop)
    return loop.create_task(work)


def contain_exits(loop: asyncio.AbstractEventLoop) -> None:
    """Let tasks that jobs start on `loop` fail with `JobError` instead of ending the process."""
    if loop.get_task_factory() is None:
        loop.set_task_factory(_new_task)


def _new_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T] | Generator[Any, None, T],
    **options: Any,
) -> asyncio.Task[T]:
    job_id = running_job.get()
    if job_id is not None and isinstance(work, Coroutine):
        work = _Contained(work, job_id)
    return asyncio.Task(work, loop=loop, **options)


class _Contained(Coroutine[Any, Any, T]):
    """
    Another coroutine, step by step.

    An ``async def`` around it would not do: cancelled before its first step, it would
    leave the inner one never awaited.
    """

    def __init__(self, inner: Coroutine[Any, Any, T], job_id: str) -> None:
        self._inner = inner
        self._job_id = job_id

    def send(self, value: Any, /) -> Any:
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise self._failure(error) from error

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Any:
        del traceback  # asyncio gives an exception and nothing else; three arguments are deprecated
        given: Any = kind if value is None else value
        try:
            return self._inner.throw(given)
        except (SystemExit, KeyboardInterrupt) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        """Name, code and frame, for the task's repr and stack."""
        return getattr(self._inner, name)

    def _failure(self, error: BaseException) -> JobError:
        return JobError(f"{error!r} was raised in a task that job {self._job_id} had started")
