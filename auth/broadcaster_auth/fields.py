"""
The fields of an auth request: form, JSON or query to checked values.

pusher-js sends ``socket_id=1.2&channel_name=private-x`` as a form; custom authorizers
often send the same as JSON; GET is served for parity with Laravel. Further fields are
allowed and ignored. JSONP (``callback=``) is not supported: pages would read signatures
across origins without CORS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import parse_qsl

import msgspec

from broadcaster.errors import MalformedMessage, MessageTooLarge
from broadcaster.protocol.channels import check_socket_id, parse_channel, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY = 65_536
_MAX_FIELDS = 100
_FORM = "application/x-www-form-urlencoded"
_USED = ("socket_id", "channel_name")


class Ask(NamedTuple):
    """
    What is asked for.

    Attributes:
        socket_id: of the connection.
        channel: full channel name, or None for a sign-in.
    """

    socket_id: str
    channel: str | None


def read_ask(fields: Mapping[str, object], *, sign_in: bool) -> Ask:
    """
    Check the fields of a request.

    Raises:
        MalformedMessage: a field is missing, or not text.
        InvalidSocketId, InvalidChannel: outside the grammar.
    """
    socket_id = check_socket_id(_text(fields, "socket_id"))
    if sign_in:
        return Ask(socket_id, None)
    return Ask(socket_id, parse_channel(_text(fields, "channel_name")).name)


def parse_fields(*, method: str, content_type: str, query: bytes, body: bytes) -> dict[str, object]:
    """
    Read the fields of a request: from the query on GET, else from the body.

    Raises:
        MessageTooLarge: more than 64 kB.
        MalformedMessage: neither a form nor a JSON object, or an ambiguous one.
    """
    if len(body) > MAX_BODY:
        raise MessageTooLarge(f"the body has more than {MAX_BODY} bytes")
    if method == "GET":
        return _form(query, "query")
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("", _FORM):
        return _form(body, "form")
    if kind == "application/json" or kind.endswith("+json"):
        return _json(body)
    raise MalformedMessage(f"content type {shown(kind)} is neither {_FORM} nor application/json")


def _form(text: bytes, what: str) -> dict[str, object]:
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:  # bad UTF-8 included
        raise MalformedMessage(f"the {what} cannot be read: {error}") from error
    names = [name for name, _ in pairs]
    for name in _USED:
        if names.count(name) > 1:
            raise MalformedMessage(f"the {what} has {name!r} more than once")
    return dict(pairs)


def _json(body: bytes) -> dict[str, object]:
    try:
        found: object = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage("the body is not JSON") from error
    if not isinstance(found, dict):
        raise MalformedMessage("the body is not a JSON object")
    return cast("dict[str, object]", found)


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise MalformedMessage(f"the field {name!r} is missing")
    if not isinstance(value, str):
        raise MalformedMessage(f"the field {name!r} must be a string")
    return value
