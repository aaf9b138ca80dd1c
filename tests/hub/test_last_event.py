"""The last event of a cache channel meets the stream without a seam."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from broadcaster.hub.hub import Hub
from broadcaster.hub.last_event import LastEvent, Outcome
from broadcaster.hub.stream import State
from broadcaster.protocol.envelope import NO_ID, START, Envelope, Flag, Position
from tests.hub.subscribers import Owner, Peer, event

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC, NAME = b"t:cache-a", "cache-a"


def at(number: int) -> Position:
    return Position(number, event(number).event_id)


class World:
    """A hub whose channel is at an event, and somebody who wants in."""

    def __init__(self, position: int = 3) -> None:
        self.owner = Owner()
        self.hub = Hub(self.owner)
        self.channel = self.hub.open(TOPIC, "1", NAME)
        self.let_in: list[tuple[str, bytes | None]] = []
        self.hub.acknowledged(TOPIC)
        self.hub.checked(self.channel, at(position) if position else START, [])
        self.owner.asked.clear()

    def want(self, socket_id: str = "1.1") -> Peer:
        peer = Peer(socket_id)

        def admit(frame: bytes | None) -> None:
            self.hub.add(self.channel, peer)
            self.let_in.append((socket_id, frame))

        self.hub.read_last(self.channel, peer, admit)
        return peer

    @property
    def last(self) -> LastEvent:
        assert self.channel.last is not None
        return self.channel.last

    def answer(self, found: Envelope | None) -> Outcome:
        return self.hub.last_read(self.channel, self.last, found)


@pytest.fixture
def world() -> World:
    return World()


def test_all_who_come_meanwhile_share_one_reading(world: World) -> None:
    world.want("1.1")
    world.want("2.2")
    assert world.owner.asked == [("last", NAME)]

    assert world.answer(event(3)) is Outcome.GIVEN

    assert world.let_in == [("1.1", b"event 3;"), ("2.2", b"event 3;")]
    assert world.channel.last is None


@pytest.mark.parametrize("found", [None, event(2), event(3)])
def test_an_answer_that_is_not_ahead_is_given(world: World, found: Envelope | None) -> None:
    world.want()

    assert world.answer(found) is Outcome.GIVEN
    assert world.let_in == [("1.1", None if found is None else found.frame)]


def test_an_answer_that_is_ahead_waits_for_the_stream(world: World) -> None:
    world.want()
    assert world.answer(event(4)) is Outcome.AHEAD
    assert world.let_in == []

    world.hub.received(TOPIC, event(4))
    world.hub.received(TOPIC, event(5))
    world.owner.end_tick()

    assert world.let_in == [("1.1", b"event 4;")]
    assert [peer.socket_id for peer in world.channel.subscribers] == ["1.1"]


def test_what_arrives_before_the_answer_is_the_last_event(world: World) -> None:
    peer = world.want()
    asked = world.last
    world.hub.received(TOPIC, event(4))

    assert world.let_in == [("1.1", b"event 4;")]
    assert world.hub.last_read(world.channel, asked, event(3)) is Outcome.UNWANTED
    world.owner.end_tick()
    assert peer.writes == []  # it was given the event, and does not get it again


def test_what_was_given_and_is_still_on_its_way_is_not_delivered_again(world: World) -> None:
    """It was published between the subscription and the check."""
    peer = world.want()
    world.answer(event(3))

    world.hub.received(TOPIC, event(3))
    world.hub.received(TOPIC, event(4))
    world.owner.end_tick()

    assert texts(b"".join(peer.writes)) == [b"event 4;"]


def test_others_get_what_one_was_given_and_what_led_to_it(world: World) -> None:
    """The check knew of events that are still on their way."""
    older = Peer("9.9")
    world.hub.add(world.channel, older)
    peer = world.want()
    world.answer(event(3))

    for number in (2, 3, 4):
        world.hub.received(TOPIC, event(number))
    world.owner.end_tick()

    assert texts(b"".join(older.writes)) == [b"event 2;", b"event 3;", b"event 4;"]
    assert texts(b"".join(peer.writes)) == [b"event 4;"]
    assert world.channel.given is None


def test_who_was_given_an_event_and_left_is_forgotten(world: World) -> None:
    world.hub.add(world.channel, Peer("9.9"))
    peer = world.want()
    world.answer(event(3))
    assert world.channel.given is not None

    world.hub.remove(TOPIC, peer)

    assert world.channel.given.subscribers == {}


def test_after_a_gap_in_a_new_life_of_the_subscription_nothing_is_kept_from_anybody(
    world: World,
) -> None:
    """Offsets begin anew when the data is lost."""
    peer = world.want()
    world.answer(event(3))
    world.hub.interrupted()
    world.hub.acknowledged(TOPIC)

    world.hub.checked(world.channel, START, [])
    world.hub.received(TOPIC, event(1))
    world.owner.end_tick()

    assert texts(b"".join(peer.writes))[-1] == b"event 1;"


def test_client_events_are_no_last_event(world: World) -> None:
    world.want()

    world.hub.received(TOPIC, Envelope(Flag.EPHEMERAL, 0, 0, b"w" * 16, NO_ID, "", b"whisper"))

    assert world.let_in == []


def test_an_answer_to_an_older_question_is_not_taken(world: World) -> None:
    """Its asker has gone; events may have been delivered since."""
    peer = world.want()
    asked = world.last
    world.hub.add(world.channel, Peer("9.9"))
    world.hub.remove(TOPIC, peer)
    world.hub.received(TOPIC, event(4))
    world.want("2.2")

    assert world.hub.last_read(world.channel, asked, event(3)) is Outcome.UNWANTED
    assert world.let_in == []
    assert world.answer(event(4)) is Outcome.GIVEN


def test_after_a_check_it_is_read_again(world: World) -> None:
    world.want()
    asked = world.last
    world.hub.interrupted()
    assert world.hub.last_read(world.channel, asked, event(3)) is Outcome.UNWANTED
    world.hub.acknowledged(TOPIC)
    world.owner.asked.clear()

    world.hub.checked(world.channel, at(3), [])

    assert world.owner.asked == [("last", NAME)]
    assert world.hub.last_read(world.channel, asked, event(3)) is Outcome.UNWANTED
    assert world.answer(event(3)) is Outcome.GIVEN


def test_who_leaves_is_not_let_in_and_closes_the_channel(world: World) -> None:
    peer = world.want()
    asked = world.last

    world.hub.remove(TOPIC, peer)

    assert world.hub.channels == {}
    assert world.hub.last_read(world.channel, asked, event(3)) is Outcome.UNWANTED
    assert world.let_in == []


def test_who_is_gone_when_let_in_closes_the_channel(world: World) -> None:
    """A write may end a connection."""
    peer = Peer("1.1")
    world.hub.read_last(world.channel, peer, lambda _: None)

    world.answer(event(3))

    assert world.hub.channels == {}


def test_what_stays_ahead_has_the_stream_checked_and_is_taken_if_that_finds_nothing(
    world: World,
) -> None:
    """The cached event is none of the channel's history: its position was deleted, say."""
    world.want()
    assert world.answer(event(9)) is Outcome.AHEAD
    world.owner.asked.clear()

    world.hub.doubt(world.channel, world.last)

    assert world.channel.stream.state is State.CHECKING
    assert world.owner.asked == [("check", NAME)]
    world.hub.checked(world.channel, at(3), [])
    assert world.answer(event(10)) is Outcome.AHEAD  # another one: it may well be on its way
    assert world.answer(event(9)) is Outcome.GIVEN


