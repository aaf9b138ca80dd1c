from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.drivers.null import NullLimiter
from broadcaster.errors import DriverUnavailable
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import (
    Limit,
    RateLimited,
    Throttle,
    ThrottlesExceptions,
    WithoutOverlapping,
    limit,
)
from broadcaster.jobs.middleware.limiting import AWAY_SECONDS
from broadcaster.jobs.outcome import Released
from tests.jobs.application import RecordingLocks
from tests.jobs.middleware.running import ran, run_through

if TYPE_CHECKING:
    from tests.jobs.application import JobsApplication


class Mail(Job, name="away.Mail"):
    async def handle(self) -> None: ...


class AwayLimiter(NullLimiter):
    async def athrottle(self, *_: object) -> Any:
        raise DriverUnavailable("away")

    async def acount(self, *_: object, **__: object) -> Any:
        raise DriverUnavailable("away")


class AwayLocks(RecordingLocks):
    def __init__(self, *, only_at_the_end: bool) -> None:
        super().__init__()
        self._only_at_the_end = only_at_the_end

    def acquire(self, *args: Any) -> float:
        if not self._only_at_the_end:
            raise DriverUnavailable("away")
        return super().acquire(*args)

    def release(self, *_: object) -> bool:
        raise DriverUnavailable("away")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    limit("away", Limit(allow=1))
    ran.clear()


@pytest.mark.parametrize(
    "middleware",
    [
        RateLimited("away", count=True),
        Throttle("x", drop=True),
        ThrottlesExceptions("x"),
        WithoutOverlapping("x", drop=True),
    ],
)
async def test_a_job_waits_for_whoever_knows_its_limits_and_uses_up_no_try(
    app: JobsApplication, middleware: Any
) -> None:
    app.limiter = AwayLimiter()  # type: ignore[assignment]  # of which the test asks nothing
    app.locks = AwayLocks(only_at_the_end=False)

    assert await run_through(Mail(), middleware) == Released(AWAY_SECONDS, counts=False)
    assert ran == []


async def test_a_job_that_is_done_is_done_even_if_its_lock_cannot_be_freed(
    app: JobsApplication,
) -> None:
    app.locks = AwayLocks(only_at_the_end=True)

    assert await run_through(Mail(), WithoutOverlapping("x")) is None

    assert ran == [Mail()]
