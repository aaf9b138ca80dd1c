"""The hook of a failed job: whatever it does, who calls it goes on."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.jobs.hooks import acall_failed, call_failed
from broadcaster.jobs.job import Job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

called: list[str] = []


class Hooked(Job, name="hooks.Hooked"):
    def handle(self) -> None: ...

    def failed(self, error: BaseException) -> None:
        called.append(str(error))
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise error


class HookedLater(Job, name="hooks.HookedLater"):
    def handle(self) -> None: ...

    async def failed(self, error: BaseException) -> None:
        called.append(str(error))
        if isinstance(error, TimeoutError):
            await asyncio.Event().wait()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise error


class HookedByAnother(HookedLater, name="hooks.HookedByAnother"):
    """Its hook is no coroutine function, and returns a coroutine all the same."""

    def failed(self, error: BaseException) -> Coroutine[Any, Any, None]:  # type: ignore[override]
        return super().failed(error)


def never(_: BaseException) -> bool:
    return False


def ctrl_c(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt)


async def by_sync_code(job: Job, error: BaseException, seconds: float | None = None) -> None:
    def call() -> None:
        with closing(asyncio.Runner()) as loop:
            call_failed(job, error, loop, seconds=seconds, passes=ctrl_c)

    await asyncio.to_thread(call)


async def by_a_coroutine(job: Job, error: BaseException, seconds: float | None = None) -> None:
    await acall_failed(job, error, seconds=seconds, passes=ctrl_c)


CALLS = (by_sync_code, by_a_coroutine)


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    called.clear()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("job", [Hooked(), HookedLater(), HookedByAnother()])
async def test_hooks_of_either_kind_are_called(
    call: Callable[[Job, BaseException], Awaitable[None]], job: Job
) -> None:
    await call(job, ValueError("boom"))

    assert called == ["boom"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("job", [Hooked(), HookedLater(), HookedByAnother()])
async def test_what_a_hook_raises_is_logged(
    call: Callable[[Job, BaseException], Awaitable[None]],
    job: Job,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await call(job, SystemExit(3))

    assert f"the failed() of {job.options.name} failed" in caplog.text


async def test_what_is_no_failure_of_a_hook_goes_on_to_who_called() -> None:
    with pytest.raises(KeyboardInterrupt):
        await acall_failed(Hooked(), KeyboardInterrupt(), passes=ctrl_c)


@pytest.mark.parametrize("call", CALLS)
async def test_an_async_hook_may_take_so_long(
    call: Callable[[Job, BaseException, float], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(10):
        await call(HookedLater(), TimeoutError("slow"), 0.01)

    assert called == ["slow"]
    assert "the failed() of hooks.HookedLater failed" in caplog.text


async def test_who_is_cancelled_while_it_calls_a_hook_stops() -> None:
    calling = asyncio.create_task(acall_failed(HookedLater(), TimeoutError("slow")))
    while not called:  # noqa: ASYNC110 - the hook has nobody to tell
        await asyncio.sleep(0)
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_an_async_hook_is_not_called_by_sync_code_in_a_running_loop_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with closing(asyncio.Runner()) as loop:
        call_failed(HookedLater(), ValueError("boom"), loop, seconds=None, passes=never)

    assert called == []
    assert "cannot be called from a running event loop" in caplog.text
