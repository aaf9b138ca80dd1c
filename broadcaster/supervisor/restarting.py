"""
When a process that has ended is started again: one policy for all who keep processes. Pure.

``supervise``, ``work --processes``, ``serve --workers`` and ``dev`` go by it. Where they differ
on purpose, the difference is an argument of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE = 0.5
"""Seconds before a process that has died young is started again for the first time."""
SHORT_LIFE = 1.0
"""Who has ended in good order after so many seconds has done some work."""
LONG_LIFE = 10.0
"""Who has lived for so many seconds is able to run."""
HOPELESS = frozenset({2, 78})
"""Exit codes of who would end so again: wrong usage, wrong settings."""
EXPECTED = frozenset({0, 12})
"""Exit codes that are no deaths: stopped in good order, or over its memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """
    How long those wait who are started again.

    Attributes:
        first: seconds after the first early death; each further one doubles them.
        longest: seconds that they are at most.
        rested: seconds after a long life, however it has ended.
        hopeless: seconds after one of `HOPELESS`; None: as after any other early death.
        endless: it is to run until it is told to stop, so one that ends by itself has died,
            in whatever order.
    """

    first: float = FIRST_PAUSE
    longest: float
    rested: float = FIRST_PAUSE
    hopeless: float | None = None
    endless: bool = False

    def pause(self, code: int, lived: float, before: float) -> float:
        """
        Return the seconds before a process that has ended is started again.

        One that has done what it should (its jobs, its time) goes on at once; one that dies
        young waits longer each time.

        Args:
            code: what it ended with; negative is a signal.
            lived: seconds.
            before: the pause before this start; 0 for the first one.
        """
        if code in HOPELESS and self.hopeless is not None:
            return self.hopeless
        done = code == 0 and not self.endless
        if done and lived >= SHORT_LIFE:
            return 0.0
        if lived >= LONG_LIFE:
            return self.rested
        return self.first if done else self.longer(before)

    def longer(self, before: float) -> float:
        """Return the pause that follows on one of `before` seconds."""
        return min(max(before * 2, self.first), self.longest)
