"""One WebSocket over a transport of the test's: frames, violations, closes, slow readers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broadcaster.gateway.connection import (
    FREE_REFUSALS,
    MAX_REFUSALS,
    MESSAGES_A_SECOND,
    MESSAGES_AT_ONCE,
)
from broadcaster.gateway.socket import DISTRUSTED_PAUSE, DISTRUSTED_TURN, TURN
from broadcaster.protocol import close_codes, websocket
from broadcaster.protocol.channels import parse_channel
from broadcaster.protocol.effects import Join, Reply
from broadcaster.protocol.messages import PONG, encode_error
from broadcaster.protocol.websocket import encode_close, encode_control, encode_text
from tests.gateway.fakes import FakeNode, FakeTransport, client_frame, close_code
from tests.gateway.world import APP

if TYPE_CHECKING:
    from broadcaster.gateway.socket import Socket

PING = b'{"event":"pusher:ping","data":{}}'


class World:
    def __init__(self) -> None:
        self.node = FakeNode()
        self.transport = FakeTransport()
        self.socket: Socket = self.node.connection(self.transport)

    def feed(self, *frames: bytes) -> bytes:
        """Give the socket bytes and return what it wrote."""
        before = len(self.transport.written)
        self.socket.data_received(b"".join(frames))
        return self.transport.written[before:]

    def settle(self) -> None:
        """Let every turn come."""
        while self.node.timers:
            self.node.fire()

    def pause(self, backlog: int) -> None:
        """The peer does not read, and this much waits for it."""
        self.transport.unsent = backlog
        self.socket.pause_writing()


@pytest.fixture
def world() -> World:
    return World()


def test_the_greeting_is_one_write_of_handshake_and_first_frame(world: World) -> None:
    world.socket.greet(b"HTTP/1.1 101\r\n\r\n")

    handshake, _, frame = world.transport.written.partition(b"\r\n\r\n")
    assert handshake == b"HTTP/1.1 101"
    assert json.loads(frame[2:])["event"] == "pusher:connection_established"


def test_messages_of_one_read_are_answered_in_order(world: World) -> None:
    written = world.feed(client_frame(PING), client_frame(b"{"), client_frame(PING))

    assert written.startswith(encode_text(PONG))
    assert b"Invalid message" in written
    assert written.endswith(encode_text(PONG))


def test_a_message_may_come_byte_by_byte(world: World) -> None:
    written = b"".join(world.feed(bytes((byte,))) for byte in client_frame(PING))

    assert written == encode_text(PONG)


def test_a_ping_frame_is_answered_with_its_payload_and_a_pong_frame_is_not(world: World) -> None:
    assert world.feed(client_frame(b"hi", websocket.PING)) == encode_control(websocket.PONG, b"hi")
    assert world.feed(client_frame(b"hi", websocket.PONG)) == b""


def test_a_whole_message_is_a_sign_of_life_and_half_of_one_is_none(world: World) -> None:
    """Else a connection could live on one byte now and then, and hold memory for nothing."""
    frame = client_frame(PING)
    world.socket.pinged = True
    began = world.node.time
    world.node.time += 50

    world.feed(frame[:-1])
    assert (world.socket.last_seen, world.socket.pinged) == (began, True)

    world.feed(frame[-1:])
    assert (world.socket.last_seen, world.socket.pinged) == (world.node.time, False)


def test_more_messages_than_clients_need_close_the_connection(world: World) -> None:
    """What a client may send at once covers coming back to all of its channels twice."""
    ping = client_frame(b"", websocket.PING)
    at_once = MESSAGES_AT_ONCE + 2 * APP.limits.max_channels
    rate = MESSAGES_A_SECOND + 2 * APP.limits.client_event_rate

    world.feed(ping * at_once)
    world.settle()
    world.node.time += 1
    world.feed(ping * rate)
    world.settle()
    assert world.socket.closing_at is None

    written = world.feed(ping)
    assert close_code(close_codes.TOO_MUCH, written)


def test_refused_messages_are_counted_and_end_at_a_bound(world: World) -> None:
    world.feed(client_frame(b"{") * 200)
    world.settle()

    written = world.transport.written
    assert written.count(b"Invalid message") == MAX_REFUSALS
    assert close_code(close_codes.TOO_MUCH, written)
    assert world.transport.reading, "the peer's close can be read"


def test_nothing_more_is_read_of_who_was_closed_for_what_it_sent(world: World) -> None:
    world.feed(client_frame(b"{") * 200)
    world.settle()

    world.feed(b"{" * 1_000)

    assert not world.transport.reading


def test_messages_of_one_read_are_taken_in_turns_and_in_order(world: World) -> None:
    """While one peer's messages are taken, everybody else waits."""
    pings = [client_frame(b"%d" % number, websocket.PING) for number in range(2 * TURN + 1)]
    pongs = [encode_control(websocket.PONG, b"%d" % number) for number in range(2 * TURN + 1)]

    assert world.feed(*pings) == b"".join(pongs[:TURN])
    assert not world.transport.reading
    assert world.node.fire() == 0.0
    assert not world.transport.reading
    world.settle()

    assert world.transport.written == b"".join(pongs)
    assert world.transport.reading


