"""
What clients may say to each other on a channel.

A client event is relayed to the channel's other subscribers when the app allows it, its
sender is subscribed, and the channel is of a kind that checks who is in it. Who sent it is
written by the server, on presence channels alone; what the client says about it is not read.

Source: Pusher Channels, "Client events".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.protocol.channels import parse_channel, shown
from broadcaster.protocol.effects import Relay
from broadcaster.protocol.messages import encode_client_event

if TYPE_CHECKING:
    from broadcaster.protocol.app import AppLimits
    from broadcaster.protocol.messages import ClientEvent
    from broadcaster.protocol.subscription import Subscription


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
        return f"data has {len(event.data)} bytes; {limits.max_data_bytes} are allowed"
    return None


def relay_of(event: ClientEvent, subscription: Subscription) -> Relay:
    """Return the relay of an event that `refusal_of` has nothing against."""
    user_id = subscription.user_id if event.channel.startswith("presence-") else None
    frame = encode_client_event(event.channel, event.name, event.data, user_id)
    return Relay(event.channel, frame)
