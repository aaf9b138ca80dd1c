"""
What clients may say to each other on a channel.

A client event is relayed to the channel's other subscribers when the app allows it, its
sender is subscribed, and the channel is of a kind that checks who is in it. Who sent it is
written by the server, on presence channels alone, with the member's id in the JSON type that
the application gave it; what the client says about it, and any other field, is left out.
Client events have no history and are never cached.

Source: Pusher Channels, "Client events".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.protocol.channels import parse_channel, shown
from broadcaster.protocol.effects import Relay
from broadcaster.protocol.facts import CLIENT_EVENT, Fact, fact_id
from broadcaster.protocol.messages import encode_client_event, member_parts

if TYPE_CHECKING:
    from broadcaster.protocol.app import AppLimits
    from broadcaster.protocol.messages import ClientEvent
    from broadcaster.protocol.subscription import Subscription

_decode_text = msgspec.json.Decoder(str).decode


def refusal_of(
    event: ClientEvent, subscription: Subscription | None, limits: AppLimits
) -> str | None:
    """
    Return why a client event is not relayed, or None.

    Args:
        event: as sent.
        subscription: the sender's to the event's channel, if there is one.
        limits: of the app.
    """
    if not limits.client_events:
        return "The app does not have client messaging enabled"
    if subscription is None or not subscription.active:
        return f"not subscribed to channel {shown(event.channel)}"
    if not parse_channel(event.channel).takes_client_events:
        return "only private and presence channels take client events"
    if len(event.name) > limits.max_event_name:
        return f"event name has {len(event.name)} characters; {limits.max_event_name} are allowed"
    if len(event.data) > limits.max_data_bytes:
        size = len(said(event.data).encode())
        if size > limits.max_data_bytes:
            return f"data has {size} bytes; {limits.max_data_bytes} are allowed"
    return None


def relay_of(event: ClientEvent, subscription: Subscription) -> Relay:
    """Return the relay of an event that `refusal_of` has nothing against."""
    member = subscription.member_data
    if member is None:
        return Relay(event.channel, encode_client_event(event), event, None)
    frame = encode_client_event(event, member_parts(member)[0])
    return Relay(event.channel, frame, event, subscription.user_id)


def fact_of(relay: Relay, *, app_id: str, socket_id: str, event_id: bytes, time_ms: int) -> Fact:
    """
    Return the fact of a client event that was relayed.

    Args:
        socket_id: its sender's.
        event_id: under which it was relayed.
        time_ms: Unix milliseconds.
    """
    return Fact(
        id=fact_id(CLIENT_EVENT, app_id, event_id.hex()),
        app_id=app_id,
        name="client_event",
        channel=relay.channel,
        time_ms=time_ms,
        event=relay.event.name,
        data=said(relay.event.data),
        socket_id=socket_id,
        user_id=relay.user_id,
    )


def said(data: bytes) -> str:
    """Return what a client sent as `data`: the text of a JSON string, else the JSON itself."""
    return _decode_text(data) if data[:1] == b'"' else data.decode()
