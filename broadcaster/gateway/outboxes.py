"""
Queueing the facts that Redis found out.

Scripts write facts into outboxes (see `broadcaster.contracts.outbox`). This node empties
those that its own calls may have written to, at once; and once a second that of all
channels, whoever has written to it, after what was due there was done. Each outbox is
emptied by one node at a time, and a fact leaves it after it was queued.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError, DriverRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.facts import Fact, FactSink
    from broadcaster.contracts.outbox import Outbox, Page, Source

_log = logging.getLogger("broadcaster.facts")

PERIOD_SECONDS = 1.0
RETRY_SECONDS = 0.25
REFUSED_SECONDS = 5.0
SOURCES_AT_ONCE = 20
FACTS_AT_ONCE = 200


class Outboxes:
    """
    See the module.

    Bound: the presence channels of this node. While Redis is away facts stay where they are.
    """

    def __init__(self, store: Outbox, sink: FactSink) -> None:
        self._store = store
        self._sink = sink
        self._token = secrets.token_hex(8)
        self._wanted: dict[Source, None] = {}
        self._delayed: set[Source] = set()
        self._event = asyncio.Event()
        self._idle = asyncio.Event()
        self._wait = PERIOD_SECONDS

    def wake(self, source: Source = None) -> None:
        """Facts may have come into an outbox."""
        self._idle.clear()
        if source is not None:
            self._wanted[source] = None
        self._event.set()

    async def run(self) -> None:
        """Empty outboxes until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    await self._event.wait()
            self._event.clear()
            self._wait = PERIOD_SECONDS
            try:
                await self._round()
            except DriverError as error:
                refused = isinstance(error, DriverRefused)
                if refused:
                    _log.warning("facts wait: %s", error, extra={"event": "facts_wait"})
                self._event.set()
                await asyncio.sleep(REFUSED_SECONDS if refused else RETRY_SECONDS)

    async def settled(self, *, within: float) -> None:
        """Wait until what was woken is queued, for `within` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._idle.wait()

    async def _round(self) -> None:
        await self._settle()
        while self._wanted:
            some = [source for source, _ in zip(self._wanted, range(SOURCES_AT_ONCE), strict=False)]
            for source in some:  # before the first call: what comes during it wakes us again
                del self._wanted[source]
            await self._empty(some)
        if not self._event.is_set():
            self._idle.set()

    async def _settle(self) -> None:
        try:
            settled = await self._store.settle()
        except DriverRefused as error:  # the channels' outboxes need nothing of it
            _log.warning("facts wait: %s", error, extra={"event": "facts_wait"})
            self._wait = REFUSED_SECONDS
            return
        if settled.wait is not None:
            self._wait = min(self._wait, max(settled.wait, 0.01))
        if settled.facts:
            self._wanted[None] = None

    async def _empty(self, sources: Sequence[Source]) -> None:
        """Empty some outboxes; one that Redis refuses does not hold the others up."""
        try:
            await self._queue_all(sources)
        except DriverRefused as error:
            if len(sources) > 1:
                for source in sources:
                    await self._empty([source])
                return
            _log.warning("facts wait: %s", error, extra={"event": "facts_wait"})
            self._later(REFUSED_SECONDS, sources[0])
        except DriverError:
            self._wanted |= dict.fromkeys(sources)
            raise

    async def _queue_all(self, sources: Sequence[Source]) -> None:
        queued: list[list[bytes]] = [[] for _ in sources]
        while sources:
            pages = await self._store.step(self._token, sources, queued)
            for source, page in zip(sources, pages, strict=True):
                self._look(source, page)
            rest = [(s, page) for s, page in zip(sources, pages, strict=True) if page.notes]
            facts = [note.fact for _, page in rest for note in page.notes if note.fact is not None]
            await self._put(facts)
            sources = [source for source, _ in rest]
            queued = [[note.text for note in page.notes] for _, page in rest]

    async def _put(self, facts: Sequence[Fact]) -> None:
        for first in range(0, len(facts), FACTS_AT_ONCE):
            await self._sink.put(facts[first : first + FACTS_AT_ONCE])

    def _look(self, source: Source, page: Page) -> None:
        if page.lost:
            _log.error(
                "%d facts were lost: the outbox%s was full",
                page.lost,
                "" if source is None else f" of {source[1]}",
                extra={"event": "facts_lost"},
            )
        if page.busy:  # perhaps its holder dies; what we wrote is ours to see to
            self._later(min(page.busy, PERIOD_SECONDS), source)

    def _later(self, delay: float, source: Source) -> None:
        def again() -> None:
            self._delayed.discard(source)
            self.wake(source)

        if source not in self._delayed:
            self._delayed.add(source)
            asyncio.get_running_loop().call_later(delay, again)
