"""
What the ``auth`` and ``user_data`` of a sign-in prove: whose connection it is.

``user_data`` is JSON, signed by the application as the exact text that is sent::

    {"id": "42", "user_info": {"name": "Ada"}, "watchlist": ["43", "44"]}

``id`` is a string within the alphabet of channel names, for it names the channel
``#server-to-user-<id>``. A number is refused and not read as text: pusher-js takes a sign-in
for failed, without a word, unless it finds a string there. ``user_info`` is what presence
channels show of a member who subscribes without ``channel_data``. ``watchlist`` holds the
ids of users whose coming and going the connection is to hear of.

Source: Pusher Channels Protocol 7, "pusher:signin"; "User authentication"; "Watchlist events".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from broadcaster.errors import InvalidSignature, MalformedMessage
from broadcaster.protocol.channels import USER_CHANNEL_PREFIX, is_user_id, shown
from broadcaster.protocol.signing import verify_user
from broadcaster.protocol.subscription_auth import Verified

if TYPE_CHECKING:
    from broadcaster.protocol.app import App
    from broadcaster.protocol.channels import ChannelName
    from broadcaster.protocol.messages import SignIn

MAX_SHOWN_IDS = 3


class User(NamedTuple):
    """
    Who signed in.

    Attributes:
        id: their id.
        member_data: what presence channels show of them, see `Verified.member_data`.
        info_size: bytes of ``user_info``.
        watchlist: ids of the users they watch, each once, within the app's limit.
        complaint: what is wrong with the list that was sent, for the client; empty if nothing.
    """

    id: str
    member_data: str
    info_size: int = 0
    watchlist: tuple[str, ...] = ()
    complaint: str = ""


class _UserData(msgspec.Struct):
    id: Any = None
    user_info: msgspec.Raw = msgspec.Raw(b"")
    watchlist: Any = None


_decode_user = msgspec.json.Decoder(_UserData).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def verify_sign_in(app: App, socket_id: str, message: SignIn) -> User:
    """
    Return who signs in.

    Raises:
        InvalidSignature: not signed for this socket by this app.
        MalformedMessage: signed, but there is no usable user in it.
    """
    verify_user(
        message.auth,
        key=app.key,
        secret=app.secret,
        socket_id=socket_id,
        user_data=message.user_data,
    )
    return parse_user_data(message.user_data, max_watched=app.limits.watchlist)


def check_signed_in_id(user_id: str) -> str:
    """Return `user_id` if somebody can have signed in with it; raises `MalformedMessage`."""
    if not is_user_id(user_id):
        raise MalformedMessage(
            f"user id {shown(user_id)} cannot have signed in: ids of users have 1 to 128 of "
            "letters, digits and _ - = @ , . ;"
        )
    return user_id


def owner_of(channel: ChannelName, user: User | None) -> Verified:
    """
    Return what a subscription to a user's channel proves.

    Args:
        channel: of the kind `ChannelKind.USER`.
        user: who signed in on the connection, or None.

    Raises:
        InvalidSignature: it is not theirs.
    """
    owner = channel.name.removeprefix(USER_CHANNEL_PREFIX)
    if user is None or owner != user.id:
        raise InvalidSignature(
            f"channel {shown(channel.name)} belongs to a user who has not signed in on this "
            "connection",
            code="not_signed_in",
        )
    return Verified(user_id=owner)


def parse_user_data(user_data: str, *, max_watched: int) -> User:
    """
    Read the ``user_data`` of a sign-in.

    Args:
        user_data: exactly as sent.
        max_watched: most users that one connection may watch.

    Raises:
        MalformedMessage: not an object with a string ``id`` that channel names can carry.
    """
    try:
        # Raw JSON is skipped, not checked: the whole is decoded first.
        whole = _decode_any(user_data)
        if not isinstance(whole, dict):
            raise MalformedMessage("user_data must be a JSON object with a non-empty string 'id'")
        data = _decode_user(user_data)
    except (ValueError, RecursionError) as error:
        cause = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
        raise MalformedMessage(f"user_data is not JSON: {cause}") from error
    if not isinstance(data.id, str) or not data.id:
        raise MalformedMessage("user_data must be a JSON object with a non-empty string 'id'")
    if not is_user_id(data.id):
        raise MalformedMessage(
            f"user id {shown(data.id)} is longer than 128 or has characters that channel names "
            "cannot carry"
        )
    info = bytes(data.user_info)
    member = b'{"user_id":' + _encode(data.id) + (b',"user_info":' + info if info else b"") + b"}"
    watched, complaint = _watchlist(data.watchlist, max_watched)
    return User(data.id, member.decode(), len(info), watched, complaint)


def _watchlist(sent: object, limit: int) -> tuple[tuple[str, ...], str]:
    """Return the usable part of a watchlist, and what is wrong with the rest."""
    if sent is None:
        return (), ""
    if not isinstance(sent, list):
        return (), "it must be a list of user ids; watched are: nobody"
    bad = [one for one in sent if not (isinstance(one, str) and is_user_id(one))]
    good = list(dict.fromkeys(one for one in sent if isinstance(one, str) and is_user_id(one)))
    watched = good[:limit]
    faults: list[str] = []
    if bad:
        some = ", ".join(shown(str(one)) for one in bad[:MAX_SHOWN_IDS])
        faults.append(f"{len(bad)} of {len(sent)} entries are not user ids ({some})")
    if len(good) > limit:
        faults.append(f"{len(good)} users are over the limit of {limit}")
    if not faults:
        return tuple(watched), ""
    return tuple(watched), f"{' and '.join(faults)}; watched are: {', '.join(watched) or 'nobody'}"
