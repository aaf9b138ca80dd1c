"""Time limits of tasks: what `asyncio.timeout` does, for many of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from broadcaster.worker.deadlines import Deadline, Deadlines

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 30.0


@pytest.fixture
def deadlines() -> Iterator[Deadlines]:
    made = Deadlines()
    yield made
    made.close()


async def test_a_block_that_takes_too_long_ends_with_timeout_error(deadlines: Deadlines) -> None:
    timer = deadlines.within(0.001)

    with pytest.raises(TimeoutError), timer:
        await asyncio.sleep(LONG)

    task = asyncio.current_task()
    assert task is not None
    assert (timer.expired, task.cancelling()) == (True, 0)


async def test_a_block_that_ends_in_time_is_left_alone(deadlines: Deadlines) -> None:
    with deadlines.within(0.001) as timer:
        pass
    with deadlines.within(LONG), pytest.raises(TimeoutError), deadlines.within(0.001):
        await asyncio.sleep(LONG)

    assert not timer.expired


async def test_a_timeout_of_the_block_itself_is_none_of_the_limit(deadlines: Deadlines) -> None:
    timer = deadlines.within(LONG)

    with pytest.raises(TimeoutError, match="mine"), timer:
        raise TimeoutError("mine")

    assert not timer.expired


async def test_who_swallows_the_cancellation_goes_on(deadlines: Deadlines) -> None:
    with deadlines.within(0.001) as timer, contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(LONG)

    assert timer.expired


async def test_a_cancellation_from_outside_stays_one(deadlines: Deadlines) -> None:
    inside, timer = asyncio.Event(), deadlines.within(0.001)

    async def work() -> None:
        with timer:
            inside.set()
            await asyncio.sleep(LONG)

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    timer.expire()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_each_block_of_a_row_ends_at_its_own_time(deadlines: Deadlines) -> None:
    ended: list[str] = []

    async def work(name: str, seconds: float, timer: Deadline) -> None:
        try:
            with timer:
                await asyncio.sleep(seconds)
        except TimeoutError:
            name += " late"
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(work("first", 0.0, deadlines.within(0.02)))
        await asyncio.sleep(0.01)
        group.create_task(work("second", LONG, deadlines.within(0.02)))
        group.create_task(work("third", LONG, deadlines.within(0.02)))

    assert ended == ["first", "second late", "third late"]


async def test_rows_of_limits_that_nobody_has_any_more_are_forgotten(deadlines: Deadlines) -> None:
    for limit in (0.001, 0.002, 0.003):
        with pytest.raises(TimeoutError), deadlines.within(limit):
            await asyncio.sleep(LONG)

    assert deadlines.limits == 0


async def test_nothing_is_limited_after_closing() -> None:
    deadlines = Deadlines()

    with deadlines.within(0.001) as timer:
        deadlines.close()
        await asyncio.sleep(0.01)

    assert (timer.expired, deadlines.limits) == (False, 0)
