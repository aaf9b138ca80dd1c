from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broadcaster.worker.repeating import Repeating
from tests.polling import eventually

if TYPE_CHECKING:
    import pytest


class Work:
    """Counts its times; the first one has a bug if told so."""

    def __init__(self, *, bug: bool = False) -> None:
        self.times = 0
        self.ended = 0
        self._bug = bug

    async def once(self) -> None:
        self.times += 1
        if self._bug and self.times == 1:
            raise RuntimeError("a bug")
        try:
            await asyncio.sleep(0)
        finally:
            self.ended += 1


async def test_it_goes_on_until_it_is_stopped_and_then_no_more() -> None:
    work = Work()
    repeating = Repeating(work.once, 0.001, name="work")

    repeating.start()
    await eventually(lambda: work.times >= 3)

    assert await repeating.stop()
    assert work.times == work.ended
    assert "work" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_only_what_runs_can_be_stopped() -> None:
    repeating = Repeating(Work().once, 60, name="work")

    assert not await repeating.stop()
    repeating.start()
    assert await repeating.stop()
    assert not await repeating.stop()


async def test_of_two_that_stop_it_at_once_one_has_stopped_it() -> None:
    repeating = Repeating(Work().once, 60, name="work")
    repeating.start()

    assert sorted(await asyncio.gather(repeating.stop(), repeating.stop())) == [False, True]


async def test_a_bug_is_logged_and_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(bug=True)
    repeating = Repeating(work.once, 0.001, name="work")

    repeating.start()
    await eventually(lambda: work.times >= 2)
    await repeating.stop()

    assert "work: failed; it goes on" in caplog.text
    assert "a bug" in caplog.text
