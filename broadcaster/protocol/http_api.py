"""
Bodies and answers of the HTTP API, as values; paths and queries are in `http_query`.

Everything here is total: bytes from outside become one of the types below, or a
`ProtocolError` with a stable code, whose HTTP status `status_of` knows. The order in which
a gateway uses both modules::

    parse_path -> parse_query -> (signature) -> parse_event | parse_batch | parse_..._query

The routes stand in `http_query`.

Unknown fields of a body are ignored, so that newer client libraries keep working. Unknown
query parameters are refused where the query is the request (GET), since a filter that is
silently not applied answers another question than the one asked.

Source: Pusher Channels, "HTTP API"; limits and mixed ``info`` as its client libraries'
own acceptance tests expect them of the hosted service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from broadcaster.errors import (
    InvalidSignature,
    MalformedMessage,
    ProtocolError,
    RequestRefused,
)
from broadcaster.protocol.channels import (
    ChannelKind,
    ChannelName,
    check_socket_id,
    parse_channel,
    shown,
)
from broadcaster.protocol.messages import RESERVED_PREFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_CHANNELS = 100
MAX_BATCH = 10
OK = b"{}"

ATTRIBUTES = ("user_count", "subscription_count")
CHANNEL_ATTRIBUTES = (*ATTRIBUTES, "cache")
# JSON may write one byte of text as six (\u0000); names, keys and white space come on top.
_ESCAPED = 6
_BODY_ALLOWANCE = 65_536

_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T")


class Attributes(NamedTuple):
    """The ``info`` that was asked for."""

    user_count: bool = False
    subscription_count: bool = False
    cache: bool = False


class EventRequest(NamedTuple):
    """
    One valid event to publish.

    Attributes:
        channels: 1 to 100 different channels, in the order given.
        data: opaque text, delivered verbatim.
        socket_id: the connection to leave out, or the empty string.
    """

    name: str
    data: str
    channels: tuple[ChannelName, ...]
    socket_id: str
    info: Attributes


class PublishRequest(NamedTuple):
    """
    What one request publishes: all of it, or nothing.

    Attributes:
        events: one, or those of a batch in order.
        idempotency_key: as the body gives it, not yet checked; None without one.
        wants_info: whether the answer is more than ``{}``.
    """

    events: tuple[EventRequest, ...]
    idempotency_key: str | None = None
    wants_info: bool = False

    @property
    def messages(self) -> int:
        """How often something is published: each event once per channel."""
        return sum([len(event.channels) for event in self.events])


class _Event(msgspec.Struct):
    name: str
    data: str
    channel: str | None = None
    channels: list[str] | None = None
    socket_id: str | None = None
    info: str | None = None


class _Single(_Event):
    idempotency_key: str | None = None


class _Batch(msgspec.Struct):
    batch: list[_Event]
    idempotency_key: str | None = None


class _Frame(msgspec.Struct):
    data: str


_decode_event = msgspec.json.Decoder(_Single)
_decode_frame = msgspec.json.Decoder(_Frame)
_decode_batch = msgspec.json.Decoder(_Batch)

_NO_INFO = Attributes()


def body_limit(max_data_bytes: int, *, events: int = 1) -> int:
    """Return the longest body worth reading: valid events cannot need more, however escaped."""
    return _BODY_ALLOWANCE + events * _ESCAPED * max_data_bytes


def parse_event(body: bytes, *, max_data_bytes: int, max_event_name: int) -> PublishRequest:
    """
    Read the body of ``events``.

    Args:
        body: UTF-8 JSON ``{"name": str, "data": str, "channels": [str] | "channel": str,
            "socket_id"?: str, "info"?: "user_count,subscription_count",
            "idempotency_key"?: str}``; other fields are ignored.

    Raises:
        RequestRefused: with status 413 for too much data, else 400.
        InvalidChannel, InvalidSocketId: a name or id outside its grammar.
    """
    event = _decode(_decode_event, body)
    if event.channels is None:
        names = [_only_channel(event, "'channels' is missing; name 1 to 100 channels")]
    elif event.channel is not None:
        raise RequestRefused(
            "body has both 'channel' and 'channels'; send one of them", code="channel_ambiguous"
        )
    else:
        names = event.channels
    if not names:
        raise RequestRefused("channels is empty; name 1 to 100 channels", code="channel_missing")
    if len(names) > MAX_CHANNELS:
        raise RequestRefused(
            f"channels has {len(names)} entries; {MAX_CHANNELS} are allowed, send the rest "
            "in further requests",
            code="too_many_channels",
        )
    parsed = _checked(event, names, max_data_bytes=max_data_bytes, max_event_name=max_event_name)
    return PublishRequest((parsed,), event.idempotency_key, parsed.info != _NO_INFO)


def parse_raw_event(
    body: bytes,
    *,
    name: str,
    channel: str,
    socket_id: str | None,
    max_data_bytes: int,
    max_event_name: int,
) -> PublishRequest:
    """
    Read a request of the deprecated route, whose body is the event's data.

    Raises:
        RequestRefused: with status 413 for too much data, else 400.
        InvalidChannel, InvalidSocketId: a name or id outside its grammar.
    """
    try:
        data = body.decode()
    except UnicodeDecodeError as error:
        raise RequestRefused("body is not UTF-8 text", code="malformed_body") from error
    event = _Event(name, data, socket_id=socket_id)
    parsed = _checked(
        event, (channel,), max_data_bytes=max_data_bytes, max_event_name=max_event_name
    )
    return PublishRequest((parsed,))


def parse_batch(body: bytes, *, max_data_bytes: int, max_event_name: int) -> PublishRequest:
    """
    Read the body of ``batch_events``: all of it is valid, or it is refused as a whole.

    Args:
        body: UTF-8 JSON ``{"batch": [{"name", "data", "channel", "socket_id"?, "info"?}],
            "idempotency_key"?: str}``.

    Raises:
        RequestRefused: the message of a bad event begins with its place, ``batch[3]:``.
    """
    decoded = _decode(_decode_batch, body)
    batch = decoded.batch
    if not 1 <= len(batch) <= MAX_BATCH:
        problem = "Batch too large" if batch else "Batch is empty"
        raise RequestRefused(
            f"{problem}: it has {len(batch)} events; 1 to {MAX_BATCH} are allowed",
            code="batch_size",
        )
    events: list[EventRequest] = []
    for index, event in enumerate(batch):
        try:
            names = [_only_channel(event, "'channel' is missing; name the one to publish to")]
            events.append(
                _checked(event, names, max_data_bytes=max_data_bytes, max_event_name=max_event_name)
            )
        except ProtocolError as error:
            raise RequestRefused(
                f"batch[{index}]: {error.message}", status=status_of(error), code=error.code
            ) from error
    wants_info = any(event.info != _NO_INFO for event in events)
    return PublishRequest(tuple(events), decoded.idempotency_key, wants_info)


def parse_attributes(info: str | None, allowed: Sequence[str]) -> Attributes:
    """Read a comma-separated ``info``; raises `RequestRefused` for a name not in `allowed`."""
    if not info:
        return _NO_INFO
    asked = info.split(",")
    for attribute in asked:
        if attribute not in allowed:
            raise RequestRefused(
                f"info attribute {shown(attribute)} is unknown here; there is {', '.join(allowed)}",
                code="unknown_attribute",
            )
    return Attributes("user_count" in asked, "subscription_count" in asked, "cache" in asked)


def check_attributes(info: Attributes, channels: Sequence[ChannelName]) -> None:
    """
    Raise `RequestRefused` when none of `channels` has what `info` asks for.

    Some having it is enough: each channel is answered with the attributes that it has.
    """
    if info.user_count and not any(channel.is_presence for channel in channels):
        raise RequestRefused(
            f"user_count is counted on presence channels only, and {shown(channels[0].name)} is "
            "none; ask for subscription_count",
            code="inapplicable_attribute",
        )
    if info.cache and not any(channel.cache for channel in channels):
        raise RequestRefused(
            f"cache is kept for cache channels only, and {shown(channels[0].name)} is none: "
            "'cache-' stands at the beginning, or after 'private-', 'presence-' or "
            "'private-encrypted-'",
            code="inapplicable_attribute",
        )


def status_of(error: ProtocolError) -> int:
    """Return the HTTP status that `error` is answered with."""
    if isinstance(error, RequestRefused):
        return error.status
    return 401 if isinstance(error, InvalidSignature) else 400


def describe_channel(
    channel: ChannelName, info: Attributes, *, connections: int, users: int
) -> dict[str, int]:
    """Return the attributes in `info` that `channel` has."""
    attributes: dict[str, int] = {}
    if info.user_count and channel.is_presence:
        attributes["user_count"] = users
    if info.subscription_count:
        attributes["subscription_count"] = connections
    return attributes


def encode_channels(channels: Mapping[str, Mapping[str, int]]) -> bytes:
    """Return ``{"channels": {name: attributes}}``."""
    return _encode({"channels": channels})


def encode_batch(attributes: Sequence[Mapping[str, int]]) -> bytes:
    """Return ``{"batch": [attributes]}``, one entry per event, in order."""
    return _encode({"batch": attributes})


def encode_channel(attributes: Mapping[str, object], *, occupied: bool) -> bytes:
    """Return ``{"occupied": bool, ...attributes}``."""
    return _encode({"occupied": occupied, **attributes})


def describe_cache(frame: bytes, ttl: int) -> dict[str, object]:
    """
    Return ``{"data": str, "ttl": seconds}`` of the event that a cache channel keeps.

    Raises:
        MalformedMessage: `frame` is that of no event.
    """
    try:
        return {"data": _decode_frame.decode(frame).data, "ttl": ttl}
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"the kept frame is that of no event: {str(error)[:80]}") from error


def encode_connections(count: int) -> bytes:
    """Return ``{"connections": n}``."""
    return _encode({"connections": count})


def encode_users(user_ids: Iterable[str]) -> bytes:
    """Return ``{"users": [{"id": str}]}``."""
    return _encode({"users": [{"id": user_id} for user_id in user_ids]})


def encode_error(code: str, message: str) -> bytes:
    """Return ``{"error": {"code", "message"}}``; a lone surrogate becomes a question mark."""
    text = message.encode(errors="replace").decode()
    return _encode({"error": {"code": code, "message": text}})


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except RecursionError as error:
        raise RequestRefused("body is nested too deeply", code="malformed_body") from error
    except msgspec.ValidationError as error:
        raise RequestRefused(_shape(str(error)), code="malformed_body") from error
    except ValueError as error:
        cause = (
            "it is not UTF-8"
            if isinstance(error, UnicodeDecodeError)
            else str(error).removeprefix("JSON is malformed: ")
        )
        raise RequestRefused(f"body is not JSON: {cause}", code="malformed_body") from error


def _shape(problem: str) -> str:
    hint = "; encode it as JSON text first" if problem.endswith(".data`") else ""
    return f"body does not have the documented shape: {problem}{hint}"


def _only_channel(event: _Event, missing: str) -> str:
    if event.channel is None:
        raise RequestRefused(missing, code="channel_missing")
    return event.channel


def _checked(
    event: _Event, names: Sequence[str], *, max_data_bytes: int, max_event_name: int
) -> EventRequest:
    _check_name(event.name, max_event_name)
    size = len(event.data) if event.data.isascii() else len(event.data.encode())
    if size > max_data_bytes:
        raise RequestRefused(
            f"the data content of this event has {size} bytes; {max_data_bytes} are allowed: "
            "send an id and let clients fetch the rest",
            status=413,
            code="payload_too_large",
        )
    channels = tuple(parse_channel(name) for name in dict.fromkeys(names))
    if len(channels) > 1 and any(channel.kind is ChannelKind.ENCRYPTED for channel in channels):
        raise RequestRefused(
            "an event on an encrypted channel cannot go to other channels too: each has its "
            "own key; send one request per channel",
            code="encrypted_channel_not_alone",
        )
    info = parse_attributes(event.info, ATTRIBUTES)
    check_attributes(info, channels)
    socket_id = "" if event.socket_id is None else check_socket_id(event.socket_id)
    return EventRequest(event.name, event.data, channels, socket_id, info)


def _check_name(name: str, longest: int) -> None:
    if not 1 <= len(name) <= longest:
        raise RequestRefused(
            f"event name {shown(name)} has {len(name)} characters; 1 to {longest} are allowed",
            code="invalid_event_name",
        )
    if name.startswith(RESERVED_PREFIXES):
        raise RequestRefused(
            f"event name {shown(name)} is reserved: names that begin with 'pusher:' or "
            "'pusher_internal:' are the protocol's own",
            code="reserved_event_name",
        )
