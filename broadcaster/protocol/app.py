"""An app: the tenant of a server, with its credentials and limits."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class AppLimits:
    """
    What one app's clients and backends may do.

    Attributes:
        max_frame_bytes: longest WebSocket message accepted from a client.
        max_data_bytes: longest ``data`` of one event.
        max_event_name: longest event name, in characters.
        max_connections: connections per gateway process; 0 means no limit.
        max_channels: subscriptions of one connection.
        client_events: whether ``client-`` events are relayed.
        client_event_rate: client events a second per connection.
        presence_members: distinct members of one presence channel.
        presence_info_bytes: longest ``user_info`` as JSON.
        activity_timeout: seconds of silence after which a client is asked for a sign of life.
        pong_timeout: seconds a client has to answer before its connection is closed (4201).
        max_backlog_bytes: what waits for a client that does not read, before it is closed.
        stuck_seconds: how long such a backlog may stand without shrinking.
        max_backlog_bytes: int = 1_048_576
    stuck_seconds: float = 10.0
    allowed_origins: hosts whose pages may connect; ``*`` allows any.
    """

    max_frame_bytes: int = 65_536
    max_data_bytes: int = 10_240
    max_event_name: int = 200
    max_connections: int = 0
    max_channels: int = 1_000
    client_events: bool = True
    client_event_rate: int = 10
    presence_members: int = 100
    presence_info_bytes: int = 1_024
    activity_timeout: int = 120
    pong_timeout: int = 30
    max_backlog_bytes: int = 1_048_576
    stuck_seconds: float = 10.0
    allowed_origins: tuple[str, ...] = ("*",)


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
    """

    id: str
    key: str
    secret: str = field(repr=False)
    grant_keys: tuple[tuple[str, str, str], ...] = field(default=(), repr=False)
    jwks_url: str | None = None
    limits: AppLimits = AppLimits()
