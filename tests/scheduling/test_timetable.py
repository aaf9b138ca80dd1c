from __future__ import annotations

import pytest

from broadcaster.jobs.bus import prepared
from broadcaster.scheduling.timetable import (
    Due,
    Entry,
    EveryTimes,
    due,
    next_due,
    upcoming,
)
from tests.scheduling.scheduled_jobs import Tidy


def entry(seconds: float, name: str = "tidy", catch_up: float = 60.0) -> Entry:
    return Entry(name=name, job=prepared(Tidy()), times=EveryTimes(seconds), catch_up=catch_up)


def test_every_process_finds_the_same_moments() -> None:
    assert upcoming(entry(60), 100.0, 2) == [120.0, 180.0]
    assert upcoming(entry(60), 120.0, 1) == [180.0]


def test_a_moment_is_due_when_it_has_come_and_once_only() -> None:
    minutely = entry(60)

    assert due([minutely], {}, 120.0) == [Due(minutely, 120.0, 0)]
    assert due([minutely], {"tidy": 120.0}, 179.9) == []
    assert due([minutely], {"tidy": 120.0}, 180.0) == [Due(minutely, 180.0, 0)]


def test_of_what_was_missed_only_the_last_moment_is_made_up_for() -> None:
    often = entry(10, catch_up=60)

    assert due([often], {}, 1_005.0) == [Due(often, 1_000.0, 5)]


def test_what_was_missed_for_too_long_is_not_made_up_for() -> None:
    hourly = entry(3_600, catch_up=60)

    assert due([hourly], {}, 3_659.0) == [Due(hourly, 3_600.0, 0)]
    assert due([hourly], {}, 3_661.0) == []


def test_a_clock_that_goes_back_repeats_nothing() -> None:
    assert due([entry(60)], {"tidy": 180.0}, 130.0) == []


def test_a_moment_that_a_wrong_clock_has_queued_far_ahead_stops_nothing() -> None:
    """As after a clock that was a year ahead for a moment."""
    assert due([entry(60)], {"tidy": 3e7}, 130.0) == due([entry(60)], {}, 130.0) != []


def test_what_was_due_first_comes_first() -> None:
    slow, quick = entry(40, "slow"), entry(20, "quick")

    assert [each.entry.name for each in due([quick, slow], {}, 119.0)] == ["slow", "quick"]
    assert next_due([quick, slow], 119.0) == 120.0
    assert next_due([], 119.0) is None


@pytest.mark.parametrize("seconds", [0, 0.5, -1, 1e9, float("nan")])
def test_a_rhythm_under_a_second_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="every must be"):
        EveryTimes(seconds)
