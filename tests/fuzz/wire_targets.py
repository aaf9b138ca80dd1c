"""What comes over the wire of a WebSocket: frames, messages, and the head before them."""

from __future__ import annotations

import asyncio
import json
import zlib
from random import Random
from typing import Any, cast
from unittest.mock import patch

from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from broadcaster.errors import InvalidSignature, MalformedMessage, WebSocketViolation
from broadcaster.gateway import sniff
from broadcaster.gateway.http_protocol import MAX_HEAD_BYTES
from broadcaster.protocol.app import App, AppLimits
from broadcaster.protocol.effects import Join, Leave, Reply
from broadcaster.protocol.messages import ClientEvent, parse_client_message
from broadcaster.protocol.session import MAX_HELD, Session
from broadcaster.protocol.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_FRAGMENTS,
    PING,
    PONG,
    TEXT,
    FrameReader,
    parse_upgrade,
    split_frames,
)
from tests.fuzz.json_inputs import as_text, encoded, objects, one_of_or_anything, values
from tests.fuzz.target import Target, refused, text_of
from tests.gateway.fakes import FakeNode, FakeTransport, client_frame

LIMIT = 1_000
Event = tuple[int, bytes]
Verdict = tuple[list[Event], int | None, str]


def random_of(data: bytes) -> Random:
    """Randomness that a replay of `data` has again."""
    return Random(zlib.crc32(data))


def pieces(data: bytes, random: Random) -> list[bytes]:
    """Cut `data` as a network might."""
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((0, 1, 2, 5))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


# -- WebSocket frames, `websockets` being the authority --------------------------------

# Where ours may differ, and why. Keys are (our code, the authority's code).
DEVIATIONS: dict[tuple[int | None, int | None], str] = {
    (1002, 1009): "two faults in one frame; the authority looks at its size first",
    (1009, 1002): "two faults in one frame; ours is judged by its header, before the payload",
    (1002, 1007): "two faults in one message; a frame is judged before what it completes",
    (1003, 1002): "a binary frame is refused by its header, whatever else is wrong with it",
    (1003, 1009): "the same",
}
# Where ours refuses what the authority takes, by the words of the refusal.
STRICTER = {
    "payload length is not minimal": "RFC 6455, section 5.2 asks for the shortest form",
    f"message has over {MAX_FRAGMENTS} fragments": "empty fragments are no message",
}


def authority(data: bytes) -> Verdict:
    """What `websockets` makes of `data`, with a shell's rules: text is UTF-8, binary refused."""
    protocol = ServerProtocol(max_size=LIMIT, state=State.OPEN)
    protocol.receive_data(data)
    events: list[Event] = []
    parts: list[bytes] = []
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.BINARY:
            return events, 1003, "binary"
        if frame.opcode in (Opcode.TEXT, Opcode.CONT):
            parts.append(bytes(frame.data))
            if frame.fin:
                message, parts = b"".join(parts), []
                try:
                    message.decode()
                except UnicodeDecodeError:
                    return events, 1007, "text"
                events.append((TEXT, message))
        elif frame.opcode is Opcode.CLOSE:
            return [*events, (CLOSE, bytes(frame.data)[:2])], None, ""
        else:
            events.append((int(frame.opcode), bytes(frame.data)))
    if protocol.close_rcvd is not None and parts:
        # Between fragments the authority fails (1002); ours answers: who closes may do so.
        code = protocol.close_rcvd.code
        return [*events, (CLOSE, b"" if code == 1005 else code.to_bytes(2, "big"))], None, ""
    if protocol.close_sent is not None:
        return events, protocol.close_sent.code, protocol.close_sent.reason
    return events, None, ""


def ours(chunks: list[bytes]) -> Verdict:
    reader = FrameReader(LIMIT)
    events: list[Event] = []
    for chunk in chunks:
        try:
            events += reader.feed(chunk)
        except WebSocketViolation as error:
            return events, error.close_code, str(error)
        assert len(reader._buffer) <= LIMIT + 14, "the buffer outgrew one message"
        if events and events[-1][0] == CLOSE:
            return events, None, ""
    return events, None, ""


def compare(data: bytes) -> object:
    # Completed: one side may judge a frame by its header and the other by its end.
    data += bytes(LIMIT + 20)
    events, code, words = ours(pieces(data, random_of(data)))
    expected, their_code, their_words = authority(data)
    where = f"ours: {code} {words!r}; authority: {their_code} {their_words!r}"
    if code is None:
        assert their_code is None, where
        assert events == expected, where
    else:
        assert events == expected[: len(events)], where
        known = words in STRICTER or (code, their_code) in DEVIATIONS
        assert code == their_code or known, where
    return code, len(events)


