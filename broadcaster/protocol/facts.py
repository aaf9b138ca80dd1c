"""
Facts: what happened in an app's channels, for webhooks and for listeners in a worker.

======================  ========================================  =========================
name                    beside ``channel`` it has                 happened when
======================  ========================================  =========================
``channel_occupied``                                              the first connection came
``channel_vacated``                                               none came back in time
``member_added``        ``user_id``                               a user's first connection
``member_removed``      ``user_id``                               none came back in time
``client_event``        ``event``, ``data``, ``socket_id``, and   a client event was sent
                        ``user_id`` on presence channels
``cache_miss``                                                    a cache channel was empty
``subscription_count``  ``subscription_count``                    the count has changed
======================  ========================================  =========================

A fact is told at least once, and always under the same id.

Source: Pusher Channels, "Webhooks".
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

MEMBER_ADDED = "member_added"
MEMBER_REMOVED = "member_removed"
CLIENT_EVENT = "client_event"
CACHE_MISS = "cache_miss"
SUBSCRIPTION_COUNT = "subscription_count"

FactName = Literal[
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
    "subscription_count",
]
FACT_NAMES: tuple[FactName, ...] = get_args(FactName)

FACT_JOB = "broadcaster.fact"
"""The built-in job that carries one fact; `Payload.job` of such a one."""

FACT_QUEUE = "broadcaster.facts"
"""The queue that facts and webhooks wait in; gateways drain it themselves."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One fact; see the module for which attributes it has.

    Attributes:
        id: 32 lower-case hex digits, the same however often it is told.
        app_id: whose it is.
        name: one of `FACT_NAMES`.
        channel: full channel name.
        time_ms: Unix milliseconds at which it happened.
        user_id: canonical text.
        event: name of a client event.
        data: of a client event: what the client sent as a string, or else its JSON text.
        socket_id: who sent a client event.
        subscription_count: connections of the channel.
    """

    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    app_id: str
    name: FactName
    channel: str
    time_ms: int
    user_id: str | None = None
    event: str | None = None
    data: str | None = None
    socket_id: str | None = None
    subscription_count: int | None = None


def fact_id(*parts: str | int) -> str:
    """Return the id of the fact that `parts` tell from all others of the server."""
    text = "\0".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