def test_who_was_refused_before_gets_few_turns_and_waits_in_between(world: World) -> None:
    world.feed(client_frame(b"{") * FREE_REFUSALS)
    assert world.transport.reading

    written = world.feed(client_frame(PING) * (DISTRUSTED_TURN + 1))

    assert written == encode_text(PONG) * DISTRUSTED_TURN
    assert not world.transport.reading
    assert world.node.fire() == DISTRUSTED_PAUSE
    assert world.transport.written.endswith(encode_text(PONG) * (DISTRUSTED_TURN + 1))
    assert world.transport.reading


def test_what_waits_for_its_turn_is_dropped_once_the_connection_closes(world: World) -> None:
    world.feed(client_frame(PING) * (TURN + 1))
    world.socket.close(close_codes.RECONNECT)
    before = world.transport.written

    world.settle()

    assert world.transport.written == before
    assert world.transport.reading, "the peer's close can be read"


def test_a_turn_that_comes_after_the_socket_is_gone_does_nothing(world: World) -> None:
    world.feed(client_frame(PING) * (TURN + 1))
    world.transport.abort()
    world.socket.connection_lost(None)
    before = world.transport.written

    world.settle()

    assert world.transport.written == before


def test_a_client_event_over_the_rate_is_dropped_and_not_held_against_the_client(
    world: World,
) -> None:
    whisper = b'{"event":"client-x","channel":"private-a","data":1}'

    world.feed(client_frame(whisper) * 200)

    assert world.socket.closing_at is None
    assert world.socket.refusals == 0


def test_what_the_session_decides_is_carried_out(world: World) -> None:
    world.feed(
        client_frame(b'{"event":"pusher:subscribe","data":{"channel":"private-a"}}'),
        client_frame(b'{"event":"pusher:subscribe","data":{"channel":"a b"}}'),
    )
    world.socket.joined("private-a", 1, b"success")
    world.feed(
        client_frame(b'{"event":"client-x","channel":"private-a","data":1}'),
        client_frame(b'{"event":"pusher:unsubscribe","data":{"channel":"private-a"}}'),
    )

    assert world.node.said == [
        ("join", "private-a"),
        ("denied", "invalid_channel"),
        ("relay", "private-a"),
        ("leave", "private-a"),
    ]
    assert world.transport.written.endswith(encode_text(b"success"))


def test_nothing_is_carried_out_once_something_of_it_has_closed_the_connection(
    world: World,
) -> None:
    """Subscriptions that waited for keys are decided together: some refused, some joined."""
    world.socket.refusals = MAX_REFUSALS - 1
    refused = encode_error(None, "no")
    join = Join(parse_channel("private-a"), 1, None)

    world.socket.act([Reply(refused), join])

    assert close_code(close_codes.TOO_MUCH, world.transport.written)
    assert world.node.said == [("closing",)]


def test_what_is_pending_for_the_tick_is_written_before_an_answer(world: World) -> None:
    channel = world.node.hub.open(b"t", "1", "a")
    world.node.hub.add(channel, world.socket)
    world.node.hub.broadcast(channel, b"event")

    written = world.feed(client_frame(PING))

    assert written == encode_text(b"event") + encode_text(PONG)


# -- violations -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(b"x", websocket.BINARY), 1003),
        (client_frame(b"\xff"), 1007),
        (b"\x81\x01x", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x89\xfe\x00\x7e", 1002),
    ],
)
def test_a_violation_closes_with_its_code(world: World, data: bytes, code: int) -> None:
    written = world.feed(data)

    assert written[:1] == b"\x88"
    assert close_code(code, written)
    assert ("closing",) in world.node.said
    assert not world.transport.closed


