from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from broadcaster.jobs.delay import as_seconds, hours, minutes, seconds


def test_durations_are_seconds() -> None:
    assert (seconds(2), minutes(5), hours(1.5)) == (2.0, 300.0, 5400.0)
    assert as_seconds(timedelta(days=1)) == 86_400.0
    assert as_seconds(3) == 3.0


@pytest.mark.parametrize("duration", [-0.1, float("nan"), float("inf"), timedelta(days=400)])
def test_an_impossible_duration_is_refused_by_name(duration: Any) -> None:
    with pytest.raises(ValueError, match="delay must be 0 to"):
        as_seconds(duration, "delay")


@pytest.mark.parametrize("duration", ["5", b"5", True])
def test_what_is_no_number_is_refused_by_name(duration: Any) -> None:
    with pytest.raises(TypeError, match="delay must be a number of seconds or a timedelta"):
        as_seconds(duration, "delay")
