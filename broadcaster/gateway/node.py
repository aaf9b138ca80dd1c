"""
One gateway process: its hub, its connections, and what keeps them in step with Redis.

Everything here that is not `async` returns at once; the waiting is done by the tasks that
`run` owns::

    subscriptions   holds the pub/sub connection           contracts.broker.Subscriptions
    checker         compares channels with Redis           gateway.checks
    last events     reads what cache channels have kept    gateway.last_events
    lease, sweeper  keeps this node alive, buries others   gateway.lease
    rosters         joins and leaves presence channels     gateway.presence
    occupancy       tells how many are in which channel    gateway.occupancy
    relays          sends client events on, in order       gateway.relays
    revocations     knows what was revoked                 gateway.revocations
    users           signs users in, and says who is        gateway.users
    public keys     reads the keys of grants               contracts.public_keys
    facts           queues what webhooks are to tell       gateway.facts
    outboxes        queues what Redis found out            gateway.outboxes
    probe, touch    asks whether Redis answers             gateway.upkeep
    keepalive       pings, 4201, slow consumers, expiry    gateway.keepalive
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from broadcaster.errors import DriverError, MalformedMessage
from broadcaster.gateway.admission import Admission, Refusal
from broadcaster.gateway.capacity import Capacity
from broadcaster.gateway.checks import Checker
from broadcaster.gateway.draining import send_away
from broadcaster.gateway.facts import Facts
from broadcaster.gateway.keepalive import Keepalive
from broadcaster.gateway.last_events import LastEvents
from broadcaster.gateway.lease import LeaseKeeper
from broadcaster.gateway.occupancy import Occupancy, wanted_by
from broadcaster.gateway.outboxes import Outboxes
from broadcaster.gateway.presence import Rosters
from broadcaster.gateway.relays import Relays
from broadcaster.gateway.revocations import Revocations
from broadcaster.gateway.subscribing import Subscribing
from broadcaster.gateway.tasks import TaskOwner
from broadcaster.gateway.trace import Trace
from broadcaster.gateway.upkeep import Upkeep
from broadcaster.gateway.users import Users
from broadcaster.gateway.verification import Verification
from broadcaster.hub.hub import Hub
from broadcaster.protocol import close_codes
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.protocol.watchlist import is_online_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.presence import Lease
    from broadcaster.contracts.verifier import Verifier
    from broadcaster.gateway.apps import AppDirectory
    from broadcaster.gateway.census import Census
    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.parts import Newcomer, NodeOptions, Stores
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.protocol import effects
    from broadcaster.protocol.app import App
    from broadcaster.protocol.websocket import Upgrade

_log = logging.getLogger("broadcaster.gateway")

AnyConnection = TypeVar("AnyConnection", bound="Connection")


class Node:
    """See the module. Must be built inside a running event loop."""

    def __init__(
        self, *, apps: AppDirectory, stores: Stores, verifier: Verifier, options: NodeOptions
    ) -> None:
        loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = loop.time
        self._loop = loop
        self.options = options
        self.hub = Hub(self)
        self.connections: set[Connection] = set()
        self.sniffers: set[Newcomer] = set()
        self.trace = Trace()
        self.draining = False
        self._stores = stores
        self._apps = apps
        self._admission = Admission(apps, options.path_prefix)
        self._upkeep = Upkeep(self.hub, stores.broker, stores.history)
        self.facts = Facts(stores.facts)
        self._tasks = TaskOwner()
        self._subscriptions = stores.subscriptions(self)
        self._lease = LeaseKeeper(
            stores.presence, options.name, seconds=options.lease_seconds, now=self.now
        )
        self._relays = Relays(stores.broker, self.facts.tell)
        self._revocations = Revocations(
            stores.revocations,
            topic=stores.control,
            subscriptions=self._subscriptions,
            apps=apps,
            connections=lambda: self.connections,
        )
        self._keep_count()
        self._keep_channels()
        self._verification = Verification(
            verifier, apps, self._revocations, stores.public_keys, debug=options.debug
        )
        self.verify, self.hold = self._verification.verify, self._verification.hold
        self._keepalive = Keepalive(self)
        self._lease.attach(self)
        apps.follow(self._app_changed, self._subscriptions.want)

    def _keep_count(self) -> None:
        presence, tasks, grace = self._stores.presence, self._tasks, self.options.presence_grace
        self._outboxes = Outboxes(self._stores.outbox, self._stores.facts)
        wake = self._outboxes.wake
        wanted = wanted_by(self._apps)
        self._occupancy = Occupancy(self.hub, presence, self._lease, wanted=wanted, wake=wake)
        self._capacity = Capacity(
            self.census,
            presence,
            sockets=lambda: len(self.connections) + len(self.sniffers),
            node=self.options.name,
            ceiling=self.options.max_connections,
        )
        entered = self._occupancy.entered
        self._rosters = Rosters(
            self.hub, presence, self._lease, tasks, grace=grace, wake=wake, entered=entered
        )
        self.users = Users(
            self.hub,
            presence,
            self._lease,
            tasks,
            revocations=self._revocations,
            trace=self.trace,
            topic=self._stores.topic,
            grace=grace,
        )

    def _keep_channels(self) -> None:
        stores, by_id = self._stores, self._apps.by_id
        self._last_events = LastEvents(
            self.hub,
            stores.history,
            self._tasks,
            tell=self.facts.tell,
            wants_facts=lambda app_id: (app := by_id(app_id)) is not None and app.wants_facts,
        )
        self._subscribing = Subscribing(self.hub, self._rosters, self.trace, stores.topic)
        self._checker = Checker(
            self.hub,
            stores.history,
            register=self._occupancy.register,
            done=self._channel_checked,
            recount=self._occupancy.changed,
            is_ready=self._revocations.is_fresh,
        )
        self._revocations.on_fresh(self._checker.resume)

    # -- life -------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything that waits."""
        keep = self._tasks.keep
        keep(self._subscriptions.run, "subscriptions")
        keep(self._apps.run, "apps")
        keep(self._lease.run, "lease")
        keep(self._lease.sweep, "sweeper")
        keep(self._checker.run, "checker")
        keep(self._last_events.run, "last events")
        keep(self._occupancy.run, "occupancy")
        keep(self._capacity.run, "capacity")
        keep(self._relays.run, "relays")
        keep(self._revocations.run, "revocations")
        self.users.start()
        keep(self._stores.public_keys.run, "public keys")
        keep(self._keepalive.run, "keepalive")
        keep(self.facts.run, "facts")
        keep(self._outboxes.run, "outboxes")
        keep(self._upkeep.probe, "probe")
        keep(self._upkeep.touch, "touch")

    async def drain(self, seconds: float) -> None:
        """Send every connection away, spread over `seconds`."""
        self.draining = True
        await send_away(self.connections, seconds=seconds, now=self.now)

    async def aclose(self) -> None:
        """Leave presence behind for others to finish, and stop every task."""
        for connection in list(self.connections):
            connection.close(close_codes.RECONNECT)
        await self._rosters.settled(within=1.0)
        await self.users.settled(within=1.0)
        self._outboxes.wake()
        await self._outboxes.settled(within=1.0)
        await self.facts.settled(within=1.0)
        try:
            await self._lease.retire()
        except DriverError as error:
            _log.warning("could not give up the lease: %s", error, extra={"event": "stopping"})
        await self._tasks.aclose()
        for connection in list(self.connections):
            connection.abort()

    def reasons(self) -> list[str]:
        """Return why this node is not ready, nothing when it is."""
        reasons: list[str] = []
        if self.draining:
            reasons.append("draining")
        if not self._upkeep.redis_answers:
            reasons.append("Redis does not answer")
        if not self._subscriptions.connected:
            reasons.append("pub/sub connection is down")
        elif not self._apps.settled:
            reasons.append("the apps in Redis are not read")
        return reasons

    @property
    def census(self) -> Census:
        """Who is connected here."""
        return self._occupancy.census

    async def counts_settled(self) -> None:
        """Return when the store knows how many connections each channel has here."""
        await self._occupancy.settled()

    # -- what sockets ask for ---------------------------------------------------------

    def admit(
        self, upgrade: Upgrade, build: Callable[[App, str], AnyConnection], response: bytes = b""
    ) -> AnyConnection:
        """
        Take a new WebSocket; what is wrong with it is told to the client and closed.

        Args:
            build: makes the connection for an app and a socket id.
            response: to the handshake, written before anything else.
        """
        is_full = self._capacity.is_full
        verdict = self._admission.decide(upgrade, is_full=is_full, draining=self.draining)
        app = verdict.app if isinstance(verdict, Refusal) else verdict
        connection = build(app, self._admission.new_socket_id())
        self.connections.add(connection)
        if isinstance(verdict, Refusal):
            connection.write(response)
            connection.refuse(verdict.code, verdict.message)
            self.trace.refused(connection, verdict.code, verdict.message, verdict.cause)
        else:
            self._revocations.open(app.id)
            self.census.came(connection)
            connection.greet(response)
            self.trace.connected(connection)
        return connection

    def join(self, connection: Connection, join: effects.Join) -> None:
        """Bring a connection into a channel; success is reported when it is true."""
        self._subscribing.join(connection, join)

    def leave(self, connection: Connection, name: str) -> None:
        """Take a connection out of a channel."""
        self._subscribing.leave(connection, name)

    def relay(self, connection: Connection, relay: effects.Relay) -> None:
        """Send a client event to the channel's other subscribers, on every node."""
        self._relays.put(connection, relay)

    def denied(self, connection: Connection, denied: effects.Denied) -> None:
        """Log a refused subscription with its cause; a connection has so many and no more."""
        self.trace.denied(connection, denied, self.now())
        connection.refused()

    def pace_changed(self, connection: Connection) -> None:
        """A connection stopped or started reading."""
        if connection.paused:
            self._keepalive.paused.add(connection)
        else:
            self._keepalive.paused.discard(connection)
        self._subscribing.pace_changed(connection)
        self.users.pace_changed(connection)

    def slow_consumer(self, connection: Connection) -> None:
        """Close a connection that does not keep up."""
        self.trace.slow(connection)
        connection.close(close_codes.SLOW_CONSUMER)

    def closing(self, connection: Connection) -> None:
        """A close was sent: out of every channel, and aborted if the peer does not answer."""
        self._keepalive.closing.add(connection)
        self._subscribing.leave_all(connection)
        self.users.forget(connection)

    def socket_closed(self, connection: Connection) -> None:
        """The socket is gone."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.census.left(connection)
            self._verification.forget(connection)
            self._keepalive.forget(connection)
            self._subscribing.leave_all(connection)
            self.users.forget(connection)
            self.trace.disconnected(connection)

    def _app_changed(self, app_id: str, app: App | None) -> None:
        """An app is another than before, or gone: its connections follow."""
        if app is not None and app.jwks_url:
            self._stores.public_keys.refresh(app.jwks_url)
        for connection in list(self.census.of(app_id)):
            connection.follow(app)

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """Call `callback` after `delay` seconds, unless the node is closed before."""
        self._tasks.later(delay, callback)

    # -- HubOwner ---------------------------------------------------------------------

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See `HubOwner.call_soon`."""
        self._loop.call_soon(callback)

    def channel_opened(self, channel: LocalChannel) -> None:
        """See `HubOwner.channel_opened`."""
        self._subscriptions.want(channel.topic)

    def channel_closed(self, channel: LocalChannel) -> None:
        """See `HubOwner.channel_closed`."""
        self._subscriptions.forget(channel.topic)
        self._occupancy.changed(channel)

    def check_wanted(self, channel: LocalChannel) -> None:
        """See `HubOwner.check_wanted`."""
        self._checker.want(channel)

    def last_wanted(self, channel: LocalChannel) -> None:
        """See `HubOwner.last_wanted`."""
        self._last_events.want(channel)

    def roster_wanted(self, channel: LocalChannel) -> None:
        """See `HubOwner.roster_wanted`."""
        if is_online_list(channel.name):
            self.users.refresh(channel)
        else:
            self._rosters.refresh(channel)

    def count_changed(self, channel: LocalChannel) -> None:
        """See `HubOwner.count_changed`."""
        self._occupancy.changed(channel)

    def _channel_checked(self, channel: LocalChannel) -> None:
        self._occupancy.checked(channel)
        if channel.roster is not None:
            self.roster_wanted(channel)

    # -- SubscriptionListener ---------------------------------------------------------

    def message_received(self, topic: bytes, data: bytes) -> None:
        """See `SubscriptionListener.message_received`."""
        try:
            envelope = decode_envelope(data)
        except MalformedMessage as error:
            _log.warning("dropped what is no envelope: %s", error, extra={"event": "bad_envelope"})
            return
        if self._revocations.listens_to(topic):
            self._revocations.received(topic, envelope.frame)
        elif self._apps.listens_to(topic):
            self._apps.told()
        else:
            self.hub.received(topic, envelope)
            if self.trace.on:
                self.trace.delivered(self.hub.channels.get(topic), envelope)

    def subscribed(self, topic: bytes) -> None:
        """See `SubscriptionListener.subscribed`."""
        if self._revocations.listens_to(topic):
            self._revocations.acknowledged(topic)
        elif self._apps.listens_to(topic):
            self._apps.acknowledged()
        else:
            self.hub.acknowledged(topic)

    def connection_made(self) -> None:
        """See `SubscriptionListener.connection_made`."""
        self._lease.wake()

    def connection_lost(self) -> None:
        """See `SubscriptionListener.connection_lost`."""
        self._revocations.interrupted()
        self._apps.interrupted()
        self.hub.interrupted()

    # -- Registrar --------------------------------------------------------------------

    async def register_all(self, lease: Lease, *, data_lost: bool) -> None:
        """See `Registrar.register_all`."""
        await self._occupancy.register_all(lease, data_lost=data_lost)
        await self._rosters.register_all(lease, data_lost=data_lost)
        await self.users.register_all(lease, data_lost=data_lost)
