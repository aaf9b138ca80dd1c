"""One pub/sub connection to Redis: what is read from it, and whether it lives."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from broadcaster.drivers.redis.client import ANSWER_SECONDS
from broadcaster.drivers.redis.resp import (
    NOTHING,
    BrokenStream,
    ReplyError,
    encode_command,
    new_reader,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container

PING = encode_command(b"PING")
_logger = logging.getLogger("broadcaster.redis")


class Link(asyncio.Protocol):
    """
    One connection: greets, reads, pings. What it hears after `abort` is ignored.

    Args:
        loop: the loop it runs on.
        wanted: messages of other topics are dropped.
        received: called with topic and data of each message, in order.
        subscribed: called with the topic of each acknowledgement.
        lost: called once when the connection is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        wanted: Container[bytes],
        received: Callable[[bytes, bytes], None],
        subscribed: Callable[[bytes], None],
        lost: Callable[[Link], None],
    ) -> None:
        self.loop = loop
        self.reason = "closed by Redis"
        self._wanted = wanted
        self._received = received
        self._subscribed = subscribed
        self._on_lost = lost
        self._reader = new_reader()
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] = loop.create_future()
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._greetings_due = 0
        self._pong: asyncio.Future[None] | None = None
        self._pinged = self._heard = loop.time()
        self._closed = False

    @property
    def answering(self) -> bool:
        """Whether no PING has been waiting for longer than an answer may take."""
        waiting = self._pong is not None and not self._pong.done()
        return not waiting or self.loop.time() - self._pinged < ANSWER_SECONDS

    async def greet(self, commands: list[bytes]) -> None:
        """Send `commands` in one write; return when each was answered without an error."""
        self._greetings_due = len(commands)
        self.write(b"".join(commands))
        await self._greeted

    def write(self, data: bytes) -> None:
        """Send; a frozen peer is found by PING before much piles up."""
        if self._transport is not None and not self._closed:
            self._transport.write(data)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._pinged = self.loop.time()
        self._pong = self.loop.create_future()
        self.write(PING)

    async def lost_within(self, seconds: float) -> bool:
        """Whether the connection is gone, waiting at most `seconds` for it."""
        await asyncio.wait((self._lost,), timeout=seconds)
        return self._lost.done()

    async def heard_within(self, seconds: float) -> bool:
        """Whether the peer lives: a PONG or anything else came, or the connection is gone."""
        waiting = [self._lost] if self._pong is None else [self._lost, self._pong]
        while True:
            before = self._heard
            done, _ = await asyncio.wait(
                waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if done or self._heard == before:
                return bool(done)

    def abort(self) -> None:
        """Drop the connection now."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def give_up(self, reason: str) -> None:
        """Drop the connection now, and say why."""
        self.reason = reason
        self._fail_greeting(reason)
        self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        # uvloop's transports are no subclass of asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)
        if self._closed:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._closed = True
        if exc is not None:
            self.reason = str(exc)
        self._fail_greeting("closed before it greeted")
        if not self._lost.done():
            self._lost.set_result(None)
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._heard = self.loop.time()
        reader, wanted, received = self._reader, self._wanted, self._received
        reader.feed(data)
        try:
            while not self._closed and (reply := reader.gets()) is not NOTHING:
                if type(reply) is not list or reply[0] != b"message":
                    self._answered(reply)
                elif reply[1] in wanted:
                    try:
                        received(reply[1], reply[2])
                    except Exception:
                        _logger.exception("a subscription listener failed")
        except BrokenStream as error:
            self.give_up(f"it sent no RESP: {error}")

    def _answered(self, reply: Any) -> None:
        if isinstance(reply, ReplyError):
            self.give_up(f"it refused a command: {reply}")
        elif self._greetings_due:
            self._greetings_due -= 1
            if not self._greetings_due and not self._greeted.done():
                self._greeted.set_result(None)
        elif reply == b"PONG" or reply[0] == b"pong":
            if self._pong is not None and not self._pong.done():
                self._pong.set_result(None)
        elif reply[0] == b"subscribe":
            self._subscribed(reply[1])

    def _fail_greeting(self, reason: str) -> None:
        if not self._greeted.done():
            self._greeted.set_exception(ConnectionError(reason))
            self._greeted.exception()  # seen, even when nobody waits any more
