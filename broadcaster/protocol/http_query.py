"""
Paths and queries of the HTTP API, as values.

A path is split before it is percent-decoded, and a query has one value per name: what is
signed is what is acted on.

=====================================================  ======================================
``POST /apps/<id>/events``                             one event to 1..100 channels
``POST /apps/<id>/batch_events``                       1..10 events to one channel each
``POST /apps/<id>/channels/<channel>/events``          one event whose data is the body (old)
``GET /apps/<id>/channels``                            occupied channels
``GET /apps/<id>/channels/<channel>``                  one channel
``GET /apps/<id>/channels/<channel>/users``            members of a presence channel
``GET /apps/<id>/connections``                         how many connections there are
``POST /apps/<id>/users/<user>/terminate_connections`` closes a signed-in user's connections
``POST /users/<user>/terminate_connections``           the same, as PyPI's ``pusher`` asks
=====================================================  ======================================

Source: Pusher Channels, "HTTP API".
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from broadcaster.errors import RequestRefused
from broadcaster.protocol.channels import ChannelName, is_user_id, parse_channel, shown
from broadcaster.protocol.http_api import (
    CHANNEL_ATTRIBUTES,
    Attributes,
    check_attributes,
    parse_attributes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_QUERY_BYTES = 8_192
MAX_PARAMETERS = 32

AUTH_PARAMETERS = frozenset(
    ("auth_key", "auth_timestamp", "auth_version", "auth_signature", "body_md5")
)


class Resource(Enum):
    """
    What a path of the HTTP API names; the value begins with the one method it answers to.

    Attributes:
        method: that method, in upper case.
    """

    method: str

    def __init__(self, value: str) -> None:
        self.method = value.partition(" ")[0]

    EVENTS = "POST events"
    BATCH = "POST batch_events"
    CHANNELS = "GET channels"
    CHANNEL = "GET channel"
    USERS = "GET users"
    CHANNEL_EVENTS = "POST channel events"
    CONNECTIONS = "GET connections"
    TERMINATE = "POST terminate_connections"
    TERMINATE_ALIAS = "POST terminate_connections without app"


class Target(NamedTuple):
    """
    A parsed path.

    Attributes:
        app_id: as written in the path; it need not exist. Empty where the path has none.
        channel: percent-decoded and not yet checked; empty where the path has none.
        user: the same.
    """

    app_id: str
    resource: Resource
    channel: str = ""
    user: str = ""


class ChannelsQuery(NamedTuple):
    """Which occupied channels to list."""

    prefix: str
    info: Attributes


class ChannelQuery(NamedTuple):
    """Which channel to describe."""

    channel: ChannelName
    info: Attributes


class EventQuery(NamedTuple):
    """What the deprecated way to publish says in its query."""

    name: str
    socket_id: str | None


_PLAIN = {
    "events": Resource.EVENTS,
    "batch_events": Resource.BATCH,
    "channels": Resource.CHANNELS,
    "connections": Resource.CONNECTIONS,
}
_OF_CHANNEL = {"users": Resource.USERS, "events": Resource.CHANNEL_EVENTS}


def parse_path(path: str) -> Target | None:
    """
    Read ``/apps/...`` or ``/users/...`` as requested, still percent-encoded.

    Segments are split before they are decoded: an encoded slash separates nothing.

    Returns:
        None when nothing is there.
    """
    match path.split("/"):
        case ["", "apps", app_id, name] if app_id and name in _PLAIN:
            return Target(app_id, _PLAIN[name])
        case ["", "apps", app_id, *rest] if app_id:
            return _target(app_id, rest)
        case ["", "users", user, "terminate_connections"] if user:
            return Target("", Resource.TERMINATE_ALIAS, user=_decoded(user, "path"))
        case _:
            return None


def _target(app_id: str, rest: list[str]) -> Target | None:
    match rest:
        case ["channels", channel] if channel:
            return Target(app_id, Resource.CHANNEL, _decoded(channel, "path"))
        case ["channels", channel, name] if channel and name in _OF_CHANNEL:
            return Target(app_id, _OF_CHANNEL[name], _decoded(channel, "path"))
        case ["users", user, "terminate_connections"] if user:
            return Target(app_id, Resource.TERMINATE, user=_decoded(user, "path"))
        case _:
            return None


def parse_query(raw: bytes) -> dict[str, str]:
    """
    Read a query string; names come out in lower case, values unescaped.

    Raises:
        RequestRefused: over 8 KiB or 32 parameters, not UTF-8, a parameter given twice
            (in any case of letters), or an array parameter: the signature is defined
            over one value per name.
    """
    if len(raw) > MAX_QUERY_BYTES:
        raise RequestRefused(
            f"query string has {len(raw)} bytes; {MAX_QUERY_BYTES} are allowed",
            status=414,
            code="uri_too_long",
        )
    pieces = [piece for piece in raw.split(b"&") if piece]
    if len(pieces) > MAX_PARAMETERS:
        raise RequestRefused(
            f"query string has {len(pieces)} parameters; {MAX_PARAMETERS} are allowed",
            code="malformed_query",
        )
    params: dict[str, str] = {}
    for piece in pieces:
        name, value = _parameter(piece)
        if name in params:
            raise RequestRefused(
                f"query parameter {shown(name)} is given more than once", code="duplicate_parameter"
            )
        params[name] = value
    return params


def parse_channels_query(params: Mapping[str, str]) -> ChannelsQuery:
    """
    Read the query of ``channels``: ``filter_by_prefix`` and ``info=user_count``.

    Raises:
        RequestRefused: an unknown parameter or attribute, or ``user_count`` without a
            prefix that only presence channels have.
        InvalidChannel: a prefix that no channel name can have.
    """
    _refuse_extraneous(params, ("filter_by_prefix", "info"))
    prefix = params.get("filter_by_prefix", "")
    if prefix:
        parse_channel(prefix)
    info = parse_attributes(params.get("info"), ("user_count",))
    if info.user_count and not prefix.startswith("presence-"):
        raise RequestRefused(
            "user_count is counted on presence channels only: add filter_by_prefix=presence-",
            code="inapplicable_attribute",
        )
    return ChannelsQuery(prefix, info)


def parse_channel_query(channel: str, params: Mapping[str, str]) -> ChannelQuery:
    """
    Read path and query of ``channels/<channel>``: ``info=user_count,subscription_count,cache``.

    Raises:
        RequestRefused: an unknown parameter or attribute, or one this channel has not.
        InvalidChannel: the name is outside the grammar.
    """
    name = parse_channel(channel)
    _refuse_extraneous(params, ("info",))
    info = parse_attributes(params.get("info"), CHANNEL_ATTRIBUTES)
    check_attributes(info, (name,))
    return ChannelQuery(name, info)


def parse_users_query(channel: str, params: Mapping[str, str]) -> ChannelName:
    """
    Read path and query of ``channels/<channel>/users``, which takes no parameters.

    Raises:
        RequestRefused: a parameter, or a channel without members.
        InvalidChannel: the name is outside the grammar.
    """
    name = parse_channel(channel)
    _refuse_extraneous(params, ())
    if not name.is_presence:
        raise RequestRefused(
            f"channel {shown(name.name)} has no users: only presence channels keep a member list",
            code="not_presence",
        )
    return name


def parse_event_query(params: Mapping[str, str]) -> EventQuery:
    """
    Read the query of the deprecated ``channels/<channel>/events``: ``name``, ``socket_id``.

    Raises:
        RequestRefused: an unknown parameter, or no name.
    """
    _refuse_extraneous(params, ("name", "socket_id"))
    if "name" not in params:
        raise RequestRefused(
            "query parameter name is missing: it is the event's name", code="invalid_event_name"
        )
    return EventQuery(params["name"], params.get("socket_id"))


def parse_user(user: str) -> str:
    """
    Return the user id of a path.

    Raises:
        RequestRefused: no user can have it.
    """
    if not is_user_id(user):
        raise RequestRefused(
            f"user id {shown(user)} is none: it has 1 to 128 letters, digits and _ - = @ , . ;",
            code="invalid_user_id",
        )
    return user


def refuse_parameters(params: Mapping[str, str]) -> None:
    """Raise `RequestRefused` for any parameter that is not part of the signature."""
    _refuse_extraneous(params, ())


def _parameter(piece: bytes) -> tuple[str, str]:
    name, _, value = piece.partition(b"=")
    decoded = _decoded(name.decode("latin-1"), "query").lower()
    if "[" in decoded:
        raise RequestRefused(
            f"query parameter {shown(decoded)} is an array; join the values with commas, "
            "as in info=user_count,subscription_count",
            code="array_parameter",
        )
    text = value.decode("latin-1")
    return decoded, _decoded(text, "query") if not value.isalnum() else text


def _decoded(text: str, where: str) -> str:
    raw = text.encode("latin-1", "replace")
    if where == "query":
        raw = raw.replace(b"+", b" ")
    try:
        return (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
    except UnicodeDecodeError as error:
        code = "malformed_query" if where == "query" else "malformed_path"
        raise RequestRefused(
            f"{where} {shown(text)} is not percent-encoded UTF-8", code=code
        ) from error


def _refuse_extraneous(params: Mapping[str, str], allowed: Sequence[str]) -> None:
    extraneous = sorted(
        name for name in params if name not in AUTH_PARAMETERS and name not in allowed
    )
    if extraneous:
        names = ", ".join(shown(name)[1:-1] for name in extraneous)
        raise RequestRefused(
            f"The following query string parameters are extraneous: {names}",
            code="extraneous_parameter",
        )
