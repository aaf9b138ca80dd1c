"""Durations as jobs take them: seconds, or a `timedelta`."""

from __future__ import annotations

import math
from datetime import timedelta

Duration = float | timedelta

_LONGEST = 31_536_000.0


def seconds(count: float) -> float:
    """Return `count` seconds; reads well beside `minutes` and `hours`."""
    return float(count)


def minutes(count: float) -> float:
    """Return `count` minutes in seconds."""
    return count * 60.0


def hours(count: float) -> float:
    """Return `count` hours in seconds."""
    return count * 3600.0


def as_seconds(duration: Duration, what: str = "duration") -> float:
    """
    Return `duration` in seconds.

    Raises:
        TypeError: text, or a bool; the message names `what`.
        ValueError: negative, not finite, or over a year.
    """
    if isinstance(duration, str | bytes | bool):
        raise TypeError(f"{what} must be a number of seconds or a timedelta, not {duration!r}")
    value = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not math.isfinite(value) or not 0 <= value <= _LONGEST:
        raise ValueError(f"{what} must be 0 to {_LONGEST:,.0f} seconds (a year), not {duration!r}")
    return value
