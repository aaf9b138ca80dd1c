from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.jobs.backoff import as_backoff, delay_before_retry, growing

if TYPE_CHECKING:
    from broadcaster.jobs.backoff import Backoff


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        (5, (5.0,)),
        (0.5, (0.5,)),
        (timedelta(minutes=1), (60.0,)),
        ([1, 5, timedelta(seconds=30)], (1.0, 5.0, 30.0)),
        ((), ()),
    ],
)
def test_a_backoff_is_one_duration_or_one_per_retry(
    given: Backoff, steps: tuple[float, ...]
) -> None:
    assert as_backoff(given) == steps


@pytest.mark.parametrize("given", [-1, [1, -1], float("nan"), float("inf"), 10**9])
def test_an_impossible_backoff_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="backoff must be 0 to"):
        as_backoff(given)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1.0), (2, 5.0), (3, 5.0), (99, 5.0)])
def test_the_last_step_repeats(attempt: int, delay: float) -> None:
    assert delay_before_retry(attempt, (1.0, 5.0)) == delay


def test_no_backoff_is_no_delay() -> None:
    assert delay_before_retry(3, ()) == 0.0


def test_a_growing_delay_doubles_up_to_its_longest() -> None:
    assert [growing(n) for n in (1, 2, 3, 6, 10_000)] == [0.1, 0.2, 0.4, 2.0, 2.0]
