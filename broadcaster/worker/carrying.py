"""A worker carries failed jobs from Redis to where they are kept, every few seconds."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError
from broadcaster.worker.repeating import Repeating

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("broadcaster.worker")

CARRY_SECONDS = 5.0
LAST_SECONDS = 5.0


class FailedCarrier:
    """
    Calls `carry` in a thread, again and again.

    What cannot be carried stays where it is, and is carried later.

    Args:
        carry: moves what has failed and returns how many jobs; blocking.
        seconds: between two calls.
    """

    def __init__(self, carry: Callable[[], int], seconds: float = CARRY_SECONDS) -> None:
        self._carry = carry
        self._repeating = Repeating(self._once, seconds, name="failed jobs")
        self._away = False

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    async def stop(self) -> None:
        """Carry once more, for some seconds at most, and end."""
        if not await self._repeating.stop():
            return
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._once()
        except TimeoutError:
            logger.warning("failed jobs stay in Redis for now", extra={"event": "failed_left"})

    async def _once(self) -> None:
        try:
            count = await asyncio.to_thread(self._carry)
        except DriverError as error:
            if not self._away:
                text = "failed jobs stay in Redis for now: %s"
                logger.warning(text, error, extra={"event": "failed_left"})
            self._away = True
            return
        except Exception:
            logger.exception("failed jobs could not be carried", extra={"event": "bug"})
            return
        if self._away:
            logger.info("failed jobs are kept again", extra={"event": "failed_kept"})
        self._away = False
        if count:
            logger.debug("carried %d failed jobs", count, extra={"event": "failed_carried"})
