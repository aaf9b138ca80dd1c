"""Middleware around jobs that a real worker takes from a real queue (rows 30, 32, 34)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import Limit, RateLimited, RateLimiter, limit
from broadcaster.testing import LiveQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.jobs.middleware.contract import Next

pytestmark = pytest.mark.redis

notes: list[str] = []


class Noting:
    """Notes what happens around a job."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - what everybody calls it
        notes.append(f"{self._name} before")
        try:
            await next()
        finally:
            notes.append(f"{self._name} after")


class Mail(Job, name="in_worker.Mail", middleware=[RateLimited("mails")], tries=1):
    user: str

    def handle(self) -> None:
        notes.append(self.user)


class ByHand(Job, name="in_worker.ByHand", tries=1):
    user: str

    def handle(self) -> None:
        if RateLimiter(f"hand:{self.user}", allow=1, every=60).attempt():
            notes.append(self.user)
        else:
            self.release(60, count=False)


class Wrapped(Job, name="in_worker.Wrapped", middleware=[Noting("class")]):
    fails: bool = False

    def middleware(self) -> list[Noting]:
        return [Noting("method")]

    def handle(self) -> None:
        notes.append("handle")
        if self.fails:
            raise OSError("no")


@pytest.fixture
def live(redis_url: str) -> Iterator[LiveQueue]:
    notes.clear()
    with LiveQueue(redis_url) as made:
        yield made


def test_row_30_a_limit_per_user_leaves_the_limit_of_all_to_the_others(live: LiveQueue) -> None:
    limit("mails", lambda mail: [Limit(allow=3), Limit(allow=2, by=mail.user)])
    for user in ("ada", "ada", "ada", "ada", "bob"):
        Mail(user).dispatch()

    live.drain()

    assert sorted(notes) == ["ada", "ada", "bob"]
    assert live.sizes().delayed == 2
    live.travel(61)
    live.drain()
    assert sorted(notes) == ["ada", "ada", "bob"], "it is the window that counts, not the delay"
    live.assert_nothing_failed()


def test_row_30_two_limits_of_one_name_have_windows_of_their_own(live: LiveQueue) -> None:
    limit("mails", lambda mail: [Limit(allow=5, every=60), Limit(allow=1, every=3600)])
    Mail("ada").dispatch()
    Mail("bob").dispatch()

    live.drain()

    assert len(notes) == 1
    live.assert_nothing_failed()


def test_row_32_a_limit_asked_by_hand_holds_over_runs(live: LiveQueue) -> None:
    for user in ("ada", "ada", "bob"):
        ByHand(user).dispatch()

    live.drain()

    assert sorted(notes) == ["ada", "bob"]
    assert live.sizes().delayed == 1


def test_row_34_middleware_of_the_class_stands_around_that_of_the_method(live: LiveQueue) -> None:
    Wrapped().dispatch()
    live.drain()

    assert notes == ["class before", "method before", "handle", "method after", "class after"]


def test_row_34_middleware_sees_the_end_of_a_job_that_fails(live: LiveQueue) -> None:
    Wrapped(fails=True).dispatch()
    live.drain()

    assert notes[-2:] == ["method after", "class after"]
    assert [each.exception for each in live.failed()] == ["OSError"]
