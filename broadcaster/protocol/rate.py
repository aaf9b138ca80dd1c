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
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def spend(self, count: int, now: float) -> float:
        """
        Take `count` tokens, more than there are if need be; the debt comes back like tokens.

        So what costs more than the bucket holds passes once, and what comes after it waits.

        Returns:
            0 when they were taken; else seconds until they can be, and nothing was taken.
        """
        self._refill(now)
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= count
        return 0.0

    def _refill(self, now: float) -> None:
        if self._at is not None:
            passed = max(now - self._at, 0.0)
            self._tokens = min(self._burst, self._tokens + passed * self._rate)
        self._at = now
