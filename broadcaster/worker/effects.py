"""
Doing what follows from settled jobs: links of chains, marks of batches, callbacks.

A step says what is owed; it is done beside the loop, so that no job waits for it. What cannot
be done now is owed again, to this worker or another.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from broadcaster.contracts.queue import OWED_SECONDS
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.jobs.telling import tell_queued, tell_queueing
from broadcaster.worker.failed_hooks import FailedHooks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from broadcaster.contracts.queue import NewJob, Owed, Pushed, Queue

logger = logging.getLogger("broadcaster.worker")

MAX_CALLS = 8

Telling: TypeAlias = "Callable[[], Coroutine[Any, Any, None]]"
"""Tells listeners that a job was given up, and returns the call of its hook."""
AfterCrash: TypeAlias = "Callable[[str, Owed], tuple[Owed, Telling | None]]"


class Effects:
    """
    What a worker owes.

    Args:
        queue: does it.
        done: called when something was done: jobs may have come into any queue.
        after_crash: returns what follows from a job that the store has failed by itself, and
            what tells of it when that is done.
        connection: name of the queue connection, for who listens to what is queued.
        hooks: call those of jobs that were given up.
    """

    def __init__(
        self,
        queue: Queue,
        done: Callable[[], None],
        after_crash: AfterCrash | None = None,
        connection: str = "default",
        hooks: FailedHooks | None = None,
    ) -> None:
        self._queue = queue
        self._done = done
        self._after_crash = after_crash
        self._connection = connection
        self._hooks = hooks or FailedHooks()
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether something is being done."""
        return bool(self._calls)

    async def take(self, queue: str, owed: Sequence[Owed]) -> None:
        """
        Begin to do what a step of `queue` has said; waits while too much is under way.

        Not for longer than it is left to this worker: then it is owed again.
        """
        if len(self._calls) >= MAX_CALLS:
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait(self._calls, timeout=OWED_SECONDS, return_when=first)
        if len(self._calls) >= MAX_CALLS:
            return
        call = asyncio.create_task(self._apply(queue, owed), name=f"effects of {queue}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def finish(self, seconds: float) -> None:
        """Wait at most `seconds` for what is under way."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=seconds)
        for call in self._calls:
            call.cancel()

    async def _apply(self, queue: str, owed: Sequence[Owed]) -> None:
        try:
            known = [self._known(queue, one) for one in owed]
            await self._do(queue, [one for one, tell in known if tell is None])
            for one, tell in known:
                # Alone: of several, nobody says which of them were refused.
                if tell is not None and await self._do(queue, [one]):
                    self._hooks.call(tell())
        except DriverUnavailable as error:
            logger.debug("effects wait: %s", error, extra={"event": "effects_wait", "queue": queue})
        except Exception:
            logger.exception("effects failed", extra={"event": "bug", "queue": queue})
        else:
            self._done()

    async def _do(self, queue: str, owed: Sequence[Owed]) -> bool:
        """Do what is owed; False if some of it was refused, which is owed again."""
        if not owed:
            return True
        try:
            await self._queue.apply(queue, owed, self._push)
        except DriverRefused as error:
            text = "what follows from jobs of %s is refused, and will be tried again: %s"
            fields = {"event": "effects_refused", "queue": queue}
            logger.warning(text, queue, error, extra=fields)
            return False
        return True

    async def _push(self, jobs: Sequence[NewJob]) -> Pushed:
        """Queue links and callbacks, and tell of those that nobody had queued before."""
        tell_queueing(self._connection, jobs)
        pushed = await self._queue.apush(jobs)
        tell_queued(self._connection, pushed.new_of(jobs))
        return pushed

    def _known(self, queue: str, owed: Owed) -> tuple[Owed, Telling | None]:
        if owed.given_up is None or self._after_crash is None:
            return owed, None
        return self._after_crash(queue, owed)
