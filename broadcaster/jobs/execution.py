"""
One run of a job's own code: middleware, models, services, `handle`.

In this order, from the outside to the inside::

    async middleware             in the event loop, also for sync jobs (`through`)
      surroundings, sync middleware    where the job runs (`call`, `acall`)
        models of `Ref` fields are read
          services are made
            handle

A worker calls `through` with what brings the inner part to its thread or process. The job
that runs is `current_job` in all of it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, cast

from broadcaster.errors import InvalidJob, JobError
from broadcaster.jobs import injection
from broadcaster.jobs.middleware.contract import Surrounding
from broadcaster.jobs.references import has_references, models, references_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.jobs.job import Job
    from broadcaster.jobs.middleware.contract import (
        AsyncMiddleware,
        Middleware,
        Next,
        SyncMiddleware,
        SyncNext,
    )
    from broadcaster.jobs.references import Ref


Kind = Literal["async", "sync", "surrounding"]


def kind_of(middleware: Middleware) -> Kind:
    """Return which kind `middleware` is; see `broadcaster.jobs.middleware.contract`."""
    if isinstance(middleware, Surrounding):
        return "surrounding"
    called = getattr(middleware, "__call__", middleware)  # noqa: B004 - its kind is looked at
    if inspect.iscoroutinefunction(middleware) or inspect.iscoroutinefunction(called):
        return "async"
    return "sync"


def is_async(job: Job) -> bool:
    """Whether `handle` is a coroutine function."""
    return _is_coroutine_function(type(job).handle)


def all_middleware(job: Job) -> Sequence[Middleware]:
    """Return the middleware of the class line and then that of the method."""
    return (*job.options.middleware, *job.middleware())


async def through(job: Job, innermost: Callable[[], Awaitable[None]]) -> None:
    """Run `innermost` inside of the job's async middleware."""
    outer = [each for each in all_middleware(job) if kind_of(each) == "async"]
    call: Next = innermost
    for each in reversed(outer):
        call = _wrapped(cast("AsyncMiddleware", each), job, call)
    await call()


async def arun(job: Job) -> None:
    """Run an async job in this event loop, inside of its middleware; see `through` and `acall`."""
    kind: Any = type(job)  # to type checkers a class is not hashable here
    if _is_plain(kind) and not all_middleware(job):
        _check_result(job, await job.handle())
    else:
        await through(job, partial(acall, job))


async def arun_either(job: Job, *, in_thread: bool) -> None:
    """
    Run a job of either kind from this event loop, inside of its middleware.

    Args:
        in_thread: a sync job has a thread of its own; else it holds the loop.
    """
    if is_async(job):
        await arun(job)
    else:
        await through(job, partial(_call_in_thread if in_thread else _call_in_loop, job))


def takes_a_loop(job: Job) -> bool:
    """Whether running `job` takes an event loop: it is async, or middleware of it is."""
    try:
        return is_async(job) or any(kind_of(each) == "async" for each in all_middleware(job))
    except Exception:  # noqa: BLE001 - its run will raise it again
        return False


async def acall(job: Job) -> None:
    """
    Run the inner part of an async job in this event loop.

    Raises:
        InvalidJob: it has sync middleware, or takes what nobody provides.
        ModelMissing: a row that it refers to is gone.
    """
    async with AsyncExitStack() as stack:
        for each in all_middleware(job):
            kind = kind_of(each)
            if kind == "surrounding":
                surroundings = cast("Surrounding", each).around(job)
                if isinstance(surroundings, AbstractAsyncContextManager):
                    await stack.enter_async_context(surroundings)
                else:
                    stack.enter_context(surroundings)
            elif kind == "sync":
                raise InvalidJob(
                    f"{job.options.name} is async, and its middleware {type(each).__name__} is not: "
                    "write async def __call__(self, job, next)"
                )
        for reference in _references(job):
            reference.loaded(await models.aload(reference.reference))
        _check_result(job, await job.handle(**await injection.aenter(job, stack)))


def call(job: Job) -> None:
    """
    Run the inner part of a sync job in this thread.

    Raises:
        InvalidJob: a surrounding is async, or it takes what nobody provides.
        ModelMissing: a row that it refers to is gone.
    """
    run: SyncNext = partial(_handle, job)
    for each in reversed(all_middleware(job)):
        kind = kind_of(each)
        if kind == "surrounding":
            run = _surrounded(cast("Surrounding", each), job, run)
        elif kind == "sync":
            run = _sync_wrapped(cast("SyncMiddleware", each), job, run)
    run()


def crossing(handle: Callable[[], object]) -> object:
    """
    Call `handle` in a thread for which a coroutine waits; return what it returns.

    Raises:
        JobError: in place of what cannot cross a future and would leave the coroutine waiting
            for ever (`StopIteration`), or close it (`GeneratorExit`).
    """
    try:
        return handle()
    except (StopIteration, GeneratorExit) as error:
        raise JobError(f"{type(error).__name__} was raised") from error


def loop_is_running() -> bool:
    """Whether this thread runs an event loop, which nothing may wait for then."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def asked_to_cancel() -> bool:
    """Whether somebody has cancelled this task: who runs it, or user code that runs in it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_cancelled(error: BaseException) -> bool:
    """Whether `error` comes of this task being cancelled; see `asked_to_cancel`."""
    return isinstance(error, asyncio.CancelledError) and asked_to_cancel()


async def _call_in_thread(job: Job) -> None:
    await asyncio.to_thread(crossing, partial(call, job))


async def _call_in_loop(job: Job) -> None:
    call(job)  # the loop is the job's own


@lru_cache(maxsize=4096)
def _is_coroutine_function(handle: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(handle)


@lru_cache(maxsize=4096)
def _is_plain(job: type[Any]) -> bool:
    """Whether `handle` takes nothing, and no field must be read first."""
    return not injection.takes_services(job) and not has_references(job)


def _references(job: Job) -> Sequence[Ref[Any]]:
    return references_in(vars(job)) if has_references(type(job)) else ()


def _handle(job: Job) -> None:
    for reference in _references(job):
        reference.loaded(models.load(reference.reference))
    with ExitStack() as stack:
        _check_result(job, job.handle(**injection.enter(job, stack)))


def _check_result(job: Job, result: object, of: str = "handle()") -> None:
    """Raise `InvalidJob` if `handle`, or `of`, has only returned what it should have run."""
    if result is None or not isinstance(result, Coroutine | Generator | AsyncGenerator):
        return
    if not isinstance(result, AsyncGenerator):
        result.close()  # or it warns that nobody awaited it
    kind = type(result).__name__
    raise InvalidJob(
        f"{job.options.name}.{of} returned a {kind} that nobody runs: write async def, "
        "and await it there"
    )


def _wrapped(middleware: AsyncMiddleware, job: Job, inner: Next) -> Next:
    async def run() -> None:
        await middleware(job, inner)

    return run


def _sync_wrapped(middleware: SyncMiddleware, job: Job, inner: SyncNext) -> SyncNext:
    def run() -> None:
        called: Callable[[Job, SyncNext], object] = middleware  # whatever it says
        _check_result(job, called(job, inner), f"middleware {type(middleware).__name__}")

    return run


def _surrounded(middleware: Surrounding, job: Job, inner: SyncNext) -> SyncNext:
    def run() -> None:
        surroundings = middleware.around(job)
        if isinstance(surroundings, AbstractAsyncContextManager):
            raise InvalidJob(
                f"{job.options.name} is sync, and what {type(middleware).__name__} puts around it "
                "is async: give it a sync context manager"
            )
        with surroundings:
            inner()

    return run
