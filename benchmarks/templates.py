"""
One publication as bytes, made by the same code that makes them in production.

The load generator overwrites the marks and event ids in them (see ``c/load.c``), so a
publication costs the machine nothing but what the server and Redis do with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.broker import Outgoing
from broadcaster.contracts.history import HistoryLimits
from broadcaster.drivers.redis.publish import publish_rounds
from broadcaster.drivers.redis.resp import encode_command
from broadcaster.protocol.envelope import NO_ID, Envelope, Flag, encode_envelope
from broadcaster.protocol.messages import encode_event
from broadcaster.protocol.websocket import encode_text

if TYPE_CHECKING:
    from broadcaster.drivers.redis.keys import Keys

APP_ID = "1"
EVENT = "bench"
MARK = f"@T{'0' * 20}@"
_ID = b"\xfeEVENTID" + bytes(7)


def event_frame(channel: str, size: int) -> bytes:
    """Return the frame of an event whose ``data`` has `size` bytes, the mark among them."""
    return encode_event(channel, EVENT, MARK.ljust(size, "x"))


def client_message(frame: bytes) -> bytes:
    """Return `frame` as a client sends it, masked with zeros so that it can be overwritten."""
    unmasked = encode_text(frame)
    head = len(unmasked) - len(frame)
    return unmasked[:1] + bytes((unmasked[1] | 0x80,)) + unmasked[2:head] + bytes(4) + frame


def script_call(
    keys: Keys, channel: str, size: int, *, messages: int = 1, excluded: str = ""
) -> bytes:
    """
    Return the Redis command that publishes durably: the publish script, called by its hash.

    Args:
        keys: names of the server's keys.
        channel: without app id.
        size: bytes of each event's ``data``.
        messages: events in this one call, as in a batch of the HTTP API.
        excluded: socket id that does not receive them.
    """
    frame = event_frame(channel, size)
    outgoing = [
        Outgoing(APP_ID, channel, _ID + bytes((number,)), frame, excluded)
        for number in range(messages)
    ]
    [[call]] = publish_rounds(keys, HistoryLimits(), outgoing)
    words = ["EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args]
    return encode_command(
        *(word if isinstance(word, bytes) else str(word).encode() for word in words)
    )


def plain_publish(keys: Keys, channel: str, size: int) -> bytes:
    """Return the Redis command that sends a finished envelope on, as client events are sent."""
    frame = event_frame(channel, size)
    envelope = Envelope(Flag.EPHEMERAL, 0, 0, _ID + b"\0", NO_ID, "", frame)
    return encode_command(b"PUBLISH", keys.topic(APP_ID, channel), encode_envelope(envelope))
