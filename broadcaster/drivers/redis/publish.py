"""
The Redis broker: durable events through one script per channel, client events plainly.

`publish_rounds` decides what is sent; `RedisBroker.publish` and `publish_sync` only send
it. See ``scripts/publish.lua`` for the order of effects and what a repeat does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broadcaster.contracts.history import HistoryLimits
from broadcaster.drivers.redis.client import VERB_SECONDS, translated
from broadcaster.drivers.redis.scripts_loader import Call, arun_many, load_script, run_many
from broadcaster.protocol.channels import parse_channel
from broadcaster.protocol.envelope import NO_ID, Envelope, Flag, encode_envelope, encode_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.broker import Outgoing
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.redis.keys import Keys

MAX_MESSAGES_A_CALL = 100
PING_SECONDS = 1.0
MAX_CALLS_A_ROUND = 100


class RedisBroker:
    """See `broadcaster.contracts.broker.Broker`."""

    def __init__(self, clients: RedisClients, limits: HistoryLimits | None = None) -> None:
        self._clients = clients
        self._limits = limits or HistoryLimits()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `Broker.publish`."""
        for calls in publish_rounds(self._clients.keys, self._limits, messages):
            await arun_many(self._clients.aio, calls, repeat_lost=True)

    def publish_sync(self, messages: Sequence[Outgoing]) -> None:
        """Do what `publish` does, for code without an event loop."""
        for calls in publish_rounds(self._clients.keys, self._limits, messages):
            run_many(self._clients.sync, calls, repeat_lost=True)

    async def relay(self, messages: Sequence[Outgoing]) -> None:
        """See `Broker.relay`. The envelopes have neither position nor time."""
        keys = self._clients.keys
        await self._say(
            [
                (keys.topic(message.app_id, message.channel), _transient(message))
                for message in messages
            ]
        )

    async def control(self, app_id: str, body: bytes) -> None:
        """See `Broker.control`."""
        await self._say([(self._clients.keys.control(app_id), control_envelope(body))])

    async def ping(self) -> None:
        """See `Broker.ping`."""
        client = self._clients.aio
        with translated(client):
            async with asyncio.timeout(PING_SECONDS):
                await client.execute_command("PING")  # type: ignore[no-untyped-call] # redis-py left it so

    async def _say(self, publications: Sequence[tuple[bytes, bytes]]) -> None:
        client = self._clients.aio
        with translated(client):
            async with asyncio.timeout(VERB_SECONDS):
                if len(publications) == 1:
                    await client.publish(*publications[0])
                    return
                pipeline = client.pipeline(transaction=False)
                for topic, data in publications:
                    pipeline.publish(topic, data)
                await pipeline.execute()


def control_envelope(body: bytes) -> bytes:
    """Return a control message as nodes receive it."""
    return encode_envelope(Envelope(Flag.CONTROL, 0, 0, NO_ID, NO_ID, "", body))


def _transient(message: Outgoing) -> bytes:
    return encode_envelope(
        Envelope(Flag.EPHEMERAL, 0, 0, message.event_id, NO_ID, message.excluded, message.frame)
    )


def publish_rounds(
    keys: Keys, limits: HistoryLimits, messages: Sequence[Outgoing]
) -> list[list[Call]]:
    """
    Return the script calls that publish `messages`, as rounds to be sent one after another.

    A round has at most one call per channel, so that nothing can change the order within
    a channel, and at most 100 calls of at most 100 messages.
    """
    by_channel: dict[tuple[str, str], list[Outgoing]] = {}
    for message in messages:
        by_channel.setdefault((message.app_id, message.channel), []).append(message)
    waves: dict[int, list[Call]] = {}
    for mine in by_channel.values():
        for start in range(0, len(mine), MAX_MESSAGES_A_CALL):
            chunk = mine[start : start + MAX_MESSAGES_A_CALL]
            waves.setdefault(start, []).append(_publish_call(keys, limits, chunk))
    return [
        wave[start : start + MAX_CALLS_A_ROUND]
        for _, wave in sorted(waves.items())
        for start in range(0, len(wave), MAX_CALLS_A_ROUND)
    ]


def _publish_call(keys: Keys, limits: HistoryLimits, messages: Sequence[Outgoing]) -> Call:
    app_id, channel = messages[0].app_id, messages[0].channel
    where = keys.topic(app_id, channel)
    cache_seconds = limits.cache_seconds if parse_channel(channel).cache else 0
    args: list[bytes | int] = [
        where,
        limits.events,
        limits.bytes,
        limits.seconds,
        limits.dedupe_seconds,
        limits.meta_seconds,
        cache_seconds,
    ]
    for message in messages:
        args += (message.event_id, int(Flag.NONE), encode_tail(message.excluded, message.frame))
    marks = [where + b":d:" + message.event_id.hex().encode() for message in messages]
    return Call(load_script("publish"), [where + b":m", where + b":h", where + b":c", *marks], args)
