"""How often something may happen: a token bucket whose clock is an argument."""

from __future__ import annotations


class TokenBucket:
    """
    Allows `rate` a second on average, and `burst` at once.

    Args:
        rate: tokens that come back each second.
        burst: tokens it holds; it begins full. Default is the rate.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float | None = None) -> None:
        self._rate = rate
        self._burst = rate if burst is None else burst
        self._tokens = self._burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take a token if there is one; a clock (`now`, seconds) that is set back adds none."""
        if self._at is not None:
            passed = max(now - self._at, 0.0)
            self._tokens = min(self._burst, self._tokens + passed * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
