"""
Channel names with ``*``: what grants cover and what revocations mean.

``*`` stands for one or more characters within one dot segment. It never stands for a part
of the prefix: ``private-*`` does not match ``private-cache-x``.
"""

from __future__ import annotations

from broadcaster.errors import InvalidChannel
from broadcaster.protocol.channels import ChannelKind, parse_channel


def matches(pattern: str, channel: str) -> bool:
    """Whether `pattern` matches the full name `channel`; nothing matches outside the grammar."""
    try:
        asked = parse_channel(channel)
        # The letter x is in no prefix, so equal kinds mean that the prefix is spelt out.
        given = parse_channel(pattern.replace("*", "x"))
    except InvalidChannel:
        return False
    if "*" not in pattern:
        return pattern == channel
    if (asked.kind, asked.cache) != (given.kind, given.cache):
        return False
    wanted, parts = pattern.split("."), channel.split(".")
    return len(wanted) == len(parts) and all(map(_segment_matches, wanted, parts))


def covers(pattern: str, channel: str) -> bool:
    """Whether a grant for `pattern` admits to `channel`: no ``#`` name, no ``*`` for encrypted."""
    if not matches(pattern, channel):
        return False
    kind = parse_channel(channel).kind
    return kind is not ChannelKind.USER and (
        kind is not ChannelKind.ENCRYPTED or "*" not in pattern
    )


def _segment_matches(pattern: str, segment: str) -> bool:
    """Match ``*`` as one or more characters, in linear time."""
    pieces = pattern.split("*")
    if len(pieces) == 1:
        return pattern == segment
    first, *middle, last = pieces
    if not segment.startswith(first):
        return False
    at = len(first)
    for piece in middle:
        at = segment.find(piece, at + 1)
        if at < 0:
            return False
        at += len(piece)
    return len(segment) - len(last) > at and segment.endswith(last)
