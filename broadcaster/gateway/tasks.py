"""Owned background tasks: nothing is fired and forgotten."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_log = logging.getLogger("broadcaster.gateway")

RESTART_SECONDS = 1.0
CANCELS = 3  # a task may lose one: asyncio.wait_for of Python 3.11 does, in libraries too
CANCEL_SECONDS = 1.0


class TaskOwner:
    """
    Starts tasks and timers, logs tasks that fail, and cancels the rest when it is closed.

    After that nothing starts any more.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._closed = False

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` until it ends or the owner is closed."""
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def keep(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Like `spawn`; if it fails, run it again a second later."""
        self.spawn(_kept(work, name), name)

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """Call `callback` after `delay` seconds, unless the owner is closed before."""

        def fire() -> None:
            self._timers.discard(timer)
            callback()

        if not self._closed:
            timer = asyncio.get_running_loop().call_later(delay, fire)
            self._timers.add(timer)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task %s failed", task.get_name(), exc_info=error, extra={"event": "bug"})

    async def aclose(self) -> None:
        """Cancel what still runs and wait for it to end."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        running = set(self._tasks)
        for _ in range(CANCELS):
            if not running:
                return
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)
        for task in running:
            _log.error("task %s does not end", task.get_name(), extra={"event": "bug"})


async def _kept(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - a task that the node needs must not stay dead
            _log.exception("task %s failed; it starts again", name, extra={"event": "bug"})
        else:
            return
        await asyncio.sleep(RESTART_SECONDS)
