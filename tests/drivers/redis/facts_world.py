"""Reading facts: from outboxes, and from the queue as whoever tells them does."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.queue import StepRequest
from broadcaster.drivers.redis.outbox import RedisOutbox
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.facts import FACT_QUEUE, Fact
from broadcaster.protocol.payload import decode_payload
from tests.polling import eventually_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.outbox import Source
    from broadcaster.drivers.redis.client import RedisClients


def short(fact: Fact) -> str:
    """``name channel``, and what else belongs to the fact."""
    more = fact.user_id if fact.subscription_count is None else fact.subscription_count
    return f"{fact.name} {fact.channel}" + ("" if more is None else f" {more}")


async def emptied(clients: RedisClients, source: Source = None, *, batch: int = 200) -> list[Fact]:
    """Empty an outbox as a gateway does; return its facts in their order."""
    outbox, token = RedisOutbox(clients, batch=batch), secrets.token_hex(8)
    facts: list[Fact] = []
    texts: list[bytes] = []
    while True:
        (page,) = await outbox.step(token, [source], [texts])
        if not page.notes:
            return facts
        facts += [note.fact for note in page.notes if note.fact is not None]
        texts = [note.text for note in page.notes]


class Told:
    """
    What was queued so far, in the order in which it was reserved.

    Nobody settles it, so that a fact that is queued again is the same job: each is here once
    however often it was queued, and twice only if it has two ids.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._queue = RedisQueue(clients)
        self.facts: list[Fact] = []

    async def look(self) -> list[str]:
        """Take what is new; return everything so far, in short."""
        while True:
            request = StepRequest(queue=FACT_QUEUE, reserve=100, lease=600.0, worker="tests")
            reserved = (await self._queue.step(request)).reserved
            for job in reserved:
                self.facts.append(msgspec.convert(decode_payload(job.body).data, Fact))
            if not reserved:
                return [short(fact) for fact in self.facts]

    async def until(self, *wanted: str, within: float = 15.0) -> None:
        """Wait until `wanted` was told, each as often as it is said here."""

        async def all_there() -> bool:
            try:
                told = await self.look()
            except DriverUnavailable:  # a test may have restarted Redis
                return False
            return all(told.count(one) >= wanted.count(one) for one in wanted)

        started = time.monotonic()
        try:
            await eventually_async(all_there, within=within)
        except AssertionError:
            took = time.monotonic() - started
            raise AssertionError(f"after {took:.1f} s: {await self.look()}") from None

    def count(self, predicate: Callable[[Fact], bool]) -> int:
        """Return how many facts there are like that."""
        return sum(predicate(fact) for fact in self.facts)
