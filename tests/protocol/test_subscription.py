"""When a connection is renewed before its authorization ends."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.protocol.subscription import (
    LONGEST_WINDOW,
    NEVER,
    SHORTEST_STAY,
    WINDOW_SHARE,
    Subscription,
    renewal_time,
)
from broadcaster.protocol.subscription_auth import Verified

NOW = 1_700_000_000.0
ALMOST_ONE = 1 - 2**-53


@pytest.mark.parametrize(
    ("lifetime", "chance", "after"),
    [
        (100, 0.0, 90),  # the last tenth begins
        (100, 0.5, 94.5),
        (100, ALMOST_ONE, 99),  # a gateway looks every half second
        (8, 0.0, 7.2),
        (8, ALMOST_ONE, 7.2),
        (600, 0.0, 540),
        (3_600, 0.0, 3_540),  # a minute at most
        (86_400, 0.5, 86_369.5),
        (30 * 86_400, 0.0, 30 * 86_400 - 60),
        # Too short to be renewed in time: it ends, and the client comes back later.
        (5, 0.0, 5),
        (3, 0.0, 5),
        (0.1, 0.5, 5),
        (-4, 0.5, 5),
    ],
)
def test_a_connection_is_renewed_in_the_last_tenth_or_minute(
    lifetime: float, chance: float, after: float
) -> None:
    at = renewal_time(seen_at=NOW, expires_at=NOW + lifetime, chance=chance)

    assert at - NOW == pytest.approx(after, abs=1e-6)


@given(st.floats(0, 1e7), st.floats(0, 1, exclude_max=True))
def test_renewal_is_never_a_loop_and_never_out_of_its_window(
    lifetime: float, chance: float
) -> None:
    after = renewal_time(seen_at=0.0, expires_at=lifetime, chance=chance)

    assert after >= SHORTEST_STAY
    assert after >= min(lifetime * (1 - WINDOW_SHARE), lifetime - LONGEST_WINDOW)
    assert after <= max(lifetime, SHORTEST_STAY)


def test_clients_that_came_together_are_spread_over_the_window() -> None:
    times = [
        renewal_time(seen_at=NOW, expires_at=NOW + 3_600, chance=step / 100) for step in range(100)
    ]

    gaps = {round(later - sooner, 3) for sooner, later in pairwise(times)}
    assert gaps == {0.59}


def test_a_plan_stands_once_it_is_made() -> None:
    subscription = Subscription(1, Verified(expires_at=NOW + 100))

    first = subscription.plan(NOW, 0.5)

    assert subscription.plan(NOW + 50, 0.1) == first


def test_what_never_expires_is_never_renewed() -> None:
    assert Subscription(1, Verified()).plan(NOW, 0.5) == NEVER
