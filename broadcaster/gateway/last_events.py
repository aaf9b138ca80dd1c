"""Reading the last events of cache channels, for those who are about to enter them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError, DriverRefused, MalformedMessage
from broadcaster.hub.last_event import Outcome
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.protocol.facts import CACHE_MISS, Fact, fact_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.history import Cached, History
    from broadcaster.gateway.tasks import TaskOwner
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.hub.hub import Hub
    from broadcaster.hub.last_event import LastEvent
    from broadcaster.protocol.envelope import Envelope

_log = logging.getLogger("broadcaster.gateway")

BATCH = 100
RETRY_SECONDS = 0.2
REFUSED_SECONDS = 5.0
# How long an event may be on its way from Redis before the stream is checked.
DOUBT_SECONDS = 1.0


class LastEvents:
    """
    Answers `HubOwner.last_wanted`; one reading of a channel serves all who wait for it.

    While Redis is away nobody is refused: they wait. A channel whose cached event cannot be
    read is tried again, and holds up no other. That a channel was empty is told as a fact,
    once over all gateways (see `History.missed`).

    Args:
        tell: queues a fact.
        wants_facts: whether anybody is told what happens in an app.
    """

    def __init__(
        self,
        hub: Hub,
        history: History,
        tasks: TaskOwner,
        *,
        tell: Callable[[Fact], None],
        wants_facts: Callable[[str], bool],
    ) -> None:
        self._hub = hub
        self._history = history
        self._tasks = tasks
        self._tell = tell
        self._wants_facts = wants_facts
        self._wanted: dict[LocalChannel, LastEvent] = {}
        self._event = asyncio.Event()

    def want(self, channel: LocalChannel) -> None:
        """Read the last event of `channel` soon."""
        if channel.last is not None:
            self._wanted[channel] = channel.last
            self._event.set()

    async def run(self) -> None:
        """Read until cancelled; while Redis is away, keep asking."""
        while True:
            await self._event.wait()
            batch = dict(islice(self._wanted.items(), BATCH))
            for channel in batch:
                del self._wanted[channel]
            if not self._wanted:
                self._event.clear()
            try:
                for app_id in {channel.app_id for channel in batch}:
                    group = [channel for channel in batch if channel.app_id == app_id]
                    await self._read(app_id, group, batch)
            except Exception as error:  # noqa: BLE001 - whoever waits must not wait for ever
                if not isinstance(error, DriverError):
                    _log.exception("last events were not read", extra={"event": "bug"})
                for channel in batch:  # those that were answered are asked for no more
                    self.want(channel)
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(
        self, app_id: str, channels: Sequence[LocalChannel], asked: dict[LocalChannel, LastEvent]
    ) -> None:
        try:
            answers = await self._history.cached(app_id, [channel.name for channel in channels])
        except DriverRefused as error:
            if len(channels) > 1:  # perhaps it is one of them
                for channel in channels:
                    await self._read(app_id, [channel], asked)
            else:
                self._refused(channels[0], error)
            return
        missed: list[str] = []
        for channel, answer in zip(channels, answers, strict=True):
            found = _decoded(channel, answer)
            last = asked[channel]
            outcome = self._hub.last_read(channel, last, found)
            if outcome is Outcome.AHEAD:
                self._tasks.later(DOUBT_SECONDS, partial(self._hub.doubt, channel, last))
            elif outcome is Outcome.GIVEN and found is None:
                missed.append(channel.name)
        if missed and self._wants_facts(app_id):
            await self._tell_missed(app_id, missed)

    def _refused(self, channel: LocalChannel, error: DriverRefused) -> None:
        """Ask again later; only this channel waits, until its key is repaired."""
        _log.warning(
            "the last event of %s cannot be read: %s",
            channel.name,
            error,
            extra={"event": "refused", "app": channel.app_id, "channel": channel.name},
        )
        self._tasks.later(REFUSED_SECONDS, lambda: self.want(channel))

    async def _tell_missed(self, app_id: str, names: Sequence[str]) -> None:
        """Tell that channels were empty; while Redis is away, a later miss tells it."""
        with suppress(DriverError):
            news = await self._history.missed(app_id, names)
            for name in [name for name, is_news in zip(names, news, strict=True) if is_news]:
                unique = fact_id(CACHE_MISS, app_id, name, os.urandom(16).hex())
                now_ms = int(time.time() * 1000)
                self._tell(
                    Fact(id=unique, app_id=app_id, name="cache_miss", channel=name, time_ms=now_ms)
                )


def _decoded(channel: LocalChannel, cached: Cached | None) -> Envelope | None:
    """Read what was cached; what is no envelope counts as nothing."""
    if cached is None:
        return None
    try:
        return decode_envelope(cached.envelope)
    except MalformedMessage as error:
        fields = {"event": "bad_envelope", "app": channel.app_id, "channel": channel.name}
        _log.warning("the cached event of %s: %s", channel.name, error, extra=fields)
        return None
