from __future__ import annotations

import pytest

from broadcaster import minutes
from broadcaster.testing import FakeClock


def test_it_stands_still_until_it_is_told_otherwise() -> None:
    clock = FakeClock(1_000.0)

    assert [clock(), clock()] == [1_000.0, 1_000.0]
    assert clock.advance(minutes(1)) == 1_060.0
    assert clock() == 1_060.0


def test_who_follows_it_is_told_how_much_time_has_passed() -> None:
    clock = FakeClock()
    passed: list[float] = []
    clock.followed_by(passed.append)

    clock.advance(5)
    clock.advance(0.5)

    assert passed == [5.0, 0.5]


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="duration"):
        FakeClock().advance(-1)
