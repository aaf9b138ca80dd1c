"""The schedule beside a worker, for the length of a block."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster import current
from broadcaster.scheduling.entries import schedule, the_schedule
from broadcaster.testing import LiveQueue
from broadcaster.wiring.schedule import open_schedule, running_schedule
from tests.jobs.application import JobsApplication
from tests.polling import eventually
from tests.scheduling.scheduled_jobs import Tidy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.contracts.application import Application


class BrokenLocks:
    """Fails in a way that no store does."""

    async def aacquire(self, *_: Any) -> float:
        raise RuntimeError("no such lock")

    async def atime(self) -> float:
        raise RuntimeError("no such lock")

    async def arelease(self, *_: Any) -> None:
        """There is nothing to give back."""


@pytest.fixture(autouse=True)
def _nothing_scheduled() -> Iterator[None]:
    the_schedule.clear()
    yield
    the_schedule.clear()


async def test_without_entries_nothing_is_started(caplog: pytest.LogCaptureFixture) -> None:
    before = asyncio.all_tasks()

    async with running_schedule(cast("Application", JobsApplication()), []):
        assert asyncio.all_tasks() == before

    assert caplog.records == []


async def test_a_schedule_that_breaks_says_so_and_the_block_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    schedule(Tidy()).every(60)
    application: Any = JobsApplication()
    application.locks = BrokenLocks()

    with caplog.at_level("INFO", "broadcaster.schedule"):
        async with running_schedule(application, the_schedule.entries()):
            await eventually(lambda: "nothing is queued when due any more" in caplog.text)

    assert caplog.messages[0] == "1 scheduled job is queued when due"
    assert "no such lock" in caplog.text


@pytest.mark.redis
async def test_a_moment_that_the_runner_before_has_queued_is_left_out(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = time.time()
    monkeypatch.setattr("broadcaster.wiring.schedule.time", SimpleNamespace(time=lambda: now))
    schedule(Tidy()).every(60).catch_up(600).named("tidy")

    with LiveQueue(redis_url), caplog.at_level("INFO", "broadcaster.schedule"):
        for _ in range(2):
            runner = open_schedule(current.application(), the_schedule.entries())
            await runner.turn()
            runner.stop()
            await runner.run()  # gives the lock back

    told = [each.partition(",")[0] for each in caplog.messages if " tidy, due at " in each]
    assert told == ["queued tidy", "left out tidy"]
