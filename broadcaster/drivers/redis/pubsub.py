"""
The pub/sub connection of a gateway.

States of the connection, and what the listener hears:

=========== =========================================== ==============================
state       meaning                                     leaves by
=========== =========================================== ==============================
down        waiting to try again                        connected -> greeting
greeting    AUTH, SELECT, SETNAME and PING were sent    all answered -> ready
ready       ``connection_made`` was said                loss or silence -> down, and
                                                        ``connection_lost`` is said
=========== =========================================== ==============================

Per topic, three facts: whether it is *wanted*, whether a SUBSCRIBE was the last thing
*sent* for it, and how many acknowledgements are *due*. What changed in one tick of the
loop is sent as one SUBSCRIBE and one UNSUBSCRIBE at its end. Redis acknowledges in order,
so an acknowledgement counts when it is the last one due and nothing about the topic is
waiting to be sent; every other one belongs to an older wish and is not reported.

The read buffer needs no bound of ours: messages are handed on in the tick in which they
arrive, and Redis drops a subscriber that lets more than its ``client-output-buffer-limit
pubsub`` (32 MB, or 8 MB for 60 s) pile up. That is a lost connection like any other.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from broadcaster.drivers.redis.pubsub_endpoint import Endpoint
from broadcaster.drivers.redis.pubsub_link import Link
from broadcaster.drivers.redis.resp import encode_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broadcaster.contracts.broker import SubscriptionListener
    from broadcaster.drivers.redis.client import RedisClients

SHORTEST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
STEADY_SECONDS = 1.0
STOPPED = "stopped by this process"
_logger = logging.getLogger("broadcaster.redis")


def pause_before_retry(failures: int, chance: float) -> float:
    """
    Return seconds to wait: 0.05 doubled with each failure up to 1, less up to half of it.

    Args:
        failures: attempts that failed since the last good connection.
        chance: a random number from 0 up to 1, so that gateways do not come back together.
    """
    longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(failures, 10))
    return longest * (1 - chance / 2)


class RedisSubscriptions:
    """
    See `broadcaster.contracts.broker.Subscriptions`.

    Args:
        listener: hears of messages, acknowledgements and the connection, synchronously.
        ping_seconds: pause between two PINGs.
        pong_seconds: silence after a PING that makes the connection count as lost.
        follow_seconds: pause between two questions to the sentinels, if there are any.
        batch: most topics of one SUBSCRIBE.
        chance: source of randomness for the back-off.
    """

    def __init__(
        self,
        clients: RedisClients,
        listener: SubscriptionListener,
        *,
        ping_seconds: float = 5.0,
        pong_seconds: float = 5.0,
        follow_seconds: float = 1.0,
        batch: int = 1_000,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._address = clients.address
        self._endpoint = Endpoint(clients.url)
        self._listener = listener
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._follow_seconds = follow_seconds
        self._batch = batch
        self._chance = chance
        self._wanted: dict[bytes, None] = {}
        self._sent: set[bytes] = set()
        self._due: dict[bytes, int] = {}
        self._changed: dict[bytes, None] = {}
        self._flush_scheduled = False
        self._link: Link | None = None
        self._complaint = ""  # why the last attempt failed

    @property
    def connected(self) -> bool:
        """See `Subscriptions.connected`. False from a second after an unanswered PING."""
        return self._link is not None and self._link.answering

    def want(self, topic: bytes) -> None:
        """See `Subscriptions.want`."""
        if topic not in self._wanted:
            self._wanted[topic] = None
            self._change(topic)

    def forget(self, topic: bytes) -> None:
        """See `Subscriptions.forget`. Messages still on their way are dropped."""
        if topic in self._wanted:
            del self._wanted[topic]
            self._change(topic)

    def wanted(self) -> Iterable[bytes]:
        """See `Subscriptions.wanted`."""
        return tuple(self._wanted)

    async def run(self) -> None:
        """See `Subscriptions.run`."""
        failures = 0
        try:
            while True:
                steady = await self._live_once()
                failures = 0 if steady else failures + 1
                await asyncio.sleep(pause_before_retry(failures, self._chance()))
        finally:
            await self._endpoint.aclose()

    async def _live_once(self) -> bool:
        """Connect and stay connected as long as it goes; return whether that was a while."""
        loop = asyncio.get_running_loop()
        link = Link(
            loop,
            wanted=self._wanted,
            received=self._listener.message_received,
            subscribed=self._acknowledged,
            lost=self._lost,
        )
        try:
            where = await self._endpoint.find()
            await self._endpoint.open(link, where)
        except (OSError, TimeoutError) as error:
            link.abort()
            self._complain(str(error) or "no answer in time")
            return False
        except asyncio.CancelledError:
            link.abort()  # it may be connected, and only the greeting was cancelled
            raise
        born = loop.time()
        try:
            self._made(link)
            await self._stay(link, where)
        except asyncio.CancelledError:
            link.reason = STOPPED
            raise
        finally:
            link.abort()
            self._lost(link)
        return loop.time() - born >= STEADY_SECONDS

    def _complain(self, reason: str) -> None:
        """Log a cause once, however often it makes an attempt fail."""
        if reason != self._complaint:
            _logger.warning(
                "pub/sub: Redis at %s cannot be used (%s); trying again",
                self._address,
                reason,
                extra={"event": "redis_down"},
            )
        self._complaint = reason

    async def _stay(self, link: Link, where: tuple[str, int]) -> None:
        """Return when the connection is lost, silent, or leads to a master that was replaced."""
        if not self._endpoint.moves:
            await self._watch(link)
            return
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(link, where), name="follow the master")
            await self._watch(link)
            following.cancel()

    async def _follow(self, link: Link, where: tuple[str, int]) -> None:
        """
        Drop the connection when the sentinels name another server.

        An old master that hangs, or that only we can still reach, would not end it.
        """
        while True:
            await asyncio.sleep(self._follow_seconds)
            try:
                master = await self._endpoint.find()
            except ConnectionError:
                continue  # the connection itself may well live
            if master != where:
                link.give_up("the sentinels name another master")
                return

    async def _watch(self, link: Link) -> None:
        """Return when the connection is lost, or silent after a PING."""
        while not await link.lost_within(self._ping_seconds):
            link.ping()
            if not await link.heard_within(self._pong_seconds):
                link.reason = f"no answer to a PING in {self._pong_seconds:g} s"
                return

    def _made(self, link: Link) -> None:
        self._link = link
        self._complaint = ""
        _logger.info("pub/sub: connected to %s", self._address, extra={"event": "redis_up"})
        self._listener.connection_made()
        self._changed = dict(self._wanted)
        self._flush()

    def _lost(self, link: Link) -> None:
        if self._link is not link:
            return
        self._link = None
        self._sent.clear()
        self._due.clear()
        self._changed.clear()
        if link.reason == STOPPED:
            _logger.info(
                "pub/sub: closed the connection to %s",
                self._address,
                extra={"event": "redis_closed"},
            )
        else:
            _logger.warning(
                "pub/sub: lost the connection to %s (%s)",
                self._address,
                link.reason,
                extra={"event": "redis_lost"},
            )
        self._listener.connection_lost()

    def _change(self, topic: bytes) -> None:
        if self._link is None:
            return
        self._changed[topic] = None
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._link.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        changed, self._changed = self._changed, {}
        if self._link is None:
            return
        # A topic forgotten and wanted again in one tick is subscribed a second time: that
        # does no harm in Redis, and its acknowledgement answers the new wish.
        subscribe = [topic for topic in changed if topic in self._wanted]
        unsubscribe = [
            topic for topic in changed if topic in self._sent and topic not in self._wanted
        ]
        self._sent.update(subscribe)
        self._sent.difference_update(unsubscribe)
        for topic in subscribe:
            self._due[topic] = self._due.get(topic, 0) + 1
        for verb, topics in ((b"UNSUBSCRIBE", unsubscribe), (b"SUBSCRIBE", subscribe)):
            for start in range(0, len(topics), self._batch):
                self._link.write(encode_command(verb, *topics[start : start + self._batch]))

    def _acknowledged(self, topic: bytes) -> None:
        due = self._due.pop(topic, 1) - 1
        if due > 0:
            self._due[topic] = due
        elif topic in self._sent and topic not in self._changed:
            self._listener.subscribed(topic)
