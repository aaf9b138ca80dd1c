"""What counts per quarter minute say."""

from __future__ import annotations

import pytest

from broadcaster.contracts.queue_admin import RUNTIME_BOUNDS, bin_of
from broadcaster.drivers.redis.queue_stats import KEPT_SECONDS, oldest_age, quantile, runtimes

NOW = 1_800_000_010.0
"""Ten seconds after a quarter of an hour began."""
BUCKET = 120_000_000
COARSE = 2_000_000


def counts(**fields: int) -> dict[bytes, bytes]:
    return {name.encode(): b"%d" % count for name, count in fields.items()}


@pytest.mark.parametrize(
    ("ready", "age"),
    [(1, 0.0), (5, 0.0), (6, 10.0), (8, 10.0), (9, 3_520.0), (10, 3_520.0)],
)
def test_those_that_wait_are_the_last_that_became_ready(ready: int, age: float) -> None:
    stats = counts(
        **{f"r{BUCKET}": 5, f"r{BUCKET - 1}": 3, f"r{BUCKET - 235}": 2, f"d{BUCKET - 2}": 99}
    )

    assert oldest_age(ready, stats, NOW) == pytest.approx(age, abs=15)


def test_what_is_older_than_an_hour_is_estimated() -> None:
    stats = counts(**{f"r{BUCKET}": 5, f"R{COARSE - 8}": 100})

    age = oldest_age(55, stats, NOW)

    assert age == pytest.approx(7.5 * 900 + 10)


def test_nothing_waits_and_more_waits_than_was_counted() -> None:
    assert oldest_age(0, counts(**{f"r{BUCKET}": 5}), NOW) is None
    assert oldest_age(6, counts(**{f"r{BUCKET}": 5}), NOW) == KEPT_SECONDS
    assert oldest_age(1, {b"rubbish": b"x"}, NOW) == KEPT_SECONDS


def test_a_quantile_lies_evenly_within_its_bin() -> None:
    assert quantile({0: 10}, 0.5) == pytest.approx(RUNTIME_BOUNDS[0] / 2)
    assert quantile({10: 50, 20: 50}, 0.5) == pytest.approx(RUNTIME_BOUNDS[10])
    assert RUNTIME_BOUNDS[19] < quantile({10: 50, 20: 50}, 0.95) < RUNTIME_BOUNDS[20]
    assert quantile({}, 0.5) == 0.0


def test_bins_reach_from_a_millisecond_to_hours() -> None:
    assert bin_of(0.0) == bin_of(0.001) == 0
    assert bin_of(1e9) == len(RUNTIME_BOUNDS) - 1
    for seconds in (0.002, 0.1, 1.0, 3_600.0):
        at = bin_of(seconds)
        assert RUNTIME_BOUNDS[at - 1] < seconds <= RUNTIME_BOUNDS[at]


def test_runtimes_of_slots_that_are_over_do_not_count() -> None:
    present = int(NOW // 900)
    slots = [
        {b"slot": b"%d" % (present - 2), b"Old|3": b"5"},
        {b"slot": b"%d" % (present - 1), b"New|3": b"5", b"c|New": b"1", b"bad|999": b"1"},
    ]

    assert [(each.job, each.ended) for each in runtimes(slots, NOW)] == [("New", 5)]
