"""What a worker knows about times in which its queue cannot be reached."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from broadcaster.jobs.backoff import growing

if TYPE_CHECKING:
    from broadcaster.errors import DriverRefused, DriverUnavailable

logger = logging.getLogger("broadcaster.worker")

LONGEST_PAUSE = 2.0
"""Seconds between two tries, at most."""
TRIES_IN_A_LEASE = 6
"""
After an outage others leave what this worker holds alone for a third of the lease. Within that
it must have come back and settled what ended meanwhile, or that would run again.
"""


class Outages:
    """
    Counts failures in a row, and says when to try again.

    Args:
        lease: seconds for which jobs are held.

    Attributes:
        failures: in a row; 0 while the queue can be reached.
        retry_at: monotonic time before which no step is tried.
    """

    def __init__(self, lease: float) -> None:
        self._longest = min(LONGEST_PAUSE, lease / TRIES_IN_A_LEASE)
        self.failures = 0
        self.retry_at = 0.0
        self._since = 0.0

    def seconds(self, now: float) -> float:
        """Return how long the queue has been away at `now`, monotonic; 0 if it is not."""
        return now - self._since if self.failures else 0.0

    def away(self, error: DriverUnavailable | DriverRefused) -> None:
        """Note that it could not be reached."""
        now = time.monotonic()
        if self.failures == 0:
            self._since = now
            logger.warning("queue away, trying on: %s", error, extra={"event": "queue_away"})
        self.failures += 1
        self.retry_at = now + growing(self.failures, longest=self._longest)

    def back(self) -> None:
        """Note that it was reached."""
        if self.failures:
            logger.info("queue is back", extra={"event": "queue_back"})
        self.failures = 0
        self.retry_at = 0.0
