from __future__ import annotations

import pytest

from broadcaster.errors import InvalidJob, JobFailed, JobTimedOut, UnknownJob
from broadcaster.jobs.outcome import (
    Finished,
    GiveUp,
    Limits,
    TryAgain,
    decide,
    described,
    refuse_start,
)

BOOM = ValueError("boom")


def test_no_error_means_finished() -> None:
    assert decide(attempt=1, limits=Limits(), error=None) == Finished()


@pytest.mark.parametrize(
    ("tries", "attempt", "again"),
    [(1, 1, False), (3, 1, True), (3, 2, True), (3, 3, False), (3, 4, False), (0, 99, True)],
)
def test_tries_are_counted_and_0_is_no_limit(tries: int, attempt: int, *, again: bool) -> None:
    outcome = decide(attempt=attempt, limits=Limits(tries=tries), error=BOOM)

    assert outcome == (TryAgain(0.0) if again else GiveUp("exception", "ValueError: boom"))


def test_a_retry_waits_for_its_step_of_the_backoff() -> None:
    limits = Limits(tries=0, backoff=(1, 5))

    assert [decide(attempt=n, limits=limits, error=BOOM) for n in (1, 2, 3)] == [
        TryAgain(1),
        TryAgain(5),
        TryAgain(5),
    ]


@pytest.mark.parametrize("error", [JobFailed("no"), UnknownJob("no"), InvalidJob("no")])
def test_what_another_try_cannot_mend_is_given_up_at_once(error: Exception) -> None:
    outcome = decide(attempt=1, limits=Limits(tries=0), error=error)

    assert isinstance(outcome, GiveUp)
    assert outcome.reason == getattr(error, "code", None)


def test_a_timeout_has_a_reason_of_its_own() -> None:
    assert decide(attempt=1, limits=Limits(), error=JobTimedOut("late")) == GiveUp(
        "timeout", "JobTimedOut: late"
    )
    assert decide(attempt=1, limits=Limits(tries=2), error=JobTimedOut("late")) == TryAgain(0.0)


@pytest.mark.parametrize(
    ("tries", "attempt", "refused"), [(1, 1, False), (1, 2, True), (0, 9, False)]
)
def test_a_job_with_its_tries_used_up_is_not_started(
    tries: int, attempt: int, *, refused: bool
) -> None:
    assert (refuse_start(attempt=attempt, limits=Limits(tries=tries)) is not None) is refused


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(), "ValueError"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (Unreadable(), "Unreadable: (its text cannot be read)"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_an_error_becomes_one_line(error: BaseException, line: str) -> None:
    assert described(error) == line


def test_a_long_error_is_cut() -> None:
    assert len(described(ValueError("x" * 10_000))) < 600
