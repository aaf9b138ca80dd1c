from __future__ import annotations

from typing import Any

import pytest

from broadcaster.contracts.settlements import MAX_POSTPONED
from broadcaster.errors import InvalidJob, JobFailed, JobTimedOut, ModelMissing, UnknownJob
from broadcaster.jobs.outcome import (
    Deleted,
    Failed,
    Finished,
    GiveUp,
    Limits,
    Outcome,
    Past,
    PutOff,
    Released,
    TryAgain,
    decide,
    described,
    refuse_start,
)

BOOM = ValueError("boom")
GIVEN_UP = GiveUp("exception", "ValueError: boom")
NOW = 1_000.0
GONE = ModelMissing("Order 7 is gone", model="Order", key=7)


def decided(*, attempts: int = 0, exceptions: int = 0, postponed: int = 0, **more: Any) -> Outcome:
    limits = more.pop("limits", None) or Limits(**more.pop("limited", {}))
    past = Past(attempts=attempts, exceptions=exceptions, postponed=postponed)
    return decide(past=past, limits=limits, now=NOW, **more)


def test_no_error_means_finished() -> None:
    assert decided(error=None) == Finished()


@pytest.mark.parametrize(
    ("tries", "attempts", "again"),
    [(1, 0, False), (3, 0, True), (3, 1, True), (3, 2, False), (3, 3, False), (0, 98, True)],
)
def test_tries_are_counted_and_0_is_no_limit(tries: int, attempts: int, *, again: bool) -> None:
    """Row 3."""
    outcome = decided(attempts=attempts, limits=Limits(tries=tries), error=BOOM)

    assert outcome == (TryAgain(0.0) if again else GIVEN_UP)


def test_a_retry_waits_for_its_step_of_the_backoff() -> None:
    """Row 6."""
    limits = Limits(tries=0, backoff=(1, 5))

    waits = [decided(attempts=n, limits=limits, error=BOOM) for n in (0, 1, 2)]

    assert waits == [TryAgain(1), TryAgain(5), TryAgain(5)]


@pytest.mark.parametrize(("jitter", "chance", "delay"), [(0, 0.9, 10), (0.5, 0, 10), (0.5, 1, 5)])
def test_jitter_only_ever_shortens_a_wait(jitter: float, chance: float, delay: float) -> None:
    """Row 6."""
    limits = Limits(tries=0, backoff=(10,), jitter=jitter)

    assert decided(limits=limits, error=BOOM, chance=chance) == TryAgain(delay)


@pytest.mark.parametrize("error", [JobFailed("no"), UnknownJob("no"), InvalidJob("no"), GONE])
def test_what_another_try_cannot_mend_is_given_up_at_once(error: Exception) -> None:
    outcome = decided(limits=Limits(tries=0, retry_until=NOW + 60), error=error)

    assert isinstance(outcome, GiveUp)
    assert outcome.reason == getattr(error, "code", None)


def test_a_job_may_be_forgotten_when_its_model_is_gone() -> None:
    """Row 35: `delete_when_missing_models`; what follows in a chain is dropped."""
    assert decided(limits=Limits(drop_missing=True), error=GONE) == Finished(ends_chain=True)


def test_a_timeout_has_a_reason_of_its_own() -> None:
    late = JobTimedOut("late")

    assert decided(error=late) == GiveUp("timeout", "JobTimedOut: late")
    assert decided(limits=Limits(tries=2), error=late) == TryAgain(0.0)


def test_a_job_that_fails_on_timeouts_has_no_second_try() -> None:
    """Row 5."""
    limits = Limits(tries=9, fail_on_timeout=True)

    assert decided(limits=limits, error=JobTimedOut("late")) == GiveUp(
        "timeout", "JobTimedOut: late"
    )
    assert decided(limits=limits, error=BOOM) == TryAgain(0.0)


@pytest.mark.parametrize(("exceptions", "again"), [(0, True), (1, True), (2, False), (3, False)])
def test_exceptions_are_counted_apart_from_tries(exceptions: int, *, again: bool) -> None:
    """Row 7."""
    limits = Limits(tries=0, max_exceptions=3)

    outcome = decided(attempts=50, exceptions=exceptions, limits=limits, error=BOOM)

    assert outcome == (TryAgain(0.0) if again else GiveUp("max_exceptions", "ValueError: boom"))


@pytest.mark.parametrize(
    ("retry_until", "again"), [(NOW + 60, True), (NOW + 5, True), (NOW + 4, False), (NOW, False)]
)
def test_a_time_limit_beats_tries(retry_until: float, *, again: bool) -> None:
    """Row 8: it is given up as soon as the next try would come too late."""
    limits = Limits(tries=1, backoff=(5,), retry_until=retry_until)

    outcome = decided(attempts=9, limits=limits, error=BOOM)

    assert outcome == (TryAgain(5) if again else GIVEN_UP)


