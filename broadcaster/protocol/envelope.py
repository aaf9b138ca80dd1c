"""
What one node says to all nodes about one channel, in binary.

Gateways read a fixed header and pass the frame on unread: no JSON is parsed between
Redis and the socket. Layout, integers big-endian::

    0   1  version (1)
    1   1  flags
    2   8  offset: position in the channel's history; or presence version (Flag.PRESENCE), or
           version of a count (Flag.COUNT)
    10  8  Redis time of the publish, in milliseconds
    18 16  id of this event
    34 16  id of its predecessor in the channel; zeros for the first
    50  1  length n of the excluded socket id, 0 for none
    51  n  excluded socket id, ASCII
    51+n   the frame: UTF-8 JSON ``{"event","channel","data"}``

The publish script writes offset, time and predecessor; everything else comes from the
publisher (`encode_tail` gives what follows the predecessor).
"""

from __future__ import annotations

from enum import IntFlag
from struct import Struct
from typing import NamedTuple

from broadcaster.errors import MalformedMessage

VERSION = 1
NO_ID = bytes(16)

_HEADER = Struct(">BBQQ16s16sB")
HEADER_SIZE = _HEADER.size


class Flag(IntFlag):
    """What kind of envelope this is."""

    NONE = 0
    EPHEMERAL = 1  # a client event: no offset, not in history
    PRESENCE = 2  # member_added / member_removed; `offset` is the presence version
    CONTROL = 4  # a message between nodes; the frame is a control message, never sent to sockets
    COUNT = 8  # subscription_count, EPHEMERAL too; `offset` is its version, older ones are void


class Envelope(NamedTuple):
    """One event of one channel on its way to the sockets."""

    flags: int
    offset: int
    time_ms: int
    event_id: bytes
    previous_id: bytes
    excluded: str
    frame: bytes


class Position(NamedTuple):
    """
    A place in a channel's history: an offset **and** the id of the event there.

    After a failover the same offsets come again with other events, so an offset alone
    proves nothing.
    """

    offset: int
    event_id: bytes


START = Position(0, NO_ID)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the binary form of `envelope`."""
    excluded = envelope.excluded.encode("ascii")
    return (
        _HEADER.pack(
            VERSION,
            envelope.flags,
            envelope.offset,
            envelope.time_ms,
            envelope.event_id,
            envelope.previous_id,
            len(excluded),
        )
        + excluded
        + envelope.frame
    )


def decode_envelope(data: bytes) -> Envelope:
    """
    Read an envelope.

    Raises:
        MalformedMessage: too short, another version, or a bad excluded socket id.
    """
    if len(data) < HEADER_SIZE or data[0] != VERSION:
        raise MalformedMessage("envelope has no version 1 header")
    _, flags, offset, time_ms, event_id, previous_id, length = _HEADER.unpack_from(data)
    end = HEADER_SIZE + length
    if length == 0:
        return Envelope(flags, offset, time_ms, event_id, previous_id, "", data[end:])
    excluded = data[HEADER_SIZE:end]
    if len(excluded) != length or not excluded.isascii():
        raise MalformedMessage("envelope has a bad excluded socket id")
    return Envelope(flags, offset, time_ms, event_id, previous_id, excluded.decode(), data[end:])


def encode_tail(excluded: str, frame: bytes) -> bytes:
    """Return what follows the predecessor's id: excluded socket id and frame."""
    socket_id = excluded.encode("ascii")
    return bytes((len(socket_id),)) + socket_id + frame
