from __future__ import annotations

from datetime import UTC, datetime
from itertools import takewhile

import pytest

from broadcaster.scheduling.cron import CronTimes

BERLIN = "Europe/Berlin"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def between(times: CronTimes, begin: str, end: str) -> list[str]:
    found = takewhile(lambda moment: moment <= at(end), times.after(at(begin)))
    return [datetime.fromtimestamp(moment, UTC).strftime("%d %H:%M") for moment in found]


def test_an_expression_means_the_clocks_of_its_time_zone() -> None:
    times = CronTimes("0 7 * * *", BERLIN)

    assert between(times, "2026-01-10T00:00", "2026-01-11T00:00") == ["10 06:00"]
    assert between(times, "2026-07-10T00:00", "2026-07-11T00:00") == ["10 05:00"]


def test_a_job_of_an_hour_that_is_left_out_is_due_after_the_gap() -> None:
    """In Berlin, 29 March 2026 has no 02:30: at 01:00 UTC it becomes 03:00."""
    times = CronTimes("30 2 * * *", BERLIN)

    assert between(times, "2026-03-28T12:00", "2026-03-30T12:00") == ["29 01:00", "30 00:30"]


def test_a_job_of_an_hour_that_comes_twice_is_due_once() -> None:
    """In Berlin, 25 October 2026 has 02:30 twice, at 00:30 and 01:30 UTC."""
    times = CronTimes("30 2 * * *", BERLIN)

    assert len(between(times, "2026-10-24T12:00", "2026-10-25T12:00")) == 1


@pytest.mark.parametrize("begin", ["2026-10-25T00:30", "2026-10-25T01:04", "2026-10-25T01:30"])
def test_what_was_due_in_the_first_of_two_equal_hours_is_over_in_the_second(begin: str) -> None:
    """Else it would be due all the time in there, and a runner never wait."""
    times = CronTimes("30 2 * * *", BERLIN)

    assert between(times, begin, "2026-10-26T12:00") == ["26 01:30"]


def test_what_is_due_each_hour_goes_by_the_time_that_passes() -> None:
    times = CronTimes("0 * * * *", BERLIN)

    spring = between(times, "2026-03-28T23:30", "2026-03-29T03:30")
    autumn = between(times, "2026-10-24T22:30", "2026-10-25T02:30")

    assert spring == ["29 00:00", "29 01:00", "29 02:00", "29 03:00"]
    assert autumn == ["24 23:00", "25 00:00", "25 01:00", "25 02:00"]


@pytest.mark.parametrize("expression", ["", "* * * *", "61 * * * *", "x * * * *", "0 0 30 2 *"])
def test_an_expression_that_is_never_due_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        CronTimes(expression)


def test_a_time_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone 'Berlin'"):
        CronTimes("* * * * *", "Berlin")
