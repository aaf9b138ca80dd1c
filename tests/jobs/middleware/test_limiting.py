from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.limits import Allowance
from broadcaster.errors import InvalidJob
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import Limit, RateLimited, RateLimiter, Throttle, limit
from broadcaster.jobs.outcome import Deleted, Released
from tests.jobs.middleware.running import ran, run_through

if TYPE_CHECKING:
    from tests.jobs.application import JobsApplication

FULL = Allowance(allowed=False, remaining=0, retry_after=12.0)


class Mail(Job, name="limiting.Mail"):
    user: str = "ada"

    async def handle(self) -> None: ...


@pytest.fixture(autouse=True)
def _fresh() -> None:
    limit("mail", Limit(allow=60, every=10))
    ran.clear()


async def test_row_30_a_named_limit_lets_jobs_through_while_there_is_room(
    app: JobsApplication,
) -> None:
    said = await run_through(Mail(), RateLimited("mail"))

    assert (ran, said) == ([Mail()], None)
    assert app.limiter.asked == [("rate:mail:60/10:", 60, 10)]


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, Released(12.05, counts=False)),
        ({"count": True}, Released(12.05, counts=True)),
        ({"drop": True}, Deleted()),
    ],
)
async def test_over_the_limit_a_job_is_put_off_until_there_is_room(
    app: JobsApplication, options: dict[str, Any], verdict: object
) -> None:
    """Putting off uses up no try unless it is asked for: contention must not fail jobs."""
    app.limiter.allowance = FULL

    assert await run_through(Mail(), RateLimited("mail", **options)) == verdict
    assert await run_through(Mail(), Throttle("api", **options)) == verdict
    assert ran == []


async def test_a_limit_may_depend_on_the_job_and_be_several_or_none(app: JobsApplication) -> None:
    limit("each", lambda job: [Limit(allow=9, by=job.user), Limit(allow=99)])
    limit("none", lambda job: None)

    await run_through(Mail("bob"), RateLimited("each"))
    await run_through(Mail("bob"), RateLimited("none"))

    both = [("rate:each:9/60:bob", 9, 60.0), ("rate:each:99/60:", 99, 60.0)]
    assert app.limiter.asked == [*both, *both], "a look at both, and then they count"
    assert len(ran) == 2


async def test_row_30_a_steady_limit_takes_from_a_bucket(app: JobsApplication) -> None:
    limit("steady", lambda job: [Limit(allow=30, every=60, steady=True), Limit(allow=30)])

    assert await run_through(Mail(), RateLimited("steady")) is None
    app.limiter.allowance = FULL
    assert await run_through(Mail(), RateLimited("steady")) == Released(12.05, counts=False)

    both = [("steady:steady:30/60:", 30, 0.5), ("rate:steady:30/60:", 30, 60.0)]
    assert app.limiter.asked == [*both, *both, both[0]]


def test_a_limit_that_nothing_could_keep_is_refused_where_it_is_written() -> None:
    assert Limit(allow=1, every=timedelta(minutes=1)).seconds == 60.0
    with pytest.raises(ValueError, match="allow must be 1 or more, not 0"):
        Limit(allow=0)
    with pytest.raises(ValueError, match="every must be more than 0 seconds"):
        Limit(allow=1, every=0)
    with pytest.raises(ValueError, match="allow must be 1 or more"):
        RateLimiter("k", allow=0, every=60)


async def test_a_limit_that_nobody_named_is_an_error(app: JobsApplication) -> None:
    with pytest.raises(InvalidJob, match=r"no limit is called 'mial' \(is it 'mail'\?\)"):
        await run_through(Mail(), RateLimited("mial"))


async def test_row_31_a_throttle_counts_in_windows(app: JobsApplication) -> None:
    assert await run_through(Mail(), Throttle("api", allow=30, every=60)) is None

    assert app.limiter.asked == [("throttle:api", 30, 60.0)]
    with pytest.raises(ValueError, match="allow must be 1 or more"):
        Throttle("api", allow=0)


async def test_row_32_a_limit_can_be_asked_by_hand(app: JobsApplication) -> None:
    limiter = RateLimiter("mail:7", allow=10, every=3600)

    assert [limiter.attempt(), await limiter.aattempt()] == [True, True]
    app.limiter.allowance = FULL
    assert [limiter.attempt(), await limiter.aattempt()] == [False, False]
    limiter.clear()
    await limiter.aclear()

    assert set(app.limiter.asked) == {("limiter:mail:7", 10, 3600.0)}