def test_max_exceptions_holds_under_a_time_limit_too() -> None:
    limits = Limits(tries=3, max_exceptions=1, retry_until=NOW + 60)

    assert decided(limits=limits, error=BOOM) == GiveUp("max_exceptions", "ValueError: boom")


@pytest.mark.parametrize("error", [None, BOOM])
def test_what_a_job_says_about_itself_counts_more_than_its_error(error: Exception | None) -> None:
    """Rows 9 and 10."""
    limits = Limits(tries=3)

    assert decided(limits=limits, error=error, verdict=Failed("no")) == GiveUp("job_failed", "no")
    assert decided(limits=limits, error=error, verdict=Deleted()) == Finished()
    assert decided(limits=limits, error=error, verdict=Released(7)) == TryAgain(7, exception=False)


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__name__":
            raise SystemExit(1)
        return super().__getattribute__(name)


class Wordless(JobFailed):
    @property
    def code(self) -> str:  # type: ignore[override]
        raise SystemExit(2)


class Silent(ValueError, metaclass=Nameless):
    def __str__(self) -> str:
        raise SystemExit(3)


def failed_with(code: object, **more: Any) -> JobFailed:
    refused: type[JobFailed] = type("Refused", (JobFailed,), {"code": code, **more})
    return refused("no")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (failed_with("paid"), "paid"),
        (failed_with("p\ud800\nd"), "p\\ud800 d"),
        (failed_with("x" * 9_999), "x" * 64),
        (failed_with(object()), "job_failed"),
        (failed_with(b"\xff"), "job_failed"),
        (failed_with(""), "job_failed"),
        (Wordless("no"), "job_failed"),
    ],
)
def test_a_reason_is_a_word_that_can_be_written(error: JobFailed, reason: str) -> None:
    outcome = decided(error=error)

    assert isinstance(outcome, GiveUp)
    assert outcome.reason == reason


def test_an_error_that_says_nothing_is_described() -> None:
    silent = Silent()

    assert described(silent) == "Exception: (its text cannot be read)"
    assert decided(error=silent) == GiveUp("exception", described(silent))


def test_a_job_that_puts_itself_back_at_its_last_try_is_given_up() -> None:
    outcome = decided(attempts=2, limits=Limits(tries=3), verdict=Released(7))

    assert isinstance(outcome, GiveUp)
    assert outcome.reason == "max_attempts"


@pytest.mark.parametrize("limited", [{"tries": 0}, {"tries": 1, "retry_until": NOW + 1}])
def test_it_goes_on_where_tries_are_not_counted(limited: dict[str, Any]) -> None:
    assert decided(attempts=9, limited=limited, verdict=Released(7)) == TryAgain(7, exception=False)


@pytest.mark.parametrize(("delay", "waits"), [(0, 1.0), (0.2, 1.0), (30, 30)])
def test_putting_off_uses_up_no_try_and_waits_a_second_at_least(delay: float, waits: float) -> None:
    """Row 9."""
    outcome = decided(attempts=0, limits=Limits(tries=1), verdict=Released(delay, counts=False))

    assert outcome == PutOff(waits)


def test_a_job_that_is_put_off_for_ever_is_given_up() -> None:
    verdict = Released(1, counts=False)

    assert decided(postponed=MAX_POSTPONED - 1, verdict=verdict) == PutOff(1)
    assert decided(postponed=MAX_POSTPONED, verdict=verdict) == GiveUp(
        "max_postponed", "it put itself off 1000 times"
    )


@pytest.mark.parametrize(
    ("tries", "attempts", "refused"), [(1, 0, False), (1, 1, True), (0, 9, False)]
)
def test_a_job_with_its_tries_used_up_is_not_started(
    tries: int, attempts: int, *, refused: bool
) -> None:
    limits, past = Limits(tries=tries), Past(attempts=attempts)

    assert (refuse_start(past=past, limits=limits, now=NOW) is not None) is refused


@pytest.mark.parametrize(("until", "reason"), [(NOW, None), (NOW - 1, "retry_until")])
def test_a_job_whose_time_is_over_is_not_started(until: float, reason: str | None) -> None:
    limits, past = Limits(tries=1, retry_until=until), Past(attempts=5)

    refusal = refuse_start(past=past, limits=limits, now=NOW)

    assert (refusal.reason if refusal else None) == reason


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
