"""
Paths and queries of the HTTP API, as values.

A path is split before it is percent-decoded, and a query has one value per name: what is
signed is what is acted on.

Source: Pusher Channels, "HTTP API".
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from broadcaster.errors import RequestRefused
from broadcaster.protocol.channels import ChannelName, parse_channel, shown
from broadcaster.protocol.http_api import (
    ATTRIBUTES,
    Attributes,
    check_attributes,
    parse_attributes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_QUERY_BYTES = 8_192
MAX_PARAMETERS = 32

_AUTH_PARAMETERS = frozenset(
    ("auth_key", "auth_timestamp", "auth_version", "auth_signature", "body_md5")
)


class Resource(Enum):
    """What a path of the HTTP API names; the value is the one method it answers to."""

    EVENTS = "POST events"
    BATCH = "POST batch_events"
    CHANNELS = "GET channels"
    CHANNEL = "GET channel"
    USERS = "GET users"

    @property
    def method(self) -> str:
        """The HTTP method in upper case."""
        return self.value.partition(" ")[0]


class Target(NamedTuple):
    """
    A parsed path.

    Attributes:
        app_id: as written in the path; it need not exist.
        channel: percent-decoded and not yet checked; empty where the path has none.
    """

    app_id: str
    resource: Resource
    channel: str = ""


class ChannelsQuery(NamedTuple):
    """Which occupied channels to list."""

    prefix: str
    info: Attributes


class ChannelQuery(NamedTuple):
    """Which channel to describe."""

    channel: ChannelName
    info: Attributes


_PLAIN = {
    "events": Resource.EVENTS,
    "batch_events": Resource.BATCH,
    "channels": Resource.CHANNELS,
}


def parse_path(path: str) -> Target | None:
    """
    Read ``/apps/...`` as requested, still percent-encoded; None when nothing is there.

    Segments are split before they are decoded: an encoded slash separates nothing.
    """
    parts = path.split("/")
    match parts:
        case ["", "apps", app_id, name] if app_id and name in _PLAIN:
            return Target(app_id, _PLAIN[name])
        case ["", "apps", app_id, "channels", channel] if app_id and channel:
            return Target(app_id, Resource.CHANNEL, _decoded(channel, "path"))
        case ["", "apps", app_id, "channels", channel, "users"] if app_id and channel:
            return Target(app_id, Resource.USERS, _decoded(channel, "path"))
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
    Read path and query of ``channels/<channel>``: ``info=user_count,subscription_count``.

    Raises:
        RequestRefused: an unknown parameter or attribute, or one this channel has not.
        InvalidChannel: the name is outside the grammar.
    """
    name = parse_channel(channel)
    _refuse_extraneous(params, ("info",))
    info = parse_attributes(params.get("info"), ATTRIBUTES)
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
        name for name in params if name not in _AUTH_PARAMETERS and name not in allowed
    )
    if extraneous:
        names = ", ".join(shown(name)[1:-1] for name in extraneous)
        raise RequestRefused(
            f"The following query string parameters are extraneous: {names}",
            code="extraneous_parameter",
        )
