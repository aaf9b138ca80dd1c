"""Bringing connections into channels, and out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.presence import Member
from broadcaster.hub.channel import Joining
from broadcaster.protocol.messages import encode_event, encode_succeeded
from broadcaster.protocol.websocket import encode_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.presence import Rosters
    from broadcaster.gateway.trace import Trace
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.hub.hub import Hub
    from broadcaster.protocol import effects


class Subscribing:
    """
    Carries out what sessions decided about their channels; returns at once.

    Args:
        topic: the pub/sub topic of an app's channel.
    """

    def __init__(
        self, hub: Hub, rosters: Rosters, trace: Trace, topic: Callable[[str, str], bytes]
    ) -> None:
        self._hub = hub
        self._rosters = rosters
        self._trace = trace
        self._topic = topic

    def join(self, connection: Connection, join: effects.Join) -> None:
        """Bring a connection into a channel; success is reported when it is true."""
        name = join.channel.name
        topic = self._topic(connection.app.id, name)
        channel = self._hub.open(topic, connection.app.id, name)

        def proceed() -> None:
            if join.channel.cache:
                self._hub.read_last(channel, connection, admit)
            else:
                self._enter(channel, connection, join)

        def admit(last: bytes | None) -> None:
            frame = encode_event(name, "pusher:cache_miss", "{}") if last is None else last
            self._enter(channel, connection, join, then=encode_text(frame))

        if channel.stream.live:
            proceed()
        else:
            channel.waiting[connection] = proceed

    def _enter(
        self,
        channel: LocalChannel,
        connection: Connection,
        join: effects.Join,
        *,
        then: bytes | None = None,
    ) -> None:
        """Let a connection in; `then` is a WebSocket frame it gets right after success."""
        if join.member is not None:
            channel.joining[connection] = Joining(then)
            member = Member(join.member.user_id, join.member.data)
            self._rosters.join(channel, connection, join.generation, member)
        else:
            self._hub.add(channel, connection)
            connection.joined(channel.name, join.generation, encode_succeeded(channel.name))
            if then is not None:
                connection.send_raw(then)
            if channel.counted is not None:
                connection.send_raw(channel.counted.frame)
        self._trace.subscribed(connection, join)

    def leave(self, connection: Connection, name: str) -> None:
        """Take a connection out of a channel."""
        app_id = connection.app.id
        topic = self._topic(app_id, name)
        self._hub.flush()
        self._hub.remove(topic, connection)
        if name.startswith("presence-"):
            self._rosters.leave(topic, app_id, name, connection.socket_id)
        self._trace.unsubscribed(connection, name)

    def leave_all(self, connection: Connection) -> None:
        """Take a connection out of every channel."""
        names = list(connection.session.subscriptions)
        connection.session.subscriptions.clear()
        for name in names:
            self.leave(connection, name)

    def pace_changed(self, connection: Connection) -> None:
        """A connection stopped or started reading."""
        for name in connection.session.subscriptions:
            channel = self._hub.channels.get(self._topic(connection.app.id, name))
            if channel is not None:
                channel.pace_changed()
