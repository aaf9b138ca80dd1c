"""An app: the tenant of a server, with its credentials and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class AppLimits:
    """
    What one app's clients and backends may do.

    Attributes:
        max_frame_bytes: longest WebSocket message accepted from a client.
        max_data_bytes: longest ``data`` of one event.
        max_event_name: longest event name, in characters.
        max_connections: connections of the app, over all gateways; 0 means no limit.
        max_channels: subscriptions of one connection.
        client_events: whether ``client-`` events are relayed.
        client_event_rate: client events a second per connection.
        publish_rate: messages a second that backends publish over HTTP, per gateway process
            (an event counts once per channel); 0 means no limit.
        presence_members: distinct members of one presence channel.
        presence_info_bytes: longest ``user_info`` as JSON.
        presence_id_length: longest ``user_id``, in characters.
        watchlist: users that one signed-in connection may watch.
        subscription_counts: whether subscribers are told how many they are
            (``pusher_internal:subscription_count``), and webhooks too.
        authorization_timeout: seconds in which a connection must sign in or subscribe to a
            private or presence channel, or be closed (4009); 0 asks nothing of it.
        activity_timeout: seconds of silence after which a client is asked for a sign of life.
        pong_timeout: seconds a client has to answer before its connection is closed (4201).
        max_backlog_bytes: what waits for a client that does not read, before it is closed.
        stuck_seconds: how long such a backlog may stand without shrinking.
        allowed_origins: hosts whose pages may connect; ``*`` allows any
            (`broadcaster.protocol.origins`).
    """

    max_frame_bytes: int = 65_536
    max_data_bytes: int = 10_240
    max_event_name: int = 200
    max_connections: int = 0
    max_channels: int = 1_000
    client_events: bool = True
    client_event_rate: int = 10
    publish_rate: int = 0
    presence_members: int = 100
    presence_info_bytes: int = 1_024
    presence_id_length: int = 128
    watchlist: int = 100
    subscription_counts: bool = False
    authorization_timeout: float = 0.0
    activity_timeout: int = 120
    pong_timeout: int = 30
    max_backlog_bytes: int = 1_048_576
    stuck_seconds: float = 10.0
    allowed_origins: tuple[str, ...] = ("*",)


# App ids that would spell keys of other things in Redis.
RESERVED_IDS = frozenset({"q", "b", "l", "node", "nodes"})

# Inclusive. Numbers without an entry may be anything from 0 up.
LIMIT_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "max_frame_bytes": (1_024, 16_777_216),
        "max_data_bytes": (1, 16_777_216),
        "max_event_name": (1, 1_000),
        "max_channels": (1, 1_000_000),
        "presence_members": (1, 1_000_000),
        "presence_id_length": (1, 128),
        "watchlist": (0, 1_000),
        "authorization_timeout": (0, 86_400),
        "activity_timeout": (1, 86_400),
        "pong_timeout": (1, 3_600),
        "max_backlog_bytes": (65_536, 1_073_741_824),
        "stuck_seconds": (1, 3_600),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """
    One receiver of an app's facts.

    Attributes:
        url: ``https://`` or ``http://``.
        events: names of facts (`broadcaster.protocol.facts`) that it wants; empty for all.
        channel_prefix: only facts of channels whose names begin so.
        channel_suffix: only facts of channels whose names end so.
        batch: whether one request may carry several facts.
        headers: further request headers, as ``(name, value)``.
    """

    url: str
    events: tuple[str, ...] = ()
    channel_prefix: str = ""
    channel_suffix: str = ""
    batch: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """
    One tenant.

    Attributes:
        id: digits, as in ``/apps/<id>/events``.
        key: public; part of the WebSocket URL.
        secret: signs requests, subscriptions and webhooks.
        grant_keys: JWT keys by key id, as ``(kid, algorithm, key)``; see `broadcaster_auth.tokens`.
        jwks_url: where further, public keys are read from, or None; ``https``.
        encryption_key: master key of encrypted channels, 32 bytes, or None. Only backends
            and auth endpoints need it; a gateway never does.
        enabled: whether it is served; a disabled app's sockets are closed (4003) and its
            requests refused (403).
        webhooks: who is told what happens.
        server_events: whether the same facts are queued for listeners in a worker.
    """

    id: str
    key: str
    secret: str = field(repr=False)
    grant_keys: tuple[tuple[str, str, str], ...] = field(default=(), repr=False)
    jwks_url: str | None = None
    encryption_key: bytes | None = field(default=None, repr=False)
    enabled: bool = True
    webhooks: tuple[Webhook, ...] = ()
    server_events: bool = False
    limits: AppLimits = AppLimits()

    @property
    def wants_facts(self) -> bool:
        """Whether anybody is told what happens in this app's channels."""
        return self.server_events or bool(self.webhooks)
