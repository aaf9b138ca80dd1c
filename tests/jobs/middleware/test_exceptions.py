from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import JobFailed, ModelMissing
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import ThrottlesExceptions
from broadcaster.jobs.outcome import Released
from tests.jobs.middleware.running import ran, run_through

if TYPE_CHECKING:
    from tests.jobs.application import JobsApplication

BOOM = ValueError("boom")


class Call(Job, name="exceptions.Call"):
    async def handle(self) -> None: ...


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ran.clear()


async def fail(middleware: ThrottlesExceptions, error: Exception, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(type(error)):
            await run_through(Call(), middleware, error=error)


async def test_after_too_many_exceptions_jobs_are_put_off_without_running(
    app: JobsApplication,
) -> None:
    """The exception itself goes on to the worker, which tries again as options say."""
    throttle = ThrottlesExceptions("api", after=2, every=300)
    await fail(throttle, BOOM, times=2)

    verdict = await run_through(Call(), throttle)

    assert verdict == Released(30.05, counts=False)
    assert len(ran) == 2


async def test_a_success_ends_the_count(app: JobsApplication) -> None:
    throttle = ThrottlesExceptions("api", after=2)
    await fail(throttle, BOOM)

    assert await run_through(Call(), throttle) is None

    assert app.limiter.counts == {}


@pytest.mark.parametrize(
    ("when", "counted"),
    [
        (ValueError, 1),
        ((OSError, ValueError), 1),
        (OSError, 0),
        (lambda error: "x" in str(error), 0),
    ],
)
async def test_only_the_exceptions_that_are_meant_count(
    app: JobsApplication, when: Any, counted: int
) -> None:
    await fail(ThrottlesExceptions("api", when=when), BOOM)

    assert sum(app.limiter.counts.values()) == counted


@pytest.mark.parametrize("error", [JobFailed("no"), ModelMissing("gone", model="m", key=1)])
async def test_what_gives_a_job_up_says_nothing_about_the_service(
    app: JobsApplication, error: Exception
) -> None:
    await fail(ThrottlesExceptions("api"), error)

    assert sum(app.limiter.counts.values()) == 0


def test_a_throttle_allows_one_at_least() -> None:
    with pytest.raises(ValueError, match="after must be 1 or more"):
        ThrottlesExceptions("api", after=0)
    with pytest.raises(ValueError, match="every must be more than 0 seconds"):
        ThrottlesExceptions("api", every=0)
