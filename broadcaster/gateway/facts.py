"""Facts that this node found out itself, on their way to the queue."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError, DriverRefused

if TYPE_CHECKING:
    from broadcaster.contracts.facts import Fact, FactSink

_log = logging.getLogger("broadcaster.facts")

MAX_WAITING = 10_000
BATCH = 200
RETRY_SECONDS = 0.25
REFUSED_SECONDS = 5.0


class Facts:
    """
    Queues facts in the order in which they were told.

    Named policy when `MAX_WAITING` is reached, which takes an outage of Redis: the newest is
    dropped, and the log says how many were. Facts that Redis itself finds out (who came,
    who went) do not pass here before they are safe.
    """

    def __init__(self, sink: FactSink) -> None:
        self._sink = sink
        self._waiting: deque[Fact] = deque()
        self._event = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropped = 0

    def tell(self, fact: Fact) -> None:
        """Queue one fact soon."""
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            return
        self._waiting.append(fact)
        self._event.set()
        self._idle.clear()

    async def run(self) -> None:
        """Queue facts until cancelled; while Redis is away, keep them."""
        while True:
            await self._event.wait()
            batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            try:
                await self._sink.put(batch)
            except DriverError as error:
                refused = isinstance(error, DriverRefused)
                if refused:
                    _log.warning("facts wait: %s", error, extra={"event": "facts_wait"})
                await asyncio.sleep(REFUSED_SECONDS if refused else RETRY_SECONDS)
                continue
            for _ in batch:
                self._waiting.popleft()
            if not self._waiting:
                self._event.clear()
                self._idle.set()
            if self._dropped:
                _log.error(
                    "%d facts were lost: more than %d waited while Redis was away",
                    self._dropped,
                    MAX_WAITING,
                    extra={"event": "facts_lost"},
                )
                self._dropped = 0

    async def settled(self, *, within: float) -> None:
        """Wait until nothing waits, for `within` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._idle.wait()