def test_a_doubt_that_comes_too_late_does_nothing(world: World) -> None:
    world.want()
    asked = world.last
    world.answer(event(3))
    world.owner.asked.clear()

    world.hub.doubt(world.channel, asked)

    assert world.channel.stream.live
    assert world.owner.asked == []


class Seen(NamedTuple):
    """What one subscriber was given: places in the order of publishing, -1 for a resync."""

    first: int | None  # the last event when it was let in
    places: list[int]


def texts(data: bytes) -> list[bytes]:
    """Return the payloads of WebSocket frames of at most 125 bytes."""
    found: list[bytes] = []
    while data:
        end = 2 + data[1]
        found.append(data[2:end])
        data = data[end:]
    return found


class Reader:
    """A subscriber who reads every write."""

    def __init__(self, number: int, place_of: Callable[[bytes], int]) -> None:
        self.socket_id = f"{number}.{number}"
        self.paused = False
        self.seen: Seen | None = None
        self._place_of = place_of

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.deliver

    def deliver(self, data: bytes) -> None:
        assert self.seen is not None
        for text in texts(data):
            if text != b"whisper":
                self.seen.places.append(self._place_of(text))


MAX_READERS = 4


class CacheMachine(RuleBasedStateMachine):
    """
    Redis, two connections to it that lag as they like, one hub, and subscribers.

    Whatever happens, a subscriber sees the last event and then what follows it: in order,
    each once, nothing missing unless it is told so. When all is quiet, everybody is in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owner = Owner()
        self.hub = Hub(self.owner)
        self.published = 0
        self.last = START
        self.cached: Envelope | None = None
        self.history: list[Envelope] = []
        self.connected = False
        self.wire: list[Envelope] = []
        self.check: tuple[int, Position] | None = None
        self.reading: tuple[LastEvent, Envelope | None] | None = None
        self.ahead: LastEvent | None = None
        self.readers: list[Reader] = []
        self.entered = 0
        self.channel = self.hub.open(TOPIC, "1", NAME)
        self.watcher = Reader(0, self.place_of)
        self.watcher.seen = Seen(None, [])
        self.hub.add(self.channel, self.watcher)

    @initialize(live=st.booleans())
    def begin(self, live: bool) -> None:  # noqa: FBT001 - hypothesis gives it by name
        if live:
            self.subscribe()
            self.hub.checked(self.channel, START, [])

    def place_of(self, text: bytes) -> int:
        return -1 if b"resync" in text else int(text)

    # -- the world

    @rule(count=st.integers(1, 3))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.published += 1
            envelope = Envelope(
                0,
                self.last.offset + 1,
                0,
                self.published.to_bytes(16, "big"),
                self.last.event_id,
                "",
                b"%d" % self.published,
            )
            self.last = Position(envelope.offset, envelope.event_id)
            self.history.append(envelope)
            self.cached = envelope
            if self.connected:
                self.wire.append(envelope)

    @rule()
    def whisper(self) -> None:
        if self.connected:
            self.wire.append(Envelope(Flag.EPHEMERAL, 0, 0, b"w" * 16, NO_ID, "", b"whisper"))

    @rule(luck=st.integers(0, 3))
    def expire(self, luck: int) -> None:
        if not luck:
            self.cached = None

    @rule(keep=st.integers(0, 3))
    def trim(self, keep: int) -> None:
        self.history = self.history[len(self.history) - keep :] if keep else []

    @precondition(lambda self: not self.connected)
    @rule()
    def lose_data(self) -> None:
        self.history.clear()
        self.last, self.cached = START, None

    # -- the pub/sub connection

    @precondition(lambda self: not self.connected)
    @rule()
    def reconnect(self) -> None:
        self.subscribe()

    def subscribe(self) -> None:
        self.connected = True
        self.check = None
        self.hub.acknowledged(TOPIC)

    @precondition(lambda self: self.connected)
    @rule(luck=st.integers(0, 3))
    def fall(self, luck: int) -> None:
        if luck:
            return
        self.connected = False
        self.wire.clear()
        self.hub.interrupted()

    @precondition(lambda self: self.wire)
    @rule(count=st.integers(1, 4))
    def read(self, count: int) -> None:
        for envelope in self.wire[:count]:
            self.hub.received(TOPIC, envelope)
        del self.wire[:count]

    @rule()
    def end_tick(self) -> None:
        self.owner.end_tick()

    # -- the commands, each in the two steps that it has on the wire

    @precondition(lambda self: self.channel.stream.state is State.CHECKING and not self.check)
    @rule()
    def ask_position(self) -> None:
        self.check = (self.channel.stream.generation, self.last)

    @precondition(lambda self: self.check)
    @rule()
    def answer_position(self) -> None:
        assert self.check is not None
        (generation, last), self.check = self.check, None
        stream = self.channel.stream
        if generation == stream.generation and stream.state is State.CHECKING:
            history = list(self.history) if stream.needs_history(last) else []
            self.hub.checked(self.channel, last, history)

    @precondition(lambda self: self.channel.last is not None and self.reading is None)
    @rule()
    def ask_last(self) -> None:
        assert self.channel.last is not None
        self.reading = (self.channel.last, self.cached)

    @precondition(lambda self: self.reading is not None)
    @rule()
    def answer_last(self) -> None:
        assert self.reading is not None
        (asked, found), self.reading = self.reading, None
        if self.hub.last_read(self.channel, asked, found) is Outcome.AHEAD:
            self.ahead = asked

    @precondition(lambda self: self.ahead is not None)
    @rule()
    def lose_patience(self) -> None:
        assert self.ahead is not None
        self.hub.doubt(self.channel, self.ahead)
        self.ahead = None

    # -- subscribers

    @precondition(lambda self: len(self.readers) < MAX_READERS)
    @rule()
    def enter(self) -> None:
        self.entered += 1
        reader = Reader(self.entered, self.place_of)
        self.readers.append(reader)

        def proceed() -> None:
            self.hub.read_last(self.channel, reader, admit)

        def admit(frame: bytes | None) -> None:
            self.hub.add(self.channel, reader)
            assert self.watcher.seen is not None
            first = None if frame is None else self.place_of(frame)
            reader.seen = Seen(first, [] if first is None else [first])
            shown = [place for place in self.watcher.seen.places if place > 0]
            if first is not None and shown:
                assert first >= shown[-1], "older than what others have seen"

        if self.channel.stream.live:
            proceed()
        else:
            self.channel.waiting[reader] = proceed

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        self.readers.remove(reader)
        self.hub.remove(TOPIC, reader)

    # -- what always holds

    @invariant()
    def in_order_each_once_and_nothing_missing_in_silence(self) -> None:
        for reader in self.readers:
            places = reader.seen.places if reader.seen is not None else []
            events = [place for place in places if place > 0]
            assert events == sorted(set(events)), places
            for before, place in itertools.pairwise(places):
                assert -1 in (before, place) or place == before + 1, places

    def teardown(self) -> None:
        for _ in range(10):
            if not self.connected:
                self.subscribe()
            if self.check is None:
                self.ask_position()
            self.answer_position()
            self.read(len(self.wire))
            if self.channel.last is not None and self.reading is None:
                self.ask_last()
            if self.reading is not None:
                self.answer_last()
        self.end_tick()
        self.in_order_each_once_and_nothing_missing_in_silence()
        for reader in self.readers:
            assert reader.seen is not None, "never let in"
            if reader.seen.first is not None and -1 not in reader.seen.places:
                assert reader.seen.places[-1] == self.published, "not up to date"


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
