"""
Pushes of many coroutines that share a round trip.

Whoever pushes in the same tick of an event loop goes with the same call: one script for
fifty jobs costs little more than one for a single job. Nobody waits for others: a call
leaves at the end of the tick in which it was made.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.contracts.queue import NewJob
    from broadcaster.drivers.redis.queue_push import Outcome

MAX_GATHERED = 1_000


class Gathering:
    """
    Sends what is pushed at once together.

    Args:
        send: queues jobs and returns what became of each, in order.
    """

    def __init__(self, send: Callable[[Sequence[NewJob]], Awaitable[list[Outcome]]]) -> None:
        self._send = send
        # Each event loop touches its own entry only, which lives for one tick.
        self._open: dict[asyncio.AbstractEventLoop, _Call] = {}

    async def push(self, jobs: Sequence[NewJob]) -> list[Outcome]:
        """
        Queue `jobs` and return what became of each, in order.

        A caller that is cancelled leaves the call to the others; its jobs may be queued.
        """
        loop = asyncio.get_running_loop()
        call = self._open.get(loop)
        if call is None or len(call.jobs) + len(jobs) > MAX_GATHERED:
            call = self._open[loop] = _Call()
            call.task = loop.create_task(self._leave(loop, call), name="push")
            call.task.add_done_callback(partial(self._over, loop, call))
        first = len(call.jobs)
        call.jobs += jobs
        assert call.task is not None
        outcomes = await asyncio.shield(call.task)
        return outcomes[first : first + len(jobs)]

    async def _leave(self, loop: asyncio.AbstractEventLoop, call: _Call) -> list[Outcome]:
        self._shut(loop, call)
        return await self._send(call.jobs)

    def _shut(self, loop: asyncio.AbstractEventLoop, call: _Call) -> None:
        if self._open.get(loop) is call:
            del self._open[loop]

    def _over(
        self, loop: asyncio.AbstractEventLoop, call: _Call, task: asyncio.Task[list[Outcome]]
    ) -> None:
        self._shut(loop, call)  # its loop may have ended before it began
        if not task.cancelled():
            task.exception()  # the callers are told; when none is left, nobody is


class _Call:
    __slots__ = ("jobs", "task")

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.task: asyncio.Task[list[Outcome]] | None = None
