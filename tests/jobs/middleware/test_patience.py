from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.limits import Allowance, LockOwner
from broadcaster.contracts.settlements import MAX_POSTPONED
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import Throttle, WithoutOverlapping
from broadcaster.jobs.middleware.patience import LONGEST_SECONDS, OFTEN, patience
from broadcaster.jobs.outcome import Released
from broadcaster.jobs.running import running
from tests.jobs.middleware.running import current, run_through

if TYPE_CHECKING:
    from tests.jobs.application import JobsApplication


class Mail(Job, name="patience.Mail"):
    async def handle(self) -> None: ...


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What chance says, always."""
    said = [0.5]
    monkeypatch.setattr(random, "random", lambda: said[0])
    return said


@pytest.mark.parametrize(
    ("postponed", "said", "seconds"),
    [
        (0, 0.5, 12.0),
        (OFTEN - 1, 0.5, 12.0),
        (OFTEN, 0.5, 12.0 + 60.0),
        (OFTEN, 0.0, 12.0),
        (OFTEN * 3 + 1, 1.0, 12.0 + 360.0),
        (MAX_POSTPONED, 1.0, 12.0 + LONGEST_SECONDS),
    ],
)
def test_who_was_put_off_often_waits_longer(
    chance: list[float], postponed: int, said: float, seconds: float
) -> None:
    chance[0] = said

    with running(current(Mail(), postponed=postponed)):
        assert patience(12.0, every=60.0) == seconds


def test_without_a_running_job_nobody_waits_longer() -> None:
    assert patience(1.0) == 1.0


@pytest.mark.parametrize(("count", "seconds"), [(False, 12.05 + 120.0), (True, 12.05)])
async def test_a_limit_puts_a_job_off_for_longer_unless_that_uses_up_a_try(
    app: JobsApplication, chance: list[float], *, count: bool, seconds: float
) -> None:
    app.limiter.allowance = Allowance(allowed=False, remaining=0, retry_after=12.0)
    here = current(Mail(), postponed=2 * OFTEN)
    throttle = Throttle("api", allow=30, every=60, count=count)

    assert await run_through(Mail(), throttle, here=here) == Released(seconds, counts=count)


@pytest.mark.parametrize(("release_after", "seconds"), [(None, 10.0), (7, 7.0)])
async def test_a_lock_puts_a_job_off_for_longer_unless_it_was_said_for_how_long(
    app: JobsApplication, chance: list[float], release_after: int | None, seconds: float
) -> None:
    app.locks.held["overlap:patience.Mail:x"] = LockOwner("f" * 32, 3)
    here = current(Mail(), postponed=OFTEN)
    lock = WithoutOverlapping("x", release_after=release_after)

    assert await run_through(Mail(), lock, here=here) == Released(seconds, counts=False)


def test_of_a_crowd_nobody_is_put_off_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one job a second, and all others asking again when there is room."""
    monkeypatch.setattr(random, "random", random.Random(7).random)
    crowd = 1_200
    asking = [(0.0, number, 0) for number in range(crowd)]
    window_ends, most = 0.0, 0

    while asking:
        now, number, postponed = heapq.heappop(asking)
        if now >= window_ends:
            window_ends = now + 1.0
            continue
        with running(current(Mail(), postponed=postponed)):
            again = now + max(1.0, patience(window_ends - now + 0.05, every=1.0))
        most = max(most, postponed + 1)
        heapq.heappush(asking, (again, number, postponed + 1))

    assert most < MAX_POSTPONED / 2
    assert window_ends < crowd * 1.1, "there is always somebody who asks when there is room"
