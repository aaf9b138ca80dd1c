"""A clock that stands still until it is told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.jobs.delay import as_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.jobs.delay import Duration

START = 1_800_000_000.0


class FakeClock:
    """
    A clock for code that takes the time as an argument: ``now=clock()``, or ``clock=clock``.

    Args:
        now: Unix seconds to begin with.
    """

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._followers: list[Callable[[float], None]] = []

    def __call__(self) -> float:
        """Return the time, in Unix seconds."""
        return self._now

    def advance(self, duration: Duration) -> float:
        """
        Let time pass, also for what follows the clock; return the new time.

        Raises:
            ValueError: `duration` is negative.
        """
        seconds = as_seconds(duration, "duration")
        self._now += seconds
        for follow in self._followers:
            follow(seconds)
        return self._now

    def followed_by(self, follow: Callable[[float], None]) -> None:
        """Have `follow` called with the seconds that pass."""
        self._followers.append(follow)
