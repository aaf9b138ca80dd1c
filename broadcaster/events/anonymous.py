"""
Events without a class: ``on("orders.1").as_("shipped").with_({"id": 7}).send()``.

Each step returns a new value; nothing is sent before the last verb.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.events.broadcast import asend, send
from broadcaster.events.channels import PresenceChannel, PrivateChannel, channel_names
from broadcaster.events.shaping import Draft

if TYPE_CHECKING:
    from broadcaster.events.channels import ChannelLike, HasChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class AnonymousEvent:
    """
    An event being described; `on`, `private` and `presence` begin one.

    The name is taken as it stands, so Echo listens for it with a leading dot.
    """

    channels: tuple[str, ...]
    name: str = "AnonymousEvent"
    data: object = None
    connection: str | None = None
    queue: str | None = None
    others: bool = False
    waits: bool | None = None

    def as_(self, name: str) -> AnonymousEvent:
        """Set the name. Default: ``AnonymousEvent``."""
        return replace(self, name=name)

    def with_(self, data: object) -> AnonymousEvent:
        """Set the data. Default: an empty object."""
        return replace(self, data=data)

    def via(self, connection: str) -> AnonymousEvent:
        """Publish through this driver instead of the configured one."""
        return replace(self, connection=connection)

    def on_queue(self, queue: str) -> AnonymousEvent:
        """Wait in this queue instead of the configured one."""
        return replace(self, queue=queue)

    def after_commit(self, *, wait: bool = True) -> AnonymousEvent:
        """Wait until the open transaction is committed, or do not; see `broadcast`."""
        return replace(self, waits=wait)

    def to_others(self) -> AnonymousEvent:
        """Leave out the connection that the current request came from."""
        return replace(self, others=True)

    def send(self, *, socket_id: str | None = None) -> None:
        """Send through the queue; see `broadcaster.broadcast` for what it raises."""
        send(
            current.application(),
            self._draft(now=False),
            to_others=self.others,
            socket_id=socket_id,
        )

    async def asend(self, *, socket_id: str | None = None) -> None:
        """Send through the queue, from a coroutine."""
        said = self._draft(now=False)
        await asend(current.application(), said, to_others=self.others, socket_id=socket_id)

    def send_now(self, *, socket_id: str | None = None) -> None:
        """Publish before the call returns, past the queue."""
        send(
            current.application(), self._draft(now=True), to_others=self.others, socket_id=socket_id
        )

    async def asend_now(self, *, socket_id: str | None = None) -> None:
        """Publish before the call returns, past the queue, from a coroutine."""
        said = self._draft(now=True)
        await asend(current.application(), said, to_others=self.others, socket_id=socket_id)

    def _draft(self, *, now: bool) -> Draft:
        return Draft(
            channels=self.channels,
            name=self.name,
            data={} if self.data is None else self.data,
            queue=self.queue,
            connections=(self.connection,),
            now=now,
            after_commit=self.waits,
        )


def on(*channels: ChannelLike) -> AnonymousEvent:
    """
    Begin an event for these channels; text is a full channel name.

    Raises:
        InvalidChannel: a name outside the grammar.
    """
    return AnonymousEvent(channels=channel_names(channels))


def private(*names: str | HasChannel) -> AnonymousEvent:
    """Begin an event for these private channels, named without their prefix."""
    return AnonymousEvent(channels=channel_names([PrivateChannel(name) for name in names]))


def presence(*names: str | HasChannel) -> AnonymousEvent:
    """Begin an event for these presence channels, named without their prefix."""
    return AnonymousEvent(channels=channel_names([PresenceChannel(name) for name in names]))
