"""The hooks of failed jobs that a worker calls, beside its jobs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

logger = logging.getLogger("broadcaster.worker")


class FailedHooks:
    """Calls them, each in a task of its own, and waits for them at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, hook: Coroutine[Any, Any, None]) -> None:
        """Call the hook of a job that has been settled."""
        task = asyncio.ensure_future(hook)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def finish(self, seconds: float) -> None:
        """Wait at most `seconds` for those that run, and break off the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a failed() hook failed", exc_info=error, extra={"event": "hook_failed"})
