"""What a worker knows about times in which its queue cannot be reached."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from broadcaster.jobs.backoff import growing

if TYPE_CHECKING:
    from broadcaster.errors import DriverRefused, DriverUnavailable

logger = logging.getLogger("broadcaster.worker")


class Outages:
    """
    Counts failures in a row, and says when to try again.

    Attributes:
        failures: in a row; 0 while the queue can be reached.
        retry_at: monotonic time before which no step is tried.
        uncertain: a step failed that may have been carried out, and what it was to settle is
            not settled yet: a refusal then means that it was.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.retry_at = 0.0
        self.uncertain = False
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
        self.uncertain = True
        self.retry_at = now + growing(self.failures)

    def back(self) -> None:
        """Note that it was reached."""
        if self.failures:
            logger.info("queue is back", extra={"event": "queue_back"})
        self.failures = 0
        self.retry_at = 0.0
