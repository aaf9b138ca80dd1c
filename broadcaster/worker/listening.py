"""Waiting for hints that a queue has jobs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from broadcaster.errors import DriverRefused, DriverUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.queue import Queue
    from broadcaster.worker.source import Source

logger = logging.getLogger("broadcaster.worker")

AWAY_SECONDS = 1.0
BUSY_SECONDS = 0.01
"""Pause after a hint for what is being looked after anyway."""


def listen(
    source: Source,
    queue: Queue,
    tick: float,
    wake: Callable[[], None],
    doubt: Callable[[], None],
) -> asyncio.Task[None]:
    """
    Return a task that listens for hints about `source` while it is cold.

    Args:
        tick: longest wait for one, in seconds.
        wake: called when one has come.
        doubt: called when the queue cannot be reached.
    """
    listening = _listen(source, queue, tick, wake, doubt)
    task = asyncio.create_task(listening, name=f"hints of {source.name}")
    task.add_done_callback(_report)
    return task


async def _listen(
    source: Source,
    queue: Queue,
    tick: float,
    wake: Callable[[], None],
    doubt: Callable[[], None],
) -> None:
    while True:
        await source.cold.wait()
        try:
            hint = await queue.wait(source.name, tick)
        except (DriverUnavailable, DriverRefused):
            doubt()
            await asyncio.sleep(AWAY_SECONDS)  # the steps report it
            continue
        if hint is None:
            continue
        line = source.line(hint)
        known = line.busy or line.hot
        line.hint()
        source.cold.clear()
        wake()
        if known:
            await asyncio.sleep(BUSY_SECONDS)


def _report(listener: asyncio.Task[None]) -> None:
    """Say that a listener has failed: jobs are still found, but a tick later."""
    if not listener.cancelled() and (error := listener.exception()) is not None:
        logger.error("%s failed", listener.get_name(), exc_info=error, extra={"event": "bug"})
