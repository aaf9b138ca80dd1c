"""
Signed-in connections: what is sent to their user reaches them, and who watches is told.

A sign-in is answered when it is true. First the store says at what moment it happens, by the
clock that terminations are timed with; then the topic of ``#server-to-user-<id>`` is
acknowledged and compared with Redis, as for any channel. Success is written in the same tick
in which the connection becomes a subscriber of that topic, so no event is missed in between.
A connection is one subscriber there, whether it subscribed to the channel too or not: each
event reaches it once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError, DriverRefused
from broadcaster.gateway.online import OnlineUsers
from broadcaster.gateway.watchlists import Watchlists
from broadcaster.protocol.channels import USER_CHANNEL_PREFIX
from broadcaster.protocol.close_codes import WATCHLIST_CUT
from broadcaster.protocol.messages import encode_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.presence import Lease, PresenceStore
    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.lease import LeaseKeeper
    from broadcaster.gateway.revocations import Revocations
    from broadcaster.gateway.tasks import TaskOwner
    from broadcaster.gateway.trace import Trace
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.hub.hub import Hub
    from broadcaster.protocol.effects import SignIn

_log = logging.getLogger("broadcaster.gateway")

RETRY_SECONDS = 0.2
REFUSED_SECONDS = 5.0


class _SignedIn:
    """
    One connection that signed in, or is about to.

    Waits for the topic as a `Subscriber` of its own, beside a subscription of the same
    connection that may wait there too; nothing is ever written to it.
    """

    __slots__ = (
        "connection",
        "done",
        "is_seen",
        "name",
        "paused",
        "sign_in",
        "socket_id",
        "topic",
    )

    def __init__(self, connection: Connection, sign_in: SignIn, topic: bytes, name: str) -> None:
        self.connection = connection
        self.sign_in = sign_in
        self.topic = topic
        self.name = name
        self.done = False
        self.is_seen = False  # by those who watch the user; the app's limits may change
        self.socket_id = connection.socket_id
        self.paused = False

    @property
    def write(self) -> Callable[[bytes], None]:
        """See `Subscriber.write`."""
        return self.deliver

    def deliver(self, data: bytes) -> None:
        """See `Subscriber.deliver`."""


class Users:
    """
    See the module.

    Args:
        topic: the pub/sub topic of an app's channel.
        grace: seconds in which a user who comes back has never been away.
    """

    def __init__(
        self,
        hub: Hub,
        store: PresenceStore,
        lease: LeaseKeeper,
        tasks: TaskOwner,
        *,
        revocations: Revocations,
        trace: Trace,
        topic: Callable[[str, str], bytes],
        grace: float,
    ) -> None:
        self._hub = hub
        self._tasks = tasks
        self._revocations = revocations
        self._trace = trace
        self._topic = topic
        self._online = OnlineUsers(store, lease, tasks, grace=grace)
        self._watchlists = Watchlists(hub, store, lease, tasks, topic=topic)
        self._signed_in: dict[Connection, _SignedIn] = {}
        self._untimed: dict[_SignedIn, None] = {}
        self._resting: set[str] = set()  # apps whose sign-ins were refused a moment ago
        self._event = asyncio.Event()

    def start(self) -> None:
        """Start everything that waits."""
        self._tasks.keep(self._run, "users")
        self._tasks.keep(self._online.run, "online")
        self._tasks.keep(self._watchlists.run, "watchlists")

    async def settled(self, *, within: float) -> None:
        """Wait until the store knows who is signed in here, for `within` seconds at most."""
        await self._online.settled(within=within)

    async def register_all(self, lease: Lease, *, data_lost: bool) -> None:
        """Write everything again under a new lease, and read it; see `Registrar`."""
        await self._online.register_all(lease, data_lost=data_lost)
        self._watchlists.recover(data_lost=data_lost)

    def refresh(self, channel: LocalChannel) -> None:
        """What an online list published may have been missed."""
        self._watchlists.refresh(channel)

    def sign_in(self, connection: Connection, sign_in: SignIn) -> None:
        """Make a connection its user's; success is written when it is true."""
        signed_in = self._signed_in.get(connection)
        if signed_in is None:
            name = USER_CHANNEL_PREFIX + sign_in.user.id
            topic = self._topic(connection.app.id, name)
            signed_in = _SignedIn(connection, sign_in, topic, name)
            self._signed_in[connection] = signed_in
            self._untimed[signed_in] = None
            self._event.set()
        elif signed_in.done:
            connection.send(sign_in.frame)

    def forget(self, connection: Connection) -> None:
        """A connection is gone, or its user's no longer."""
        signed_in = self._signed_in.pop(connection, None)
        if signed_in is None:
            return
        self._untimed.pop(signed_in, None)
        self._hub.flush()
        self._hub.remove(signed_in.topic, signed_in)
        self._hub.remove(signed_in.topic, connection)
        if signed_in.is_seen:
            self._online.left(connection.app.id, signed_in.sign_in.user.id)
            self._watchlists.forget(connection)

    def pace_changed(self, connection: Connection) -> None:
        """A connection stopped or started reading."""
        signed_in = self._signed_in.get(connection)
        channel = self._hub.channels.get(signed_in.topic) if signed_in is not None else None
        if channel is not None:
            channel.pace_changed()

    async def _run(self) -> None:
        """Ask for the moments of sign-ins until cancelled; while Redis is away they wait."""
        self._event.set()
        while True:
            await self._event.wait()
            self._event.clear()
            by_app: dict[str, list[_SignedIn]] = {}
            for signed_in in self._untimed:
                app_id = signed_in.connection.app.id
                if app_id not in self._resting:
                    by_app.setdefault(app_id, []).append(signed_in)
            for app_id, waiting in by_app.items():
                try:
                    await self._time(app_id, waiting)
                except DriverRefused as error:  # the other apps need not wait
                    fields = {"event": "refused", "app": app_id}
                    _log.warning("sign-ins wait: %s", error, extra=fields)
                    if not self._resting:
                        self._tasks.later(REFUSED_SECONDS, self._rested)
                    self._resting.add(app_id)
                except DriverError:
                    await asyncio.sleep(RETRY_SECONDS)
                    self._event.set()

    def _rested(self) -> None:
        self._resting.clear()
        self._event.set()

    async def _time(self, app_id: str, waiting: Sequence[_SignedIn]) -> None:
        user_ids = [signed_in.sign_in.user.id for signed_in in waiting]
        moments = await self._revocations.moments(app_id, user_ids)
        for signed_in, moment in zip(waiting, moments, strict=True):
            if signed_in in self._untimed:  # else it is gone
                del self._untimed[signed_in]
                signed_in.connection.session.signed_in_at = moment
                self._revocations.recheck(signed_in.connection)
                if signed_in.connection in self._signed_in:
                    self._enter(signed_in)

    def _enter(self, signed_in: _SignedIn) -> None:
        app_id = signed_in.connection.app.id
        channel = self._hub.open(signed_in.topic, app_id, signed_in.name)

        def proceed() -> None:
            connection, user = signed_in.connection, signed_in.sign_in.user
            self._hub.add(channel, connection)
            signed_in.done = True
            signed_in.is_seen = connection.app.limits.watchlist > 0
            if signed_in.is_seen:
                self._online.came(app_id, user.id)
            connection.send(signed_in.sign_in.frame)
            if user.complaint:
                connection.send(encode_error(WATCHLIST_CUT, f"Watchlist: {user.complaint}"))
            if connection in self._signed_in:  # else it was too slow for what was written
                self._watchlists.watch(connection, user.watchlist)
            self._trace.signed_in(connection, user)

        if channel.stream.live:
            proceed()
        else:
            channel.waiting[signed_in] = proceed