def test_an_oversize_message_is_explained_before_the_close(world: World) -> None:
    written = world.feed(b"\x81\xff" + (65_537).to_bytes(8, "big"))

    assert b'"code":4200' in written
    assert b"over 65536 bytes" in written
    assert close_code(1009, written)


def test_nothing_is_read_after_a_violation(world: World) -> None:
    world.feed(b"\xc1\x80\0\0\0\0")

    assert world.feed(client_frame(PING)) == b""
    assert not world.transport.closed


# -- closing --------------------------------------------------------------------------


def test_our_close_waits_for_the_peer_s_answer(world: World) -> None:
    world.socket.close(close_codes.RECONNECT)
    written = world.transport.written
    world.socket.close(close_codes.PONG_MISSING)
    world.socket.send(b"late")

    assert world.transport.written == written == encode_close(4200, close_codes.RECONNECT.message)
    assert world.socket.closing_at == world.node.time
    world.feed(client_frame(b"\x10\x68", websocket.CLOSE))
    assert world.transport.closed


def test_the_peer_s_close_is_answered_and_nothing_after_it_is_read(world: World) -> None:
    written = world.feed(client_frame(b"\x03\xe8bye", websocket.CLOSE), client_frame(PING))

    assert written == encode_close(1000)
    assert world.transport.closed
    assert ("closing",) in world.node.said


def test_a_refusal_is_said_as_an_event_and_as_a_close(world: World) -> None:
    world.socket.refuse(close_codes.UNKNOWN_APP, "no such app")

    frame = b'{"event":"pusher:error","data":{"code":4001,"message":"no such app"}}'
    assert world.transport.written == encode_text(frame) + encode_close(4001, "no such app")


def test_a_half_close_ends_the_socket(world: World) -> None:
    assert world.socket.eof_received() is False


def test_a_lost_socket_is_reported(world: World) -> None:
    world.socket.connection_lost(None)

    assert world.node.said == [("gone",)]


def test_an_abort_waits_for_nobody(world: World) -> None:
    world.socket.abort()

    assert world.transport.aborted


# -- slow consumers -------------------------------------------------------------------


def test_a_pause_alone_is_no_verdict(world: World) -> None:
    world.pause(500_000)
    world.socket.deliver(b"more")
    world.transport.unsent = 0
    world.socket.resume_writing()

    assert world.node.said == [("pace", True), ("pace", False)]
    assert world.transport.written == b"more"


def test_the_backlog_is_bounded(world: World) -> None:
    world.pause(APP.limits.max_backlog_bytes - 10)

    world.socket.deliver(b"x" * 10)
    assert ("slow",) not in world.node.said
    world.socket.deliver(b"x" * 11)

    assert world.node.said[-1] == ("slow",)
    assert world.transport.written == b"x" * 10


def test_answers_count_towards_the_bound_too(world: World) -> None:
    """A flood of pings by a peer that reads nothing stays within it."""
    world.pause(APP.limits.max_backlog_bytes)

    assert world.feed(client_frame(b"hi", websocket.PING)) == b""
    assert world.node.said[-1] == ("slow",)


@pytest.mark.parametrize("later", [100_000, 200_000])
def test_a_backlog_that_does_not_shrink_for_ten_seconds_is_stuck(world: World, later: int) -> None:
    world.pause(100_000)
    start = world.node.time
    world.transport.unsent = later

    assert not world.socket.is_stuck(start + APP.limits.stuck_seconds)
    assert world.socket.is_stuck(start + APP.limits.stuck_seconds + 0.1)


def test_a_backlog_that_shrinks_a_little_is_not_stuck(world: World) -> None:
    world.pause(100_000)
    start = world.node.time
    world.transport.unsent = 99_999

    assert not world.socket.is_stuck(start + 9)
    assert not world.socket.is_stuck(start + 18)
    assert world.socket.is_stuck(start + 19.1)


def test_nothing_is_delivered_after_the_close(world: World) -> None:
    world.pause(10)
    world.socket.close(close_codes.SLOW_CONSUMER)
    written = world.transport.written

    world.socket.deliver(b"late")

    assert world.transport.written == written
