"""
Channels as an event names them.

`PrivateChannel("orders.1")` is the channel ``private-orders.1``: the class writes the
prefix, the name goes without it. A plain string anywhere a channel is expected is a full
name and is taken as it stands. An object with a `broadcast_channel` method names its own
channel, and goes into any of the classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol, TypeAlias, cast, runtime_checkable

from broadcaster.errors import InvalidChannel
from broadcaster.protocol.channels import (
    USER_CHANNEL_PREFIX,
    ChannelKind,
    parse_channel,
    shown,
)


@runtime_checkable
class HasChannel(Protocol):
    """Something, usually a model, that names its own channel."""

    def broadcast_channel(self) -> str:
        """Return the channel's name without a prefix, e.g. ``App.Models.Order.1``."""
        ...


class Channel:
    """
    A channel that anybody may subscribe to.

    Attributes:
        name: the full name, prefix included.

    Raises:
        InvalidChannel: at construction, if the name is outside the grammar or says its
            prefix itself.
    """

    __slots__ = ("name",)

    prefix: ClassVar[str] = ""
    kinds: ClassVar[frozenset[ChannelKind]] = frozenset(ChannelKind)

    def __init__(self, name: str | HasChannel) -> None:
        text = self._text(name)
        if self.prefix and text.startswith(self.prefix):
            raise InvalidChannel(
                f"{type(self).__name__}({shown(text)}) would be the channel "
                f"{shown(self.prefix + text)}: leave out the prefix {self.prefix!r}"
            )
        if not text:
            raise InvalidChannel(f"{type(self).__name__}('') has no name behind its prefix")
        channel = parse_channel(self.prefix + text)
        if channel.kind not in self.kinds:
            raise InvalidChannel(
                f"{type(self).__name__}({shown(text)}) would be the channel {shown(channel.name)}, "
                f"which is {channel.kind.value}: use the class for that kind"
            )
        self.name = channel.name

    def _text(self, name: object) -> str:
        if isinstance(name, str):
            return name
        if not isinstance(name, HasChannel):
            raise InvalidChannel(
                f"{type(self).__name__} of a {type(name).__name__}: give the channel's name as "
                "text, or an object with broadcast_channel()"
            )
        return name.broadcast_channel()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name.removeprefix(self.prefix)!r})"

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Channel) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class PrivateChannel(Channel):
    """A channel whose subscribers were authorized."""

    __slots__ = ()

    prefix = "private-"
    kinds = frozenset({ChannelKind.PRIVATE})


class PresenceChannel(Channel):
    """A private channel whose subscribers see who else is there."""

    __slots__ = ()

    prefix = "presence-"
    kinds = frozenset({ChannelKind.PRESENCE})


class UserChannel(Channel):
    """
    Every connection that is signed in as one user, whatever channels it is in.

    Takes the user's id as the application signs it at sign-in, or as a number.
    """

    __slots__ = ()

    prefix = USER_CHANNEL_PREFIX
    kinds = frozenset({ChannelKind.USER})

    def __init__(self, user_id: str | int | HasChannel) -> None:
        number = isinstance(user_id, int) and not isinstance(user_id, bool)
        super().__init__(cast("str | HasChannel", str(user_id) if number else user_id))


class EncryptedPrivateChannel(Channel):
    """
    A private channel whose data only its subscribers can read.

    Data is encrypted before it leaves the calling process, with a key of the channel's own
    that subscribers get from the auth endpoint. It takes `app.encryption_key` and PyNaCl.
    """

    __slots__ = ()

    prefix = "private-encrypted-"
    kinds = frozenset({ChannelKind.ENCRYPTED})


ChannelLike: TypeAlias = str | Channel | HasChannel
Channels: TypeAlias = ChannelLike | Iterable[ChannelLike]


def channel_names(channels: object) -> tuple[str, ...]:
    """
    Return full names, each once, in the order given.

    Args:
        channels: what `broadcast_on` returned: `Channels` or None, if it keeps its word.

    Raises:
        InvalidChannel: a name outside the grammar, or something that names no channel.
    """
    if channels is None:
        return ()
    if isinstance(channels, str | Channel | HasChannel):
        return (_name(channels),)
    if not isinstance(channels, Iterable):
        raise InvalidChannel(f"{type(channels).__name__} names no channel: {_ALLOWED}")
    return tuple(dict.fromkeys(_name(item) for item in cast("Iterable[object]", channels)))


_ALLOWED = "use a Channel, a full channel name, or an object with broadcast_channel()"


def _name(item: object) -> str:
    if isinstance(item, Channel):
        channel = parse_channel(item.name)
    elif isinstance(item, str):
        channel = parse_channel(item)
    elif isinstance(item, HasChannel):
        channel = parse_channel(PrivateChannel(item).name)
    else:
        raise InvalidChannel(f"{type(item).__name__} names no channel: {_ALLOWED}")
    return channel.name
