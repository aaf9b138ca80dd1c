"""
One receiver as this process sees it: how much it is sent at once, and when it is left alone.

- At most `at_once` requests are under way. What comes meanwhile waits here, up to
  `MAX_HELD` and a share of the `Room` that is left; the rest goes back to the queue for a
  second, so that slow receivers, however many, do not use up the room of the others.
- After `PATIENCE` failures in a row it counts as down: nothing is sent for a while that
  grows up to `LONGEST_REST`, then one request tries, and the first success ends it.
- Facts for a receiver that takes batches are gathered for a moment, or for as long as it
  is busy, and go together.

Nothing is lost by any of this: what is not sent now is a job in the queue.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.protocol.webhooks import MAX_BODY_BYTES, MAX_EVENTS, event_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.protocol.facts import Fact

    Send = Callable[[Sequence[Fact]], Awaitable["Accepted | Refused"]]

MAX_HELD = 200
SHARE = 4
BUSY_SECONDS = 1.0
PATIENCE = 5
FIRST_REST = 1.0
LONGEST_REST = 15.0


class Accepted(NamedTuple):
    """The receiver has it."""


class Refused(NamedTuple):
    """
    It was sent, or could not be sent, and is not accepted.

    Attributes:
        reason: a stable word for the failed job, if it fails.
        error: one line for people.
        final: another try would not help.
    """

    reason: str
    error: str
    final: bool = False


class Postponed(NamedTuple):
    """
    Nothing was tried; it is to come again after `delay` seconds.

    Attributes:
        down_for: seconds since the receiver is down; None if it is not that which is waited for.
    """

    delay: float
    down_for: float | None = None


Outcome = Accepted | Refused | Postponed


class Room:
    """
    Places for facts that are here to be sent, of all receivers together.

    One may have as many as a `SHARE`-th of what it leaves free, and one at least: each slow
    receiver takes a fifth of what it finds, so there is room for whoever comes.
    """

    def __init__(self, places: int) -> None:
        self.free = places

    @property
    def share(self) -> int:
        """Return how many one receiver may have just now."""
        return max(1, self.free // SHARE)


class Receiver:
    """
    Paces what one endpoint is sent.

    Args:
        room: shared with the other receivers.
        at_once: requests under way at once.
        gather: seconds in which facts are gathered, where it takes batches.
        now: monotonic seconds.
    """

    def __init__(
        self, room: Room, *, at_once: int, gather: float, now: Callable[[], float]
    ) -> None:
        self._room = room
        self._slots = asyncio.Semaphore(at_once)
        self._gather = gather
        self._now = now
        self._held = 0
        self._failures = 0
        self._rests_until = 0.0
        self._down_since = 0.0
        self._trying = False
        self._open: _Batch | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing waits here or is under way."""
        return self._held == 0

    @property
    def failures(self) -> int:
        """Requests that failed since the last one that did not."""
        return self._failures

    async def deliver(self, fact: Fact, send: Send, *, batch: bool) -> Outcome:
        """
        Bring `fact` to the receiver, with others if `batch` allows, and say what came of it.

        Args:
            send: makes one request of facts; does not raise but when it is cancelled.
        """
        if (rest := self._rest()) is not None:
            return rest
        if self._held >= min(MAX_HELD, self._room.share):
            return Postponed(BUSY_SECONDS)
        self._held += 1
        self._room.free -= 1
        try:
            if batch and self._open is not None and self._open.takes(fact):
                return await self._open.join(fact)
            return await self._lead(_Batch(fact), send, gathers=batch)
        finally:
            self._held -= 1
            self._room.free += 1

    async def _lead(self, batch: _Batch, send: Send, *, gathers: bool) -> Outcome:
        outcome: Outcome = Postponed(0.0)  # for those behind, if this one is cancelled
        if gathers:
            self._open = batch
        try:
            async with self._slots:
                if gathers:
                    await batch.gathered(self._gather)
                    self._close(batch)
                rest = self._rest()
                outcome = await self._try(batch, send) if rest is None else rest
        finally:
            self._close(batch)
            batch.end(outcome)
        return outcome

    def _close(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = None

    async def _try(self, batch: _Batch, send: Send) -> Accepted | Refused:
        trying = self._trying = self._failures >= PATIENCE
        try:
            outcome = await send(batch.facts)
        finally:
            if trying:
                self._trying = False
        if isinstance(outcome, Accepted):
            self._failures = 0
            return outcome
        self._failures += 1
        if (over := self._failures - PATIENCE) >= 0:
            if over == 0:
                self._down_since = self._now()
            rest = min(FIRST_REST * 2.0 ** min(over, 30), LONGEST_REST)
            self._rests_until = self._now() + rest
        return outcome

    def _rest(self) -> Postponed | None:
        """Return for how long nothing may be sent, or None if it may."""
        if self._failures < PATIENCE:
            return None
        now = self._now()
        if now < self._rests_until:
            return Postponed(self._rests_until - now, now - self._down_since)
        return Postponed(BUSY_SECONDS) if self._trying else None


class _Batch:
    """Facts that go into one request."""

    def __init__(self, fact: Fact) -> None:
        self.facts = [fact]
        self._bytes = event_bytes(fact)
        self._full = asyncio.Event()
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def takes(self, fact: Fact) -> bool:
        """Whether there is room for `fact`; if not, the batch is full."""
        room = len(self.facts) < MAX_EVENTS and self._bytes + event_bytes(fact) <= MAX_BODY_BYTES
        if not room:
            self._full.set()
        return room

    async def join(self, fact: Fact) -> Outcome:
        """Add `fact` and wait for what comes of the batch."""
        self.facts.append(fact)
        self._bytes += event_bytes(fact)
        if len(self.facts) == MAX_EVENTS:
            self._full.set()
        return await asyncio.shield(self._ended)

    async def gathered(self, seconds: float) -> None:
        """Wait until it is full, or `seconds` are over."""
        try:
            async with asyncio.timeout(seconds):
                await self._full.wait()
        except TimeoutError:
            return

    def end(self, outcome: Outcome) -> None:
        """Tell everybody who waits."""
        if not self._ended.done():
            self._ended.set_result(outcome)
