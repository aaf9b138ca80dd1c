"""The gateway's side: settings in, a node and its HTTP application out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broadcaster.drivers.http.jwks import HttpPublicKeys
from broadcaster.drivers.redis.apps import RedisApps
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.facts import QueuedFacts
from broadcaster.drivers.redis.history import RedisHistory
from broadcaster.drivers.redis.idempotency import RedisIdempotency
from broadcaster.drivers.redis.outbox import RedisOutbox
from broadcaster.drivers.redis.presence import RedisPresence
from broadcaster.drivers.redis.publish import RedisBroker
from broadcaster.drivers.redis.pubsub import RedisSubscriptions
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.revocations import RedisRevocations
from broadcaster.gateway.app import http_app
from broadcaster.gateway.apps import AppDirectory
from broadcaster.gateway.capacity import room_for_sockets
from broadcaster.gateway.node import Node
from broadcaster.gateway.parts import NodeOptions, Stores
from broadcaster.wiring.process_name import process_name
from broadcaster.wiring.webhooks import WebhookService

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from broadcaster.contracts.broker import SubscriptionListener, Subscriptions
    from broadcaster.contracts.public_keys import PublicKeys
    from broadcaster.contracts.verifier import Verifier
    from broadcaster.settings import Settings


class Gateway(NamedTuple):
    """What a gateway process consists of."""

    node: Node
    app: Starlette
    clients: RedisClients
    webhooks: WebhookService


def open_gateway(settings: Settings) -> Gateway:
    """
    Return a gateway for `settings`; call it inside a running event loop.

    Raises:
        NotConfigured: credentials or a Redis URL are missing.
    """
    clients = RedisClients(settings.require_redis(), settings.prefix)
    apps = open_apps(settings, clients)
    stores = _stores(clients, settings)
    options = NodeOptions(
        name=process_name(),
        lease_seconds=settings.gateway.lease_seconds,
        presence_grace=settings.gateway.presence_grace,
        max_connections=settings.gateway.max_connections or _room(),
        debug=settings.debug,
    )
    for app in apps:
        if app.jwks_url:
            stores.public_keys.refresh(app.jwks_url)
    verifier = _verifier(stores.public_keys)
    node = Node(apps=apps, stores=stores, verifier=verifier, options=options)
    web = http_app(apps, stores, node, settled=node.counts_settled)
    return Gateway(node, web, clients, WebhookService(settings, apps, clients))


def open_apps(settings: Settings, clients: RedisClients) -> AppDirectory:
    """
    Return every app that is served: those of the settings and, unless that is off, of Redis.

    Raises:
        NotConfigured: there is none in the settings, and they do not say that Redis has them.
    """
    store = RedisApps(clients) if settings.gateway.dynamic_apps else None
    return AppDirectory(
        settings.require_apps(), store, base=settings.limits, topic=clients.keys.apps_topic()
    )


def _room() -> int:
    """Return how many sockets the limit of open files leaves room for; 0 if there is none."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else room_for_sockets(soft)


def _stores(clients: RedisClients, settings: Settings) -> Stores:
    def subscriptions(listener: SubscriptionListener) -> Subscriptions:
        return RedisSubscriptions(clients, listener)

    return Stores(
        broker=RedisBroker(clients, settings.history),
        history=RedisHistory(clients, settings.history),
        presence=RedisPresence(
            clients,
            lease=settings.gateway.lease_seconds,
            vacate_grace=settings.gateway.vacate_grace,
        ),
        revocations=RedisRevocations(clients),
        idempotency=RedisIdempotency(clients),
        public_keys=HttpPublicKeys(),
        facts=QueuedFacts(RedisQueue(clients)),
        outbox=RedisOutbox(clients),
        topic=clients.keys.topic,
        control=clients.keys.control,
        subscriptions=subscriptions,
    )


def _verifier(public_keys: PublicKeys) -> Verifier:
    from broadcaster_auth.verifier import SubscriptionVerifier

    return SubscriptionVerifier(public_keys)
