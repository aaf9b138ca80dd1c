r"""
Who is online: how nodes tell each other, and how clients are told.

A user is online while at least one connection is signed in as them. Each user has a list
like that of a presence channel, named ``#online-<user id>``, which nobody can subscribe to;
its entries are gateways, not sockets. A gateway enters it with its user's first connection
and leaves it with the last one. What the list publishes is one of two words.

Clients are told in one frame per change, or several changes::

    {"event": "pusher_internal:watchlist_events",
     "data": "{\"events\":[{\"name\":\"online\",\"user_ids\":[\"42\",\"43\"]}]}"}

Source: Pusher Channels, "Watchlist events".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

ONLINE_PREFIX = "#online-"
CAME, LEFT = b"online", b"offline"

_encode = msgspec.json.Encoder().encode


def online_list(user_id: str) -> str:
    """Return the name of the list that says whether a user is online."""
    return ONLINE_PREFIX + user_id


def is_online_list(name: str) -> bool:
    """Whether `name` is of such a list and not of a channel."""
    return name.startswith(ONLINE_PREFIX)


def last_said(data: bytes) -> bool | None:
    """Return whether the last of the joined frames in `data` is `CAME`; None if it is neither."""
    if data.endswith(LEFT):
        return False
    return True if data.endswith(CAME) else None


def encode_watchlist_events(online: Sequence[str], offline: Sequence[str]) -> bytes:
    """Return the frame that tells who came and who went; one of them is not empty."""
    events = [
        {"name": name, "user_ids": list(ids)}
        for name, ids in (("online", online), ("offline", offline))
        if ids
    ]
    data = _encode({"events": events}).decode()
    return _encode({"event": "pusher_internal:watchlist_events", "data": data})