def frame_bytes(
    opcode: int,
    payload: bytes,
    fin: bool,  # noqa: FBT001 - drawn
    reserved: int,
    masked: bool,  # noqa: FBT001 - drawn
    width: int,
) -> bytes:
    """One frame, well-formed or not: its length written in 1, 2 or 8 bytes."""
    size = len(payload)
    mark = 0x80 if masked else 0
    if width == 0 and size < 126:
        length = bytes((mark | size,))
    elif width <= 1 and size < 65_536:
        length = bytes((mark | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((mark | 127,)) + size.to_bytes(8, "big")
    mask = b"\x11\x22\x33\x44" if masked else b""
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if masked else payload
    return bytes((fin << 7 | reserved << 4 | opcode,)) + length + mask + body


mostly_true = st.sampled_from([True] * 9 + [False])
payloads = st.one_of(
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=20),
    st.sampled_from([b"", b"x" * 125, b"x" * 126, b"x" * (LIMIT - 1), b"x" * (LIMIT + 1)]),
    st.integers(0, 6_000).map(lambda code: code.to_bytes(2, "big") + b"bye"),
)
any_frame = st.builds(
    frame_bytes,
    st.sampled_from([TEXT] * 4 + [CONTINUATION] * 4 + [PING, PONG, CLOSE, BINARY, 3, 11]),
    payloads,
    st.booleans(),
    st.sampled_from([0] * 12 + [1, 4, 7]),
    mostly_true,
    st.sampled_from([0] * 6 + [1, 2]),
)
fragmented = st.builds(
    lambda texts, between: b"".join(
        frame_bytes(TEXT if index == 0 else CONTINUATION, text, index == len(texts) - 1, 0, True, 0)
        + between
        for index, text in enumerate(texts)
    ),
    st.lists(st.text(max_size=30).map(str.encode), min_size=1, max_size=5),
    st.sampled_from([b"", frame_bytes(PING, b"x", True, 0, True, 0)]),
)
websocket = Target(
    name="websocket",
    check=compare,
    inputs=st.lists(any_frame | fragmented, max_size=6).map(b"".join),
    seeds=(
        client_frame(b'{"event":"pusher:ping","data":{}}'),
        client_frame(b"x", PING) + client_frame(b"", PONG) + client_frame("é".encode()),
        client_frame(b"\x03\xe8bye", CLOSE),
        client_frame(b"x" * 200),
        frame_bytes(TEXT, b"\xc3", False, 0, True, 0)
        + client_frame(b"", PING)
        + frame_bytes(CONTINUATION, b"\xa9", True, 0, True, 0),
        frame_bytes(TEXT, b"a", False, 0, True, 0) + client_frame(b"\x03\xe8", CLOSE),
    ),
)


def take_apart(data: bytes) -> object:
    try:
        frames = split_frames(data)
    except MalformedMessage as error:
        return refused(error)
    assert sum(len(payload) for _, payload in frames) <= len(data)
    return len(frames)


server_frames = Target(
    name="server_frames",
    check=take_apart,
    inputs=st.lists(
        st.builds(
            frame_bytes,
            st.sampled_from([TEXT, PING, CLOSE]),
            payloads,
            mostly_true,
            st.just(0),
            mostly_true.map(lambda value: not value),
            st.sampled_from([0, 0, 1, 2]),
        ),
        max_size=4,
    ).map(b"".join),
    seeds=(b"\x81\x02{}", b"\x88\x02\x10\x68", b"\x81\x7e\x00\x80" + b"x" * 128),
)


# -- messages --------------------------------------------------------------------------


def read_message(data: bytes) -> object:
    try:
        message = parse_client_message(data)
    except MalformedMessage as error:
        return refused(error)
    if isinstance(message, ClientEvent):
        assert message.name.startswith("client-")
        assert message.data in data or message.data == b"null"
    for field in message:
        if isinstance(field, str):
            field.encode()  # no lone surrogate came through
    return type(message).__name__


channels = one_of_or_anything("a", "private-a", "presence-a", "cache-a", "#server-to-user-1", "a b")
event_names = one_of_or_anything(
    "pusher:subscribe",
    "pusher:unsubscribe",
    "pusher:signin",
    "pusher:ping",
    "pusher:pong",
    "client-x",
    "pusher:error",
)
data_fields = objects(
    channel=channels,
    auth=one_of_or_anything("", "k:" + "0" * 64, "k:a.b.c"),
    channel_data=one_of_or_anything('{"user_id":"1"}', '{"user_id":1,"user_info":{}}', None),
    user_data=one_of_or_anything('{"id":"1"}', '{"id":"1","watchlist":["2"]}'),
)
messages = objects(
    event=event_names, data=data_fields | as_text(data_fields) | values, channel=channels
)
MESSAGE_SEEDS = (
    b'{"event":"pusher:subscribe","data":{"channel":"orders","auth":""}}',
    b'{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"k:'
    + b"0" * 64
    + b'","channel_data":"{\\"user_id\\":\\"1\\"}"}}',
    b'{"event":"pusher:subscribe","data":"{\\"channel\\":\\"orders\\"}"}',
    b'{"event":"pusher:unsubscribe","data":{"channel":"orders"}}',
    b'{"event":"pusher:signin","data":{"auth":"k:x","user_data":"{\\"id\\":\\"1\\"}"}}',
    b'{"event":"pusher:ping","data":{}}',
    b'{"event":"client-x","channel":"private-a","data":{"a":[1,null]}}',
    b'{"event":"client-x","channel":"private-a","data":"text"}',
)
client_message = Target(
    name="client_message", check=read_message, inputs=encoded(messages), seeds=MESSAGE_SEEDS
)


APP = App(id="1", key="k", secret="s", limits=AppLimits(max_channels=3, client_event_rate=2))


def nobody(*_: object) -> Any:
    raise InvalidSignature("nobody gets in", code="auth_mismatch")


def converse(data: bytes) -> object:
    """A whole conversation, one message a line: effects that can be carried out, and bounds."""
    session = Session(APP, "1.1", nobody)
    said: list[str] = []
    for number, line in enumerate(text_of(data).encode("utf-8", "replace").split(b"\n")):
        for effect in session.received(line, float(number)):
            said.append(type(effect).__name__)
            if isinstance(effect, Reply):
                frame = json.loads(effect.frame)
                assert isinstance(frame["event"], str)
                assert len(effect.frame) < 4 * len(line) + 2_000, "an answer outgrew its question"
            elif isinstance(effect, Join):
                assert not effect.channel.needs_auth, effect
                said += [
                    type(more).__name__
                    for more in session.joined(effect.channel.name, effect.generation, b"{}")
                ]
            elif isinstance(effect, Leave):
                assert effect.channel not in session.subscriptions
        assert len(session.subscriptions) <= APP.limits.max_channels
        assert len(session._held) <= MAX_HELD
        assert session.user is None
    return tuple(said)


session = Target(
    name="session",
    check=converse,
    inputs=st.lists(encoded(messages), max_size=6).map(b"\n".join),
    seeds=(b"\n".join(MESSAGE_SEEDS), b"\n".join(MESSAGE_SEEDS[:4] * 2)),
)


# -- heads -----------------------------------------------------------------------------

HEAD = (
    b"GET /app/k?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
)
GET = b"GET /up HTTP/1.1\r\nHost: x"


class Http(asyncio.Protocol):
    """Stands where uvicorn's protocol would."""

    def __init__(self, *_: object, **__: object) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


def sniffed(chunks: list[bytes]) -> tuple[object, ...]:
    """Where the bytes went: the verdict must not depend on how they are cut."""
    node, transport = FakeNode(), FakeTransport()
    first = sniff.Sniffer(cast("Any", node), *cast("Any", (None, None, {})))
    transport.protocol = first
    first.connection_made(transport)
    for chunk in chunks:
        if transport.is_closing():
            break
        cast("asyncio.Protocol", transport.protocol).data_received(chunk)
        assert len(first._buffer) <= MAX_HEAD_BYTES
    if isinstance(transport.protocol, Http):
        return "http", transport.protocol.data
    return type(transport.protocol).__name__, transport.written[:12], len(node.upgrades)


def read_head(data: bytes) -> object:
    try:
        upgrade = parse_upgrade(data)
    except MalformedMessage as error:
        verdict = refused(error)
    else:
        assert "\r" not in upgrade.target + upgrade.origin
        assert "\n" not in upgrade.target + upgrade.origin
        verdict = "upgrade"
    with patch.object(sniff, "http_protocol", Http):
        whole = sniffed([data + b"\r\n\r\n"])
        cut = sniffed(pieces(data + b"\r\n\r\n", random_of(data)))
    if b"\n\n" not in data:  # an end by an older rule: uvicorn is asked as soon as it is seen
        assert whole == cut
    if verdict == "upgrade":
        assert whole == cut
        assert whole[0] == "Socket"
    return verdict


header_lines = st.sampled_from(
    [
        *HEAD.split(b"\r\n")[1:],
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b" folded",
        b"Origin: https://x",
        b"Origin: https://y",
        b"upgrade : websocket",
        b"Upgrade: h2c, websocket",
        b"Connection: close",
        b": empty",
        b"X: y\nZ: z",
        b"X: y\0",
    ]
)
request_head = Target(
    name="request_head",
    check=read_head,
    inputs=st.builds(
        lambda line, lines: b"\r\n".join([line, *lines]),
        st.sampled_from(
            [b"GET /app/k HTTP/1.1", b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"GET  / HTTP/1.1", b""]
        ),
        st.just(HEAD.split(b"\r\n")[1:]) | st.lists(header_lines, max_size=8),
    ),
    seeds=(HEAD, GET, HEAD + b"\r\nOrigin: https://x.example", GET + b"\r\n\r\n" + HEAD),
)

TARGETS = (websocket, server_frames, client_message, session, request_head)
