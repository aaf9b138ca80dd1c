r"""
RFC 6455 for a server: the upgrade and the frames, without I/O.

Only what a Pusher server needs, because it runs once per connection and once per client
message: no extensions (permessage-deflate is declined), no subprotocols, text messages of
a few kilobytes. `websockets` is the authority: a differential test holds this module to
its Sans-I/O parser.

A `FrameReader` is fed bytes and returns events:

``(TEXT, payload)`` one whole message, fragments joined, valid UTF-8;
``(BINARY, b"")`` a binary message began, which Pusher does not know;
``(PING, payload)``, ``(PONG, payload)``; ``(CLOSE, code as 2 bytes or b"")``.

Sizes are checked from the header, before a payload is collected.
"""

from __future__ import annotations

import binascii
import hashlib
import sys
from base64 import b64encode
from typing import NamedTuple

from broadcaster.errors import MalformedMessage, WebSocketViolation

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PROTOCOL_ERROR, UNSUPPORTED_DATA, INVALID_UTF8, TOO_BIG = 1002, 1003, 1007, 1009

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_CONTROL = 125
_KEY_BYTES = 16


class Upgrade(NamedTuple):
    """
    A valid WebSocket upgrade.

    Attributes:
        target: path and query as requested.
        key: ``Sec-WebSocket-Key``.
        origin: ``Origin`` or the empty string.
        forwarded_for: ``X-Forwarded-For`` or the empty string.
    """

    target: str
    key: bytes
    origin: str
    forwarded_for: str


def parse_upgrade(head: bytes) -> Upgrade:
    r"""
    Read an upgrade request.

    Args:
        head: request line and headers, up to and without the empty line.

    Raises:
        MalformedMessage: not a WebSocket upgrade by RFC 6455, section 4.2.1.
    """
    lines = head.split(b"\r\n")
    if head.count(b"\n") + head.count(b"\r") != 2 * (len(lines) - 1) or b"\0" in head:
        raise MalformedMessage("a line holds a bare CR or LF, or a NUL")
    request = lines[0].split(b" ")
    if len(request) != 3 or request[0] != b"GET" or request[2] != b"HTTP/1.1":  # noqa: PLR2004
        raise MalformedMessage("request line is not 'GET <target> HTTP/1.1'")
    headers: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or name != name.strip() or not name:
            raise MalformedMessage("a header line has no name")
        lower = name.lower()
        value = value.strip()
        if lower in headers:
            if lower in _ONCE:
                raise MalformedMessage(f"header {lower.decode('latin-1')} is repeated")
            value = headers[lower] + b", " + value
        headers[lower] = value
    _check_upgrade(headers)
    return Upgrade(
        request[1].decode("latin-1"),
        headers[b"sec-websocket-key"],
        headers.get(b"origin", b"").decode("latin-1"),
        headers.get(b"x-forwarded-for", b"").decode("latin-1"),
    )


_ONCE = frozenset((b"sec-websocket-key", b"sec-websocket-version", b"host", b"origin"))


def _check_upgrade(headers: dict[bytes, bytes]) -> None:
    if headers.get(b"upgrade", b"").lower() != b"websocket":
        raise MalformedMessage("header Upgrade is not 'websocket'")
    connection = headers.get(b"connection", b"").lower()
    if b"upgrade" not in [token.strip() for token in connection.split(b",")]:
        raise MalformedMessage("header Connection does not contain 'upgrade'")
    if headers.get(b"sec-websocket-version") != b"13":
        raise MalformedMessage("header Sec-WebSocket-Version is not 13")
    try:
        key = binascii.a2b_base64(headers.get(b"sec-websocket-key", b""), strict_mode=True)
    except binascii.Error as error:
        raise MalformedMessage("header Sec-WebSocket-Key is not base64") from error
    if len(key) != _KEY_BYTES:
        raise MalformedMessage("header Sec-WebSocket-Key is not 16 bytes in base64")
    if b"content-length" in headers or b"transfer-encoding" in headers:
        raise MalformedMessage("an upgrade request has no body")


