"""Comparing channels with Redis after each acknowledgement, in batches."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.errors import BroadcasterError, MalformedMessage
from broadcaster.hub.stream import State
from broadcaster.protocol.envelope import Envelope, Position, decode_envelope
from broadcaster.protocol.watchlist import is_online_list

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from broadcaster.contracts.history import History
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.hub.hub import Hub

_log = logging.getLogger("broadcaster.gateway")

BATCH = 500
RETRY_SECONDS = 0.1
COMPLAIN_SECONDS = 60.0


class _Asked(NamedTuple):
    channel: LocalChannel
    generation: int


class Checker:
    """
    Answers `HubOwner.check_wanted`.

    For each channel: read its last position, and its history if something was missed, then
    tell the hub. An answer that comes after the subscription has fallen again is thrown
    away; a new check follows its next acknowledgement. The first check of a channel also
    registers it as occupied, so that the HTTP API knows a channel before its subscriber
    hears of success.

    Args:
        register: writes how many there are in each channel of an app.
        done: called with each channel that was checked.
        recount: writes a channel's count again: the one written here may have come to Redis
            after a newer one.
        is_ready: whether the revocations of an app are known. While they are not, its channels
            wait for `resume`, and nobody else does.
    """

    def __init__(
        self,
        hub: Hub,
        history: History,
        *,
        register: Callable[[str, Mapping[str, int]], Awaitable[None]],
        done: Callable[[LocalChannel], None],
        recount: Callable[[LocalChannel], None],
        is_ready: Callable[[str], bool],
    ) -> None:
        self._hub = hub
        self._history = history
        self._register_counts = register
        self._done = done
        self._is_ready = is_ready
        self._recount = recount
        self._wanted: dict[LocalChannel, None] = {}
        self._batch = BATCH
        self._complained_at = -COMPLAIN_SECONDS
        self._event = asyncio.Event()

    def want(self, channel: LocalChannel) -> None:
        """Check `channel` soon."""
        self._wanted[channel] = None
        self._event.set()

    def resume(self, app_id: str) -> None:
        """Check the channels of an app that has become ready."""
        for channel in self._hub.channels.values():
            if channel.app_id == app_id and channel.stream.state is State.CHECKING:
                self.want(channel)

    async def run(self) -> None:
        """Check until cancelled; while Redis is away, keep asking."""
        while True:
            await self._event.wait()
            batch = [_Asked(channel, channel.stream.generation) for channel in self._take()]
            try:
                await self._check(batch)
            except Exception as error:  # noqa: BLE001 - one channel must not stop the others
                self._failed(batch, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._batch = min(BATCH, self._batch * 2)

    def _failed(self, batch: list[_Asked], error: Exception) -> None:
        """Check `batch` again after all others, in smaller pieces: perhaps it is one channel."""
        self._batch = max(1, len(batch) // 2)
        now = asyncio.get_running_loop().time()
        if len(batch) == 1 and now - self._complained_at > COMPLAIN_SECONDS:
            self._complained_at = now
            name = batch[0].channel.name
            fields = {"event": "check_failed", "channel": name}
            known = isinstance(error, BroadcasterError)
            _log.warning("%s cannot be checked: %s", name, error, exc_info=not known, extra=fields)
        for asked in batch:
            wanted = self._hub.channels.get(asked.channel.topic) is asked.channel
            if wanted and _current(asked):
                self.want(asked.channel)

    def _take(self) -> list[LocalChannel]:
        batch = [channel for channel, _ in zip(self._wanted, range(self._batch), strict=False)]
        for channel in batch:
            del self._wanted[channel]
        if not self._wanted:
            self._event.clear()
        return batch

    async def _check(self, batch: list[_Asked]) -> None:
        by_app: dict[str, list[_Asked]] = {}
        for asked in batch:
            by_app.setdefault(asked.channel.app_id, []).append(asked)
        for app_id, group in by_app.items():
            if not self._is_ready(app_id):
                continue
            await self._register(app_id, group)
            positions = await self._history.positions(app_id, [a.channel.name for a in group])
            for asked, last in zip(group, positions, strict=True):
                await self._settle(asked, last)

    async def _register(self, app_id: str, group: list[_Asked]) -> None:
        new = {
            asked.channel.name: max(len(asked.channel), len(asked.channel.waiting), 1)
            for asked in group
            if asked.channel.waiting and not is_online_list(asked.channel.name)
        }
        if not new:
            return
        await self._register_counts(app_id, new)
        for channel in [asked.channel for asked in group if asked.channel.name in new]:
            gone = self._hub.channels.get(channel.topic) is not channel
            if gone or not (channel.waiting or len(channel) == new[channel.name]):
                self._recount(channel)

    async def _settle(self, asked: _Asked, last: Position) -> None:
        channel = asked.channel
        if not _current(asked):
            return
        history: list[Envelope] = []
        if channel.stream.needs_history(last):
            raw = await self._history.read(channel.app_id, channel.name)
            if not _current(asked):
                return
            history = _decoded(raw)
        outcome = self._hub.checked(channel, last, history)
        if outcome.gap is not None:
            _log.warning(
                "events of %s may have been missed: %s",
                channel.name,
                outcome.gap,
                extra={"event": "gap", "app": channel.app_id, "channel": channel.name},
            )
        self._done(channel)


def _current(asked: _Asked) -> bool:
    stream = asked.channel.stream
    return stream.state is State.CHECKING and stream.generation == asked.generation


def _decoded(raw: list[bytes]) -> list[Envelope]:
    envelopes: list[Envelope] = []
    for data in raw:
        try:
            envelopes.append(decode_envelope(data))
        except MalformedMessage as error:
            _log.error(
                "history holds something that is no envelope: %s", error, extra={"event": "bug"}
            )
    return envelopes
