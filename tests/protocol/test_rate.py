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


def test_spending_more_than_there_is_passes_once_and_is_paid_back() -> None:
    bucket = TokenBucket(10)

    assert bucket.spend(100, 0.0) == 0
    assert bucket.spend(1, 0.0) == 9.1
    assert bucket.spend(1, 9.0) > 0
    assert bucket.spend(1, 9.2) == 0


def test_what_could_not_be_spent_costs_nothing() -> None:
    bucket = TokenBucket(1)
    bucket.spend(2, 0.0)

    waits = [bucket.spend(5, 1.0) for _ in range(3)]

    assert waits == [1.0, 1.0, 1.0]


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), max_size=50), st.integers(1, 20))
def test_spending_keeps_the_rate_on_average(asked: list[tuple[float, int]], rate: int) -> None:
    bucket, now, spent, last = TokenBucket(rate), 0.0, 0, 0
    for pause, count in asked:
        now += pause
        if not bucket.spend(count, now):
            spent, last = spent + count, count

    assert spent - last <= rate + now * rate + 1e-6
