"""Pub/sub between nodes: framed publishing, and listening per channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Outgoing(NamedTuple):
    """
    One framed event for one channel.

    Attributes:
        app_id: the app it belongs to.
        channel: full channel name.
        event_id: 16 bytes; a repeat under the same id is delivered once.
        frame: UTF-8 JSON ``{"event","channel","data"}``, written to sockets as it is.
        excluded: socket id that must not receive it, or the empty string.
    """

    app_id: str
    channel: str
    event_id: bytes
    frame: bytes
    excluded: str = ""


class Broker(Protocol):
    """
    Says something to every node that has subscribers of a channel.

    `publish` is atomic per channel and keeps the order of its argument per channel:
    position counted, history appended, published, then remembered under its id for ten
    minutes. It is not atomic across channels; a caller repeats a partial one under the
    same ids. Raises `DriverUnavailable`, `DriverRefused` and nothing else; with the latter
    the other channels have their messages.
    """

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish with position, history and dedupe; one script call per channel, pipelined."""
        ...

    async def relay(self, messages: Sequence[Outgoing]) -> None:
        """Publish at most once, in order, without position or history: client events."""
        ...

    async def control(self, app_id: str, body: bytes) -> None:
        """Publish one control message (JSON with a schema) to every node of the app."""
        ...

    async def ping(self) -> None:
        """Return when Redis answers; raises `DriverUnavailable` within a second otherwise."""
        ...


class SubscriptionListener(Protocol):
    """What a `Subscriptions` tells its owner. All calls are synchronous and must not raise."""

    def message_received(self, topic: bytes, data: bytes) -> None:
        """One envelope arrived; called in the order Redis sent them."""
        ...

    def subscribed(self, topic: bytes) -> None:
        """Redis acknowledged a SUBSCRIBE: whatever is published from now on arrives."""
        ...

    def connection_lost(self) -> None:
        """Every subscription is void until it is acknowledged again."""
        ...

    def connection_made(self) -> None:
        """A new connection stands; wanted topics are being subscribed again."""
        ...


class Subscriptions(Protocol):
    """
    This process's one pub/sub connection, re-established under supervision.

    The wanted set is state, the connection is not: `want` and `forget` work while the
    connection is down and take effect when it is back. Back-off grows to one second at
    most. A PING every 5 s finds a dead peer.
    """

    @property
    def connected(self) -> bool:
        """Whether the connection stands and answered its last PING."""
        ...

    def want(self, topic: bytes) -> None:
        """Subscribe now, and again after every reconnect."""
        ...

    def forget(self, topic: bytes) -> None:
        """Unsubscribe."""
        ...

    def wanted(self) -> Iterable[bytes]:
        """Return the topics that are subscribed or waiting to be."""
        ...

    async def run(self) -> None:
        """Hold the connection until cancelled."""
        ...
