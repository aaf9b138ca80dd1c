"""Unframed publications: what a backend says, before it is framed per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    r"""
    One finished event: shaped, encoded, ready for any worker or driver.

    Attributes:
        id: 32 hex digits (a UUIDv7). A repeat under the same id is delivered once.
        app_id: the app it belongs to.
        channels: 1 to 100 full channel names, prefixes included.
        name: event name on the wire, e.g. ``App\Events\OrderShipped``.
        data: the event's data as JSON text; delivered verbatim.
        socket_id: the connection that must not receive it, or None.
        connection: name of the driver it goes through; None is the configured one.
    """

    id: str
    app_id: str
    channels: tuple[str, ...]
    name: str
    data: str
    socket_id: str | None = None
    connection: str | None = None


class Publisher(Protocol):
    """
    Brings publications to subscribers: drivers ``redis``, ``pusher``, ``log``, ``null``.

    Publications of one call keep their order per channel. A call that raises may have
    published some of them; repeating it under the same ids delivers each once.

    Raises `DriverUnavailable` when the server cannot be reached within 2 s,
    `DriverRefused` when the store of a channel cannot be written to, `PublishRefused` when a remote server answers with a refusal.
    """

    def publish(self, publications: Sequence[Publication]) -> None:
        """Publish from code without an event loop; blocks for at most one round trip."""
        ...

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """Publish from a coroutine."""
        ...
