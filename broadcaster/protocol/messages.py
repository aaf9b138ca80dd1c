r"""
Every Pusher frame: built once from values, parsed once into values.

Frames from the server are UTF-8 JSON bytes, ready for a WebSocket text frame. Frames from
clients are read by `parse_client_message`, a total function: it returns one of five types
or raises `MalformedMessage`. Unknown fields are ignored, in both directions.

``data`` of ``pusher:connection_established`` and of ``pusher_internal:`` frames is a JSON
*string* (double-encoded); ``data`` of ``pusher:error`` is an object. An event's ``data`` is
delivered as the string it was published as.

Source: Pusher Channels Protocol 7; field types as accepted by pusher-js 8.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from broadcaster.errors import MalformedMessage
from broadcaster.protocol.channels import shown
from broadcaster.protocol.close_codes import CLIENT_EVENT_REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping

PING = b'{"event":"pusher:ping","data":{}}'
PONG = b'{"event":"pusher:pong","data":{}}'

# ``pusher:`` events that nobody knows reach a channel's handlers without an error, so this
# one is safe for stock clients and visible to `channel.bind('pusher:resync', ...)`.
RESYNC = "pusher:resync"

# Names of events that nobody but the protocol may send begin with one of these.
RESERVED_PREFIXES = ("pusher:", "pusher_internal:")

_encode = msgspec.json.Encoder().encode
_ERROR = b'{"event":"pusher:error","data":{"code":'
_CLIENT_EVENT_ERROR = _ERROR + b"%d," % CLIENT_EVENT_REFUSED


class Subscribe(NamedTuple):
    """``pusher:subscribe``; nothing has been verified yet."""

    channel: str
    auth: str
    channel_data: str | None


class Unsubscribe(NamedTuple):
    """``pusher:unsubscribe``."""

    channel: str


class SignIn(NamedTuple):
    """``pusher:signin``."""

    auth: str
    user_data: str


class ClientEvent(NamedTuple):
    """A ``client-`` event. `data` is the JSON text of whatever the client sent."""

    channel: str
    name: str
    data: bytes


class Heartbeat(NamedTuple):
    """``pusher:ping`` (which wants an answer) or ``pusher:pong``."""

    wants_answer: bool


ClientMessage: TypeAlias = Subscribe | Unsubscribe | SignIn | ClientEvent | Heartbeat


class _Frame(msgspec.Struct):
    event: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    channel: str | None = None


class _Data(msgspec.Struct):
    channel: str | None = None
    auth: str | None = None
    channel_data: str | None = None
    user_data: str | None = None


class _MemberData(msgspec.Struct):
    user_id: str | int
    user_info: msgspec.Raw = msgspec.Raw(b"")


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_data = msgspec.json.Decoder(_Data).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_member = msgspec.json.Decoder(_MemberData).decode
_decode_any = msgspec.json.Decoder().decode


def parse_client_message(text: bytes) -> ClientMessage:
    """
    Read one frame from a client.

    Args:
        text: UTF-8 JSON ``{"event": str, "data"?: object | str, "channel"?: str}``. ``data``
            of a ``pusher:`` event may be an object or that object encoded as a string.

    Raises:
        MalformedMessage: not JSON, not that shape, or an event clients do not send.
    """
    try:
        frame = _decode_frame(text)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(
            f"message is not a JSON object with a string 'event': {_cause(error)}"
        ) from error
    event = frame.event
    if event == "pusher:subscribe":
        data = _object(frame)
        return Subscribe(_channel(data, event), data.auth or "", data.channel_data)
    if event.startswith("client-"):
        return _client_event(frame)
    if event == "pusher:ping":
        return Heartbeat(wants_answer=True)
    if event == "pusher:pong":
        return Heartbeat(wants_answer=False)
    if event == "pusher:unsubscribe":
        return Unsubscribe(_channel(_object(frame), event))
    if event == "pusher:signin":
        data = _object(frame)
        return SignIn(data.auth or "", data.user_data or "")
    raise MalformedMessage(
        f"event {shown(event)} cannot be sent by a client; client events begin with 'client-'"
    )


def _object(frame: _Frame) -> _Data:
    raw: bytes | str = bytes(frame.data)
    try:
        if raw[:1] == b'"':
            raw = _decode_text(raw)
        return _decode_data(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(
            f"data of {frame.event} is not an object with string fields: {_cause(error)}"
        ) from error


def _channel(data: _Data, event: str) -> str:
    if data.channel is None:
        raise MalformedMessage(f"data.channel of {event} is missing")
    return data.channel


def _client_event(frame: _Frame) -> ClientEvent:
    if frame.channel is None:
        raise MalformedMessage(f"client event {shown(frame.event)} has no 'channel'")
    raw = bytes(frame.data)
    try:
        # Raw data has only been skipped, not checked: lone surrogates would reach others.
        _decode_any(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(
            f"data of {shown(frame.event)} is not JSON: {_cause(error)}"
        ) from error
    return ClientEvent(frame.channel, frame.event, raw)


class MemberData(NamedTuple):
    """
    A presence member as signed by the application.

    Attributes:
        user_id: canonical text: ``10`` and ``"10"`` are one member.
        data: JSON text ``{"user_id":...,"user_info":...}``, the id in its original type.
        info_size: bytes of ``user_info``.
    """

    user_id: str
    data: str
    info_size: int


def parse_channel_data(channel_data: str) -> MemberData:
    """
    Read the ``channel_data`` of a presence subscription.

    Raises:
        MalformedMessage: not an object with a ``user_id`` that is a string or an integer.
    """
    try:
        member = _decode_member(channel_data)
        info = bytes(member.user_info)
        if info:
            _decode_any(info)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(
            "channel_data must be a JSON object with a string or integer 'user_id': "
            + _cause(error)
        ) from error
    body = b'{"user_id":' + _encode(member.user_id)
    if info:
        body += b',"user_info":' + info
    return MemberData(str(member.user_id), (body + b"}").decode(), len(info))


def member_parts(data: str) -> tuple[bytes, bytes]:
    """Return the JSON of ``user_id`` and of ``user_info`` (empty if absent) of `Member.data`."""
    member = _decode_member(data)
    return _encode(member.user_id), bytes(member.user_info)


def encode_event(channel: str, name: str, data: str) -> bytes:
    """
    Return the frame of a published event; `data` is delivered verbatim as a string.

    Raises:
        MalformedMessage: a lone surrogate, which has no UTF-8 form.
    """
    try:
        return _encode({"event": name, "channel": channel, "data": data})
    except UnicodeEncodeError as error:
        raise MalformedMessage("event contains a lone surrogate") from error


def encode_client_event(event: ClientEvent, user_id: bytes = b"") -> bytes:
    """Return the frame relayed for a client event; `user_id` is JSON, on presence channels."""
    channel, name, data = event
    frame = b'{"event":' + _encode(name) + b',"channel":' + _encode(channel) + b',"data":' + data
    if user_id:
        frame += b',"user_id":' + user_id
    return frame + b"}"


def encode_established(socket_id: str, activity_timeout: int) -> bytes:
    """Return ``pusher:connection_established``; pusher-js needs a non-zero timeout in it."""
    return (
        b'{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"'
        + socket_id.encode("ascii")
        + b'\\",\\"activity_timeout\\":%d}"}' % activity_timeout
    )


def encode_error(code: int | None, message: str) -> bytes:
    """Return ``pusher:error``."""
    return _encode({"event": "pusher:error", "data": {"code": code, "message": message}})


def is_refusal(frame: bytes) -> bool:
    """Whether `frame` is a ``pusher:error``; those of the client event rate are none."""
    return frame.startswith(_ERROR) and not frame.startswith(_CLIENT_EVENT_ERROR)


def encode_succeeded(channel: str) -> bytes:
    """Return ``pusher_internal:subscription_succeeded`` of a channel without members."""
    return (
        b'{"event":"pusher_internal:subscription_succeeded","channel":"'
        + channel.encode("ascii")
        + b'","data":"{}"}'
    )


def encode_presence_succeeded(
    channel: str, members: Mapping[str, str], unreadable: list[str] | None = None
) -> bytes:
    """
    Return ``pusher_internal:subscription_succeeded`` with the member list.

    Args:
        channel: name of the presence channel.
        members: `Member.data` by user id, oldest first. What cannot be read is left out.
        unreadable: is given the user ids of those left out.
    """
    ids: list[str] = []
    entries: list[bytes] = []
    for user_id, data in members.items():
        try:
            entry = _encode(user_id) + b":" + (member_parts(data)[1] or b"null")
        except (ValueError, RecursionError):
            if unreadable is not None:
                unreadable.append(user_id)
        else:
            ids.append(user_id)
            entries.append(entry)
    body = b'{"presence":{"count":%d,"ids":%b,"hash":{%b}}}' % (
        len(entries),
        _encode(ids),
        b",".join(entries),
    )
    return _encode(
        {
            "event": "pusher_internal:subscription_succeeded",
            "channel": channel,
            "data": body.decode(),
        }
    )


def encode_subscription_error(
    channel: str, kind: str, error: str, status: int, *, code: str | None = None
) -> bytes:
    """
    Return ``pusher:subscription_error``, which reaches Echo's ``.error()``.

    Args:
        code: ours, for programs, beside what stock clients know.
    """
    data: dict[str, object] = {"type": kind, "error": error, "status": status}
    if code is not None:
        data["code"] = code
    return _encode({"event": "pusher:subscription_error", "channel": channel, "data": data})


def encode_member_added(channel: str, member_data: str) -> bytes:
    """Return ``pusher_internal:member_added``."""
    return encode_event(channel, "pusher_internal:member_added", member_data)


def encode_member_removed(channel: str, member_data: str) -> bytes:
    """Return ``pusher_internal:member_removed`` for the member whose `Member.data` is given."""
    user_id = b'{"user_id":' + member_parts(member_data)[0] + b"}"
    return encode_event(channel, "pusher_internal:member_removed", user_id.decode())


def encode_subscription_count(channel: str, connections: int) -> bytes:
    """Return ``pusher_internal:subscription_count``; scripts in Redis write the same text."""
    data = b'{"subscription_count":%d}' % connections
    return encode_event(channel, "pusher_internal:subscription_count", data.decode())


def encode_signin_success(user_data: str) -> bytes:
    """Return ``pusher:signin_success``; its data is double-encoded."""
    data = _encode({"user_data": user_data}).decode()
    return _encode({"event": "pusher:signin_success", "data": data})


def encode_resync(channel: str, reason: str) -> bytes:
    """
    Return the notice that events of `channel` may have been missed.

    Args:
        channel: where continuity could not be proved.
        reason: ``history_trimmed`` or ``data_lost``.
    """
    return encode_event(channel, RESYNC, _encode({"reason": reason}).decode())


def _cause(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)[:120]
