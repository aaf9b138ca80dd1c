"""
Revocations: authorizations about a user that hold no longer, and how nodes tell each other.

A revocation refuses every authorization about its user that was made up to its moment, on
all channels or on those that match its pattern. It is remembered until the last such
authorization has expired by itself. A later revocation of the same user and pattern takes
the place of the earlier one, so there is at most one of each.

Between nodes it travels as a control message::

    {"type": "revoked", "items": [{"user": "42", "channel": "", "at": 1.5, "until": 9.5}]}

``channel`` is empty for all channels; times are Unix seconds.

Ending a user's *connections* is a revocation too, of the name ``#``, which no channel has.
Its time is compared with the moments at which connections signed in, and both are Redis's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from broadcaster.errors import InvalidChannel, MalformedMessage
from broadcaster.protocol.channel_patterns import matches
from broadcaster.protocol.channels import parse_channel, shown
from broadcaster.protocol.sign_in import check_signed_in_id
from broadcaster.protocol.subscription_auth import MAX_USER_ID, check_user_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The longest lifetime of a grant, and an hour for clocks that differ.
KEPT_SECONDS = 30 * 86_400 + 3_600
ALL_CHANNELS = ""
CONNECTIONS = "#"
MAX_ITEMS = 100  # of one control message
MAX_PATTERN = 200

UserId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_USER_ID)]
Pattern: TypeAlias = Annotated[str, msgspec.Meta(max_length=MAX_PATTERN)]


class Revocation(msgspec.Struct, frozen=True):
    """
    One revocation.

    Attributes:
        user: canonical id of whom it is about.
        channel: full name or pattern, or `ALL_CHANNELS`.
        at: Unix seconds; what was authorized up to then is refused.
        until: Unix seconds until which it must be remembered.
    """

    user: UserId
    channel: Pattern
    at: float
    until: float

    @property
    def key(self) -> tuple[str, str]:
        """What a later revocation must share to take the place of this one."""
        return self.user, self.channel


class Revoked(msgspec.Struct, frozen=True, tag_field="type", tag="revoked"):
    """The control message."""

    items: Annotated[list[Revocation], msgspec.Meta(max_length=MAX_ITEMS)]


_decode = msgspec.json.Decoder(Revoked).decode


def revocation(user: object, channel: str | None, *, now: float) -> Revocation:
    """
    Return the revocation of what was authorized up to `now`.

    Args:
        user: the user's id, text or an integer; ``42`` and ``"42"`` are one.
        channel: full name, ``*`` standing for characters within one dot segment; None for all.
        now: Unix seconds.

    Raises:
        MalformedMessage: no user id.
        InvalidChannel: not a name of channels that are authorized.
    """
    if isinstance(user, bool) or not isinstance(user, str | int):
        raise MalformedMessage(
            f"user must be the user's id, a string or an integer, not {type(user).__name__}"
        )
    return Revocation(
        check_user_id(str(user)), _checked_pattern(channel), at=now, until=now + KEPT_SECONDS
    )


def encode_revoked(items: Iterable[Revocation]) -> bytes:
    """Return the control message for at most `MAX_ITEMS` revocations."""
    return msgspec.json.encode(Revoked(list(items)))


def encode_terminated(user_id: str) -> bytes:
    """
    Return the control message for the end of a user's connections, up to its moment.

    The store appends ``<at>,"until":<until>}]}``.

    Raises:
        MalformedMessage: not an id that users can sign in with.
    """
    named = msgspec.json.encode({"user": check_signed_in_id(user_id), "channel": CONNECTIONS})
    return b'{"type":"revoked","items":[' + named[:-1] + b',"at":'


def decode_revoked(body: bytes) -> list[Revocation]:
    """
    Read a control message.

    Raises:
        MalformedMessage: not of the shape above.
    """
    try:
        items = _decode(body).items
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"a control message cannot be read: {error}") from error
    if not all(math.isfinite(item.at) and math.isfinite(item.until) for item in items):
        raise MalformedMessage("a control message has a time that is no number")
    return items


class RevocationTable:
    """What one node knows of one app's revocations; from memory, for every subscription."""

    def __init__(self, items: Iterable[Revocation] = ()) -> None:
        self._by_user: dict[str, dict[str, Revocation]] = {}
        self.add(items)

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def __iter__(self) -> Iterator[Revocation]:
        for items in self._by_user.values():
            yield from items.values()

    def add(self, items: Iterable[Revocation]) -> list[Revocation]:
        """Remember `items`; return those that say more than what was known."""
        news: list[Revocation] = []
        for item in items:
            mine = self._by_user.setdefault(item.user, {})
            known = mine.get(item.channel)
            if known is None or known.at < item.at:
                mine[item.channel] = item
                news.append(item)
        return news

    def forget(self, now: float) -> None:
        """Drop what need not be remembered any more."""
        for user, items in list(self._by_user.items()):
            for channel, item in list(items.items()):
                if item.until <= now:
                    del items[channel]
            if not items:
                del self._by_user[user]

    def refuses(self, user_id: str, channel: str, issued_at: float | None) -> bool:
        """Whether an authorization is revoked; one of unknown age is not."""
        return issued_at is not None and self.ends(user_id, channel, issued_at)

    def terminated_at(self, user_id: str) -> float:
        """Return when a user's connections were last ended, 0.0 for never; Redis time."""
        item = self._by_user.get(user_id, {}).get(CONNECTIONS)
        return item.at if item is not None else 0.0

    def ends(self, user_id: str, channel: str, issued_at: float | None) -> bool:
        """Whether a standing subscription is revoked; one of unknown age is."""
        return any(
            (issued_at is None or issued_at <= item.at)
            and (item.channel == ALL_CHANNELS or matches(item.channel, channel))
            for item in self._by_user.get(user_id, {}).values()
        )


def _checked_pattern(channel: str | None) -> str:
    if channel is None:
        return ALL_CHANNELS
    parsed = parse_channel(channel.replace("*", "x"))
    if not parsed.needs_auth:
        raise InvalidChannel(
            f"{shown(channel)} needs no authorization, so there is none to revoke: full names begin "
            "with private- or presence-, and '*' does not stand for a prefix"
        )
    return channel
