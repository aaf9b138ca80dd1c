"""Hearing the broadcasts of a run, as a gateway does."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.protocol.envelope import decode_envelope

if TYPE_CHECKING:
    import redis
    import redis.asyncio

LAST = b"the last"
PATIENCE = 60.0
"""Seconds in which what was said must have been heard."""


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
        self._heard_all = asyncio.Event()
        self.heard: defaultdict[str, list[int]] = defaultdict(list)

    async def open(self) -> None:
        """Subscribe; what is published before it returns is not heard."""
        await self._pubsub.psubscribe(self._pattern)
        said = await self._pubsub.get_message(timeout=PATIENCE)
        assert said is not None, f"not subscribed in {PATIENCE} s"

    async def listen(self) -> None:
        """Listen until it is cancelled."""
        while True:
            message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0)
            if message is not None and message["data"] == LAST:
                self._heard_all.set()
            elif message is not None:
                self._note(message["data"])

    async def hear_the_last(self, client: redis.Redis) -> None:
        """
        Wait until all is heard that was published.

        A server says everything in order, so it is when something is heard that is said now.
        """
        topic = self._pattern.replace("*", "end")
        heard_by = await asyncio.to_thread(client.publish, topic, LAST)
        assert heard_by == 1, f"{heard_by} are listening"
        async with asyncio.timeout(PATIENCE):
            await self._heard_all.wait()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pubsub.aclose()

    def _note(self, data: bytes) -> None:
        frame = msgspec.json.decode(decode_envelope(data).frame, type=dict[str, Any])
        said = msgspec.json.decode(frame["data"], type=dict[str, Any])
        self.heard[frame["channel"]].append(int(said["number"]))