def accept_upgrade(key: bytes) -> bytes:
    """Return the 101 response to a request with this ``Sec-WebSocket-Key``."""
    digest = b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
    )


def encode_text(payload: bytes) -> bytes:
    """Return `payload` as one unmasked text frame."""
    return _header(0x81, len(payload)) + payload


def encode_control(opcode: int, payload: bytes = b"") -> bytes:
    """Return a control frame; `payload` has at most 125 bytes."""
    return bytes((0x80 | opcode, len(payload))) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; the reason is cut at 123 bytes."""
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return encode_control(CLOSE, code.to_bytes(2, "big") + text)


def _header(first: int, length: int) -> bytes:
    if length < 126:  # noqa: PLR2004 (RFC 6455, section 5.2)
        return bytes((first, length))
    if length < 65_536:  # noqa: PLR2004 (RFC 6455, section 5.2)
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


def split_frames(data: bytes) -> list[tuple[int, bytes]]:
    """
    Take apart what the functions above made, joined together: opcode and payload of each.

    For servers that want messages instead of bytes.

    Raises:
        MalformedMessage: not a run of whole frames, each final and without a mask.
    """
    frames: list[tuple[int, bytes]] = []
    start, end = 0, len(data)
    while start < end:
        header = _server_header(data, start, end)
        if header is None or header[0] + header[1] > end:
            raise MalformedMessage(f"no whole frame at byte {start} of {end}")
        body, length = header
        frames.append((data[start] & 0x0F, data[body : body + length]))
        start = body + length
    return frames


def _server_header(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Return index and length of the payload; None unless a frame of ours starts there."""
    if end - start < 2 or data[start] & 0xF0 != 0x80 or data[start + 1] & 0x80:  # noqa: PLR2004
        return None
    length, body = data[start + 1], start + 2
    if length >= 126:  # noqa: PLR2004 (RFC 6455, section 5.2)
        width = 2 if length == 126 else 8  # noqa: PLR2004
        length = int.from_bytes(data[body : body + width], "big")
        body += width
    return body, length


def no_binary() -> WebSocketViolation:
    """Return what a client did that sent a binary message."""
    return WebSocketViolation(
        "binary messages are not supported: send text", close_code=UNSUPPORTED_DATA
    )


def too_big(limit: int) -> WebSocketViolation:
    """Return what a client did that sent a message of more than `limit` bytes."""
    return WebSocketViolation(f"message is over {limit} bytes", close_code=TOO_BIG)


