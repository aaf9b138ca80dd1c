from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import InvalidJob
from broadcaster.jobs.execution import (
    acall,
    all_middleware,
    arun,
    arun_either,
    asked_to_cancel,
    call,
    is_cancelled,
    kind_of,
    loop_is_running,
    takes_a_loop,
    through,
)
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from broadcaster.jobs.middleware.contract import Middleware, Next, SyncNext

log: list[str] = []


class Around:
    """An async middleware that notes when it is entered and left."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - the contract's word
        log.append(f"{self._name} in")
        await next()
        log.append(f"{self._name} out")


class SyncAround(Around):
    def __call__(self, job: Job, next: SyncNext) -> None:  # type: ignore[override]  # noqa: A002
        log.append(f"{self._name} in {threading.current_thread().name}")
        next()
        log.append(f"{self._name} out")


@contextlib.contextmanager
def block() -> Iterator[None]:
    log.append("begin")
    try:
        yield
    except ValueError:
        log.append("roll back")
        raise
    else:
        log.append("commit")


@contextlib.asynccontextmanager
async def ablock() -> AsyncIterator[None]:
    log.append("begin")
    yield
    log.append("commit")


async def nothing() -> None: ...


def numbers() -> Iterator[int]:
    yield 1


async def anumbers() -> AsyncIterator[int]:
    yield 1


class Forgetful(Job, name="execution.Forgetful"):
    def handle(self) -> object:
        return nothing()


class Lazy(Job, name="execution.Lazy"):
    def handle(self) -> object:
        return numbers()


class AsyncLazy(Job, name="execution.AsyncLazy"):
    async def handle(self) -> object:
        return anumbers()


@pytest.mark.parametrize("job", [Forgetful(), Lazy()])
def test_what_a_sync_job_returns_and_nobody_runs_is_an_error(job: Job) -> None:
    with pytest.raises(InvalidJob, match=r"\.handle\(\) returned a (coroutine|generator)"):
        call(job)


@pytest.mark.parametrize("run", [acall, arun])
async def test_what_an_async_job_returns_and_nobody_runs_is_an_error(
    run: Callable[[Job], Awaitable[None]],
) -> None:
    with pytest.raises(InvalidJob, match="returned a async_generator that nobody runs"):
        await run(AsyncLazy())


class Plain(Job, name="execution.Plain", middleware=[Around("class")]):
    def middleware(self) -> Sequence[Middleware]:
        return [Around("method")]

    async def handle(self) -> None:
        log.append("handle")


class Sync(Job, name="execution.Sync"):
    def middleware(self) -> Sequence[Middleware]:
        return [SyncAround("outer"), transaction(block), SyncAround("inner")]

    def handle(self) -> None:
        log.append("handle")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    log.clear()


async def test_row_34_middleware_stands_around_the_job_that_of_the_class_outermost() -> None:
    async def innermost() -> None:
        await acall(Plain())

    await through(Plain(), innermost)

    assert log == ["class in", "method in", "handle", "method out", "class out"]


async def test_middleware_may_leave_the_job_out() -> None:
    class Closed:
        async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002
            log.append("closed")

    class Shop(Job, name="execution.Shop", middleware=[Closed(), Around("inner")]):
        async def handle(self) -> None:
            log.append("handle")

    async def innermost() -> None:
        raise AssertionError

    await through(Shop(), innermost)

    assert log == ["closed"]


def test_sync_middleware_runs_where_the_job_runs_in_its_order() -> None:
    call(Sync())

    here = threading.current_thread().name
    assert log == [
        f"outer in {here}",
        "begin",
        f"inner in {here}",
        "handle",
        "inner out",
        "commit",
        "outer out",
    ]


def test_row_33_a_transaction_is_rolled_back_by_an_exception() -> None:
    class Pay(Job, name="execution.Pay", middleware=[transaction(block)]):
        def handle(self) -> None:
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        call(Pay())

    assert log == ["begin", "roll back"]


@pytest.mark.parametrize("factory", [block, ablock])
async def test_a_transaction_of_an_async_job_may_be_of_either_kind(factory: Any) -> None:
    class Pay(Job, name="execution.AsyncPay", middleware=[transaction(factory)]):
        async def handle(self) -> None:
            log.append("handle")

    await acall(Pay())

    assert log == ["begin", "handle", "commit"]


def test_an_async_transaction_around_a_sync_job_is_refused() -> None:
    class Pay(Job, name="execution.MixedPay", middleware=[transaction(ablock)]):
        def handle(self) -> None:
            log.append("handle")

    with pytest.raises(InvalidJob, match="give it a sync context manager"):
        call(Pay())

    assert log == []


async def test_sync_middleware_around_an_async_job_is_refused() -> None:
    class Pay(Job, name="execution.Mixed", middleware=[SyncAround("outer")]):
        async def handle(self) -> None:
            log.append("handle")

    with pytest.raises(InvalidJob, match="write async def __call__"):
        await acall(Pay())


def test_sync_middleware_that_only_returns_what_it_should_have_run_is_an_error() -> None:
    """As one does that is wrapped in a function that is not async."""

    def wrapped(job: Job, next: Next) -> Any:  # noqa: A002
        return Around("inner")(job, next)

    class Pay(Job, name="execution.Wrapped", middleware=[wrapped]):
        def handle(self) -> None:
            log.append("handle")

    with pytest.raises(InvalidJob, match="middleware function returned a coroutine that nobody"):
        call(Pay())

    assert log == []


def test_functions_are_middleware_too() -> None:
    async def outer(job: Job, next: Next) -> None: ...  # noqa: A002

    def inner(job: Job, next: SyncNext) -> None: ...  # noqa: A002

    kinds = [kind_of(each) for each in (outer, inner, Around("x"), transaction(block))]

    assert kinds == ["async", "sync", "async", "surrounding"]
    assert len(all_middleware(Plain())) == 2


class Threads(Job, name="execution.Threads"):
    def handle(self) -> None:
        log.append(threading.current_thread().name)


class ThreadsInside(Threads, name="execution.ThreadsInside", middleware=[Around("outer")]):
    """Sync, with middleware that is not."""


class Loops(Job, name="execution.Loops"):
    async def handle(self) -> None:
        log.append(threading.current_thread().name)


class Unmade(Threads, name="execution.Unmade"):
    def middleware(self) -> Sequence[Middleware]:
        raise ValueError("no middleware")


async def test_a_job_of_either_kind_runs_from_a_loop_a_sync_one_in_a_thread_if_asked() -> None:
    here = threading.current_thread().name

    for job in (Threads(), Loops()):
        log.clear()
        await arun_either(job, in_thread=False)
        assert log == [here]
    log.clear()
    await arun_either(Threads(), in_thread=True)
    assert log != [here]


def test_async_jobs_and_async_middleware_take_a_loop() -> None:
    takes = [takes_a_loop(job) for job in (Threads(), ThreadsInside(), Loops(), Unmade())]

    assert takes == [False, True, True, False]


async def test_a_thread_knows_whether_it_runs_a_loop() -> None:
    assert loop_is_running()
    assert not await asyncio.to_thread(loop_is_running)


async def test_a_task_knows_whether_somebody_has_cancelled_it() -> None:
    cancelled = asyncio.CancelledError()
    assert not asked_to_cancel()
    assert not is_cancelled(cancelled)

    mine = asyncio.current_task()
    assert mine is not None
    mine.cancel()
    asked, by_somebody, other = asked_to_cancel(), is_cancelled(cancelled), is_cancelled(OSError())
    mine.uncancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)

    assert (asked, by_somebody, other) == (True, True, False)
