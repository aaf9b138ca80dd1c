"""What a worker does again and again beside its jobs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger("broadcaster.worker")


class Repeating:
    """
    Awaits `once` again and again, in a task of its own; what it raises is logged.

    Args:
        seconds: from the end of one time to the next.
        name: of the task.
    """

    def __init__(self, once: Callable[[], Awaitable[object]], seconds: float, *, name: str) -> None:
        self._once = once
        self._seconds = seconds
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with the first time at once."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> bool:
        """Break off and wait for that; False if it had not begun, or was stopped already."""
        task, self._task = self._task, None
        if task is None:
            return False
        task.cancel()
        await asyncio.wait([task])
        return True

    async def _run(self) -> None:
        while True:
            try:
                await self._once()
            except Exception:
                logger.exception("%s: failed; it goes on", self._name, extra={"event": "bug"})
            await asyncio.sleep(self._seconds)
