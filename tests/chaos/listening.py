"""Hearing the broadcasts of a run, as a gateway does."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.protocol.envelope import decode_envelope

if TYPE_CHECKING:
    import redis.asyncio

PAUSE = 0.3
MOST_PAUSES = 100


class Listener:
    """
    Notes the numbers of the broadcasts, by channel.

    Args:
        client: a connection of its own.
        pattern: of the topics.
    """

    def __init__(self, client: redis.asyncio.Redis, pattern: str) -> None:
        self._pubsub: Any = client.pubsub()  # type: ignore[no-untyped-call]  # redis-py
        self._pattern = pattern
        self.heard: defaultdict[str, list[int]] = defaultdict(list)

    async def open(self) -> None:
        """Subscribe; what is published before is not heard."""
        await self._pubsub.psubscribe(self._pattern)

    async def listen(self) -> None:
        """Listen until it is cancelled."""
        while True:
            message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0)
            if message is not None:
                self._note(message["data"])

    async def settle(self) -> None:
        """Wait until nothing more comes."""
        before = -1
        for _ in range(MOST_PAUSES):
            now = sum(map(len, self.heard.values()))
            if now == before:
                return
            before = now
            await asyncio.sleep(PAUSE)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pubsub.aclose()

    def _note(self, data: bytes) -> None:
        frame = msgspec.json.decode(decode_envelope(data).frame, type=dict[str, Any])
        said = msgspec.json.decode(frame["data"], type=dict[str, Any])
        self.heard[frame["channel"]].append(int(said["number"]))
