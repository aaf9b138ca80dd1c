"""How long to wait before a job is tried again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from broadcaster.jobs.delay import Duration, as_seconds

Backoff = Duration | Sequence[Duration]


def as_backoff(backoff: Backoff) -> tuple[float, ...]:
    """
    Return seconds before each retry.

    Args:
        backoff: one duration for every retry, or one per retry, the last of which repeats.

    Raises:
        ValueError: a negative, infinite or absurd duration.
    """
    steps = (backoff,) if isinstance(backoff, int | float | timedelta) else backoff
    return tuple(as_seconds(step, "backoff") for step in steps)


def delay_before_retry(attempt: int, backoff: Sequence[float]) -> float:
    """
    Return the seconds to wait after try number `attempt` (from 1) has failed.

    Source: Laravel, ``Worker::calculateBackoff``: the last step repeats.
    """
    if not backoff:
        return 0.0
    return backoff[min(attempt, len(backoff)) - 1]


def shortened(delay: float, jitter: float, chance: float) -> float:
    """
    Return `delay` less up to the part `jitter` of it.

    Args:
        jitter: 0 to 1; 0 takes nothing away.
        chance: 0 to 1, chosen at random.
    """
    return delay * (1.0 - jitter * chance)


def growing(attempt: int, *, first: float = 0.1, longest: float = 2.0) -> float:
    """Return `first` seconds after the first failure, doubling up to `longest`."""
    return min(longest, first * 2.0 ** min(attempt - 1, 30))
