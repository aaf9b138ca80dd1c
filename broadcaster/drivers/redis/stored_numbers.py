"""
Reading numbers that lie in Redis, whoever wrote them there: pure functions.

Scripts write whole decimal numbers. Anything else (another program's, a half restored
backup's) must not stop a worker or a command: it is read as if nothing were there.
"""

from __future__ import annotations

MAX_DIGITS = 16
"""Whole numbers of more digits are none that a script could have written."""
MAX_MOMENT = 1e14
"""Milliseconds: the year 5138, which dates still can say."""


def number(value: bytes | str | None) -> int:
    """Return a whole number from 0; 0 for anything else."""
    if not value or len(value) > MAX_DIGITS or not value.isdigit() or not value.isascii():
        return 0
    return int(value)


def unix_seconds(milliseconds: float) -> float:
    """Return Unix seconds, from 0 to what dates can say."""
    return min(milliseconds, MAX_MOMENT) / 1000 if milliseconds > 0 else 0.0


def pause_end(value: bytes | None, now: float) -> float | None:
    """
    Return when a pause ends; None if there is none.

    Args:
        value: ``paused_until`` of ``queue_step.lua``.
        now: Unix seconds, by the store's clock.

    Returns:
        Unix seconds; 0 if it does not end by itself.
    """
    if value is None or not value.isdigit() or len(value) > MAX_DIGITS:
        return None
    ends = unix_seconds(int(value))
    return ends if ends == 0 or ends > now else None