class FrameReader:
    """
    Turns a client's bytes into events (see the module).

    Memory is bounded by `limit` (one message) plus one read. After it raised, a reader is
    of no further use.

    Attributes:
        more: whether the last call stopped at its bound, so that another may find more.
    """

    __slots__ = ("_buffer", "_fragments", "_limit", "_size", "more")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._fragments: list[bytes] | None = None
        self._size = 0
        self.more = False

    def feed(self, data: bytes, most: int = sys.maxsize) -> list[tuple[int, bytes]]:
        """
        Take what was read from the socket and return what it completes.

        Args:
            data: may be empty, to go on after a call that stopped at its bound.
            most: events to return at most.

        Raises:
            WebSocketViolation: with the code to close with. Events that came before the
                violation in `data` are lost: the connection ends anyway.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        events: list[tuple[int, bytes]] = []
        start, end = 0, len(data)
        self.more = False
        while start < end:
            header = _read_header(data, start, end)
            if header is None:
                break
            first, body, length = header
            self._check(first, length)
            if body + 4 + length > end:
                break
            payload = _unmask(data[body : body + 4], data[body + 4 : body + 4 + length])
            start = body + 4 + length
            event = self._frame(first, payload)
            if event is not None:
                events.append(event)
                if event[0] == CLOSE:
                    return events
                if len(events) >= most:
                    self.more = start < end
                    break
        if start < end:
            self._buffer = data[start:] if start else data
        return events

    def _check(self, first: int, length: int) -> None:
        """Refuse a frame by its header (RFC 6455, section 5)."""
        opcode = first & 0x0F
        if first & 0x70:
            raise WebSocketViolation("reserved bits are set", close_code=PROTOCOL_ERROR)
        if opcode >= CLOSE:
            if opcode > PONG:
                raise WebSocketViolation(f"opcode {opcode} is unknown", close_code=PROTOCOL_ERROR)
            if not first & 0x80:
                raise WebSocketViolation("control frame is fragmented", close_code=PROTOCOL_ERROR)
            if length > _MAX_CONTROL:
                raise WebSocketViolation(
                    "control frame is over 125 bytes", close_code=PROTOCOL_ERROR
                )
            return
        if opcode > BINARY:
            raise WebSocketViolation(f"opcode {opcode} is unknown", close_code=PROTOCOL_ERROR)
        if opcode == BINARY:
            raise no_binary()
        if (opcode == CONTINUATION) != (self._fragments is not None):
            raise WebSocketViolation("fragments are out of order", close_code=PROTOCOL_ERROR)
        if self._size + length > self._limit:
            raise too_big(self._limit)

    def _frame(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return (opcode, _close_code(payload) if opcode == CLOSE else payload)
        if first & 0x80 and self._fragments is None:
            return (TEXT, _valid_utf8(payload))
        if self._fragments is None:
            self._fragments = []
        self._fragments.append(payload)
        self._size += len(payload)
        if not first & 0x80:
            if len(self._fragments) > MAX_FRAGMENTS:
                raise WebSocketViolation(
                    f"message has over {MAX_FRAGMENTS} fragments", close_code=TOO_BIG
                )
            return None
        message = b"".join(self._fragments)
        self._fragments = None
        self._size = 0
        return (TEXT, _valid_utf8(message))


MAX_FRAGMENTS = 1_024


def _read_header(data: bytes, start: int, end: int) -> tuple[int, int, int] | None:
    """Return first byte, index of the mask and payload length; None if incomplete."""
    if end - start < 2:  # noqa: PLR2004
        return None
    first, second = data[start], data[start + 1]
    if not second & 0x80:
        raise WebSocketViolation("client frame is not masked", close_code=PROTOCOL_ERROR)
    length = second & 0x7F
    body = start + 2
    if length >= 126:  # noqa: PLR2004 (RFC 6455, section 5.2)
        width = 2 if length == 126 else 8  # noqa: PLR2004
        if end - body < width:
            return None
        length = int.from_bytes(data[body : body + width], "big")
        if length < (126 if width == 2 else 65_536) or length >> 63:  # noqa: PLR2004
            raise WebSocketViolation("payload length is not minimal", close_code=PROTOCOL_ERROR)
        body += width
    return first, body, length


def _unmask(mask: bytes, payload: bytes) -> bytes:
    length = len(payload)
    if not length or mask == b"\0\0\0\0":
        return payload
    key = mask * (length // 4) + mask[: length & 3]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(
        length, "little"
    )


def _valid_utf8(payload: bytes) -> bytes:
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise WebSocketViolation("text is not UTF-8", close_code=INVALID_UTF8) from error
    return payload


def _close_code(payload: bytes) -> bytes:
    """Check the payload of a close frame and return its code as bytes (RFC 6455, 7.4)."""
    if not payload:
        return b""
    if len(payload) == 1:
        raise WebSocketViolation("close frame has one byte", close_code=PROTOCOL_ERROR)
    code = int.from_bytes(payload[:2], "big")
    if not (code in _CLOSE_CODES or 3000 <= code < 5000):  # noqa: PLR2004
        raise WebSocketViolation(f"close code {code} is not allowed", close_code=PROTOCOL_ERROR)
    _valid_utf8(payload[2:])
    return payload[:2]


_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
