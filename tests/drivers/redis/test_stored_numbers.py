"""Numbers that lie in Redis are read, whoever wrote them there."""

from __future__ import annotations

import math

import pytest

from broadcaster.drivers.redis.stored_numbers import number, pause_end, unix_seconds

GARBAGE = [b"", b"x", b"-9", b"1.5", b" 5", b"1:2", b"nan", b"inf", b"\xb2", b"9" * 5_000]


@pytest.mark.parametrize("value", [None, "", "²", "٣", *GARBAGE])
def test_what_is_no_number_is_0(value: bytes | str | None) -> None:
    assert number(value) == 0


def test_numbers_are_read() -> None:
    assert (number(b"0"), number(b"17"), number("17")) == (0, 17, 17)
    assert number(b"1790000000000000") == 1_790_000_000_000_000


@pytest.mark.parametrize(
    ("milliseconds", "moment"),
    [(1_500, 1.5), (0, 0), (-1, 0), (math.nan, 0), (math.inf, 1e11), (1e300, 1e11)],
)
def test_moments_are_such_as_dates_can_say(milliseconds: float, moment: float) -> None:
    assert unix_seconds(milliseconds) == moment


@pytest.mark.parametrize("value", [None, b"999", b"1000", *GARBAGE])
def test_there_is_no_pause(value: bytes | None) -> None:
    assert pause_end(value, 1.0) is None


def test_a_pause_ends_or_does_not() -> None:
    assert pause_end(b"1001", 1.0) == 1.001
    assert pause_end(b"0", 1.0) == 0
