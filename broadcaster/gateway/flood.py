"""Counting lines of the log that strangers can cause, instead of writing every one."""

from __future__ import annotations

import logging

from broadcaster.protocol.rate import TokenBucket

_log = logging.getLogger("broadcaster.gateway")

LINES_A_SECOND, LINES_AT_ONCE = 20, 200


class Flood:
    """
    Lets so many lines a second pass, and says with the next one how many did not.

    Args:
        rest: the line that says it, with a place for the number.
        event: its name.
    """

    def __init__(self, rest: str, event: str) -> None:
        self._rest = rest
        self._event = event
        self._lines = TokenBucket(LINES_A_SECOND, burst=LINES_AT_ONCE)
        self._unsaid = 0

    def passes(self, now: float) -> bool:
        """Whether one more line may be written now, in seconds of any clock."""
        if not self._lines.take(now):
            self._unsaid += 1
            return False
        if self._unsaid:
            _log.info(self._rest, self._unsaid, extra={"event": self._event})
            self._unsaid = 0
        return True
