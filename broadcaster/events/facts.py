"""
What happens in an app's channels, as events for listeners (`broadcaster.events.listening`).

The same facts go to webhooks; `broadcaster.protocol.facts` says when each comes about.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.errors import InvalidJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.protocol.facts import Fact, FactName


@dataclass(frozen=True, slots=True, kw_only=True)
class FactEvent:
    """
    What all of them have.

    Attributes:
        id: 32 hex digits, the same however often the event is told: compare it where doing
            something twice would matter.
        app_id: whose channel it is.
        channel: full name, prefix included.
        time_ms: Unix milliseconds at which it happened. Events may come out of order.
    """

    id: str
    app_id: str
    channel: str
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOccupied(FactEvent):
    """A channel has its first connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelVacated(FactEvent):
    """A channel has no connection any more, and none came back in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded(FactEvent):
    """
    A user entered a presence channel with their first connection.

    Attributes:
        user_id: as text, whatever type the channel data gave it.
    """

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRemoved(FactEvent):
    """
    A user has left a presence channel with their last connection, and did not come back in time.

    Attributes:
        user_id: as text.
    """

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEventReceived(FactEvent):
    """
    A client sent an event to the others of its channel.

    Attributes:
        event: its name, ``client-`` included.
        data: what the client sent, as it stood there: its text if it was text, or else JSON.
        socket_id: of the sender.
        user_id: of the sender, on presence channels.
    """

    event: str
    data: str
    socket_id: str
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMissed(FactEvent):
    """Somebody subscribed to a cache channel that holds no event: publish one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionCountChanged(FactEvent):
    """
    The number of a channel's connections has changed.

    Attributes:
        subscription_count: how many there are now.
    """

    subscription_count: int


FACT_EVENTS: Mapping[FactName, type[FactEvent]] = MappingProxyType(
    {
        "channel_occupied": ChannelOccupied,
        "channel_vacated": ChannelVacated,
        "member_added": MemberAdded,
        "member_removed": MemberRemoved,
        "client_event": ClientEventReceived,
        "cache_miss": CacheMissed,
        "subscription_count": SubscriptionCountChanged,
    }
)
"""Classes by the name of their fact."""


def event_data(fact: Fact) -> dict[str, Any]:
    """Return the fields of the event for `fact`, in JSON types."""
    data: dict[str, Any] = msgspec.to_builtins(fact)
    del data["name"]
    return data


def decode_event(name: str, data: Mapping[str, Any]) -> FactEvent:
    """
    Return the event called `name`.

    Raises:
        InvalidJob: there is none, or `data` does not fit it.
    """
    event = next((cls for known, cls in FACT_EVENTS.items() if known == name), None)
    if event is None:
        raise InvalidJob(f"no event is called {name!a}")
    try:
        return msgspec.convert(dict(data), event)
    except msgspec.ValidationError as error:
        raise InvalidJob(f"{event.__name__} does not fit its fields: {error}") from error
