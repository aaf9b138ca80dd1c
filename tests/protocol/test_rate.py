"""Token buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broadcaster.protocol.rate import TokenBucket


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    bucket = TokenBucket(2, burst=3)

    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5) for _ in range(2)] == [True, False]
    assert [bucket.take(1_000.0) for _ in range(4)] == [True, True, True, False]


def test_the_burst_is_the_rate_unless_said_otherwise() -> None:
    bucket = TokenBucket(1)

    assert [bucket.take(0.0), bucket.take(0.0), bucket.take(1.0)] == [True, False, True]


def test_a_rate_of_zero_allows_nothing() -> None:
    assert not TokenBucket(0).take(1.0)


@given(st.lists(st.floats(0, 5), max_size=100), st.integers(1, 20))
def test_no_second_sees_more_than_burst_and_rate(pauses: list[float], rate: int) -> None:
    bucket, now, taken = TokenBucket(rate), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)

    assert taken <= rate + now * rate + 1e-6
