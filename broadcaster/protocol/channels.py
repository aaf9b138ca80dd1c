"""
The one grammar for channel names.

A name is 1 to 200 characters of ``A-Z a-z 0-9 _ - = @ , . ;``. Prefixes count
**with** their dash (``privateer`` is public). Names that begin with ``#`` are
reserved; the only one in use is ``#server-to-user-<user id>``.

======================================================  =========  ==========
prefix                                                  kind       cache
======================================================  =========  ==========
(none)                                                  public     no
``cache-``                                              public     yes
``private-`` / ``private-cache-``                       private    2nd
``private-encrypted-`` / ``private-encrypted-cache-``   encrypted  2nd
``presence-`` / ``presence-cache-``                     presence   2nd
``#server-to-user-``                                    user       no
======================================================  =========  ==========

Source: Pusher Channels, "Channels" (names and prefixes); the length of 200 is what
every HTTP library and peer server enforces.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from broadcaster.errors import InvalidChannel, InvalidSocketId

MAX_CHANNEL_NAME = 200
USER_CHANNEL_PREFIX = "#server-to-user-"

_NAME = re.compile(r"[-a-zA-Z0-9_=@,.;]{1,200}")
_USER_ID = re.compile(r"[-a-zA-Z0-9_=@,.;]{1,128}")
_SOCKET_ID = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}")


class ChannelKind(Enum):
    """What it takes to enter a channel, and what it offers."""

    PUBLIC = "public"
    PRIVATE = "private"
    ENCRYPTED = "encrypted"
    PRESENCE = "presence"
    USER = "user"


class ChannelName(NamedTuple):
    """A valid channel name with what its prefix says."""

    name: str
    kind: ChannelKind
    cache: bool

    @property
    def needs_auth(self) -> bool:
        """Whether a subscription needs a signature or a grant."""
        return self.kind not in (ChannelKind.PUBLIC, ChannelKind.USER)

    @property
    def takes_client_events(self) -> bool:
        """Whether subscribers may send ``client-`` events here."""
        return self.needs_auth

    @property
    def is_presence(self) -> bool:
        """Whether the channel keeps a member list."""
        return self.kind is ChannelKind.PRESENCE


# Longest first: the first prefix that fits is the right one.
_PREFIXES = (
    ("private-encrypted-cache-", ChannelKind.ENCRYPTED, True),
    ("private-encrypted-", ChannelKind.ENCRYPTED, False),
    ("private-cache-", ChannelKind.PRIVATE, True),
    ("private-", ChannelKind.PRIVATE, False),
    ("presence-cache-", ChannelKind.PRESENCE, True),
    ("presence-", ChannelKind.PRESENCE, False),
    ("cache-", ChannelKind.PUBLIC, True),
)


def parse_channel(name: str) -> ChannelName:
    """
    Read a channel name.

    Raises:
        InvalidChannel: the name is outside the grammar; the message says where.
    """
    if name.startswith(USER_CHANNEL_PREFIX):
        if _USER_ID.fullmatch(name, len(USER_CHANNEL_PREFIX)):
            return ChannelName(name, ChannelKind.USER, cache=False)
        raise InvalidChannel(
            f"channel name {shown(name)} does not end in the id of a user: 1 to 128 "
            "letters, digits and _ - = @ , . ;"
        )
    if name.startswith("#"):
        raise InvalidChannel(
            f"channel name {shown(name)} is reserved: of the names that begin with '#' only "
            f"'{USER_CHANNEL_PREFIX}<user id>' exists"
        )
    if not _NAME.fullmatch(name):
        raise InvalidChannel(_explain(name))
    for prefix, kind, cache in _PREFIXES:
        if name.startswith(prefix):
            return ChannelName(name, kind, cache)
    return ChannelName(name, ChannelKind.PUBLIC, cache=False)


def check_socket_id(socket_id: str) -> str:
    """
    Return `socket_id` if it is ``digits.digits`` in ASCII.

    Raises:
        InvalidSocketId: anything else, look-alike digits of other scripts included.
    """
    if not _SOCKET_ID.fullmatch(socket_id):
        raise InvalidSocketId(
            f"socket_id {shown(socket_id)} is not two runs of digits around a dot, like 1234.5678"
        )
    return socket_id


def is_user_id(text: str) -> bool:
    """Whether `text` can name a user (1 to 128 characters of the channel alphabet)."""
    return _USER_ID.fullmatch(text) is not None


def shown(text: str, limit: int = 60) -> str:
    """Quote hostile text for a message: ASCII only, cut at `limit` characters."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    return ascii(cut)


def _explain(name: str) -> str:
    if not name:
        return "channel name is empty"
    if len(name) > MAX_CHANNEL_NAME:
        return (
            f"channel name {shown(name)} has {len(name)} characters; {MAX_CHANNEL_NAME} are allowed"
        )
    bad = next((char for char in name if not _NAME.fullmatch(char)), "")
    return (
        f"channel name {shown(name)} contains {bad!a}; allowed are letters, digits "
        "and _ - = @ , . ;"
    )
