"""Continuity of one channel: tables for each transition, and a model for all of them."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broadcaster.hub.stream import MAX_HELD, Checked, State, Stream
from broadcaster.protocol.envelope import NO_ID, START, Envelope, Flag, Position


def event(number: int, previous: int | None = None, flags: int = Flag.NONE) -> Envelope:
    """The event with this number; its predecessor is the number before unless given."""
    before = number - 1 if previous is None else previous
    return Envelope(flags, number, 0, id_of(number), id_of(before), "", b"%d" % number)


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big") if number else NO_ID


def at(number: int) -> Position:
    return Position(number, id_of(number))


def live(*numbers: int) -> Stream:
    """A stream that is LIVE and has delivered these."""
    stream = Stream()
    stream.acknowledged()
    stream.checked(at(numbers[0] - 1) if numbers else START, [])
    for number in numbers:
        assert stream.received(event(number))
    return stream


def numbers(checked: Checked) -> list[int]:
    return [envelope.offset for envelope in checked.deliver]


def test_a_new_stream_waits_for_its_acknowledgement_and_then_for_its_check() -> None:
    stream = Stream()
    states = [stream.state]
    stream.acknowledged()
    states.append(stream.state)
    assert not stream.live
    assert stream.checked(START, []) == Checked([], None)
    states.append(stream.state)

    assert states == [State.OPENING, State.CHECKING, State.LIVE]
    assert stream.live


def test_each_life_of_the_subscription_has_a_generation_of_its_own() -> None:
    stream = Stream()
    seen = [stream.generation]
    stream.acknowledged()
    seen.append(stream.generation)
    stream.interrupted()
    seen.append(stream.generation)

    assert len(set(seen)) == 3


def test_what_follows_is_delivered_and_moves_the_position() -> None:
    stream = live(1, 2)

    assert stream.received(event(3))
    assert stream.position == at(3)


def test_the_first_message_is_taken_as_it_comes() -> None:
    stream = live()

    assert stream.received(event(41))
    assert stream.position == at(41)


def test_a_repeat_of_the_last_message_is_dropped() -> None:
    stream = live(1)

    assert not stream.received(event(1))
    assert stream.live


def test_a_hole_sends_the_stream_to_its_check_and_history_fills_it() -> None:
    stream = live(1)

    assert not stream.received(event(3))
    assert stream.state is State.CHECKING
    assert stream.needs_history(at(3))
    outcome = stream.checked(at(3), [event(1), event(2), event(3)])

    assert (numbers(outcome), outcome.gap) == ([2, 3], None)
    assert stream.live
    assert stream.position == at(3)


def test_a_lower_offset_is_a_hole_too() -> None:
    """After a failover the same offsets come again with other events."""
    stream = live(7)

    assert not stream.received(Envelope(0, 3, 0, id_of(99), id_of(98), "", b""))
    assert stream.state is State.CHECKING


def test_what_arrives_during_a_check_is_held_and_delivered_after_it() -> None:
    stream = live(1)
    stream.interrupted()
    stream.acknowledged()

    assert not stream.received(event(3))
    outcome = stream.checked(at(2), [event(1), event(2)])

    assert (numbers(outcome), outcome.gap) == ([2, 3], None)


def test_what_history_and_pub_sub_both_brought_is_delivered_once() -> None:
    stream = live(1)
    stream.interrupted()
    stream.acknowledged()
    stream.received(event(2))
    stream.received(event(3))

    outcome = stream.checked(at(3), [event(1), event(2), event(3)])

    assert numbers(outcome) == [2, 3]
    assert stream.position == at(3)


def test_a_lost_tail_on_a_quiet_channel_is_found_by_the_check() -> None:
    stream = live(1)
    stream.interrupted()
    stream.acknowledged()

    outcome = stream.checked(at(2), [event(1), event(2)])

    assert numbers(outcome) == [2]


def test_a_channel_that_nothing_was_seen_of_yet_is_filled_from_its_first_check_on() -> None:
    stream = live()
    stream.interrupted()
    stream.acknowledged()

    assert stream.needs_history(at(2))
    outcome = stream.checked(at(2), [event(1), event(2)])

    assert (numbers(outcome), outcome.gap) == ([1, 2], None)


def test_nothing_missed_needs_no_history() -> None:
    stream = live(1)
    stream.interrupted()
    stream.acknowledged()

    assert not stream.needs_history(at(1))
    assert stream.checked(at(1), []) == Checked([], None)
    assert stream.received(event(2))


def test_a_new_stream_needs_no_history() -> None:
    stream = Stream()
    stream.acknowledged()

    assert not stream.needs_history(at(5))


def test_trimmed_history_is_reported_and_the_stream_goes_on() -> None:
    stream = live(1)
    stream.interrupted()
    stream.acknowledged()
    stream.received(event(10))

    outcome = stream.checked(at(9), [event(8), event(9)])

    assert (numbers(outcome), outcome.gap) == ([10], "history_trimmed")
    assert stream.received(event(11))


def test_history_trimmed_to_just_behind_what_was_seen_is_no_hole() -> None:
    """The oldest event kept names its predecessor, which is proof enough."""
    stream = live(1, 2)
    stream.interrupted()
    stream.acknowledged()
    stream.received(event(2))

    outcome = stream.checked(at(4), [event(3), event(4)])

    assert (numbers(outcome), outcome.gap) == ([3, 4], None)


def test_a_store_that_came_back_empty_is_reported_as_lost_data() -> None:
    stream = live(5)
    stream.interrupted()
    stream.acknowledged()

    assert stream.checked(START, []) == Checked([], "data_lost")
    assert stream.received(event(1))


def test_the_same_offset_with_another_event_is_lost_data() -> None:
    stream = live(5)
    stream.interrupted()
    stream.acknowledged()

    outcome = stream.checked(Position(4, id_of(77)), [])

    assert outcome.gap == "data_lost"


def test_a_gap_is_reported_once() -> None:
    stream = live(5)
    stream.interrupted()
    stream.acknowledged()
    stream.checked(START, [])
    stream.interrupted()
    stream.acknowledged()

    assert stream.checked(START, []) == Checked([], None)


def test_messages_without_a_place_in_history_pass_without_moving_it() -> None:
    stream = live(1)

    for flags in (Flag.EPHEMERAL, Flag.PRESENCE, Flag.CONTROL):
        assert stream.received(event(40, 30, flags))
    assert stream.position == at(1)


def test_messages_without_a_place_in_history_keep_their_order_through_a_check() -> None:
    stream = live(1)
    stream.interrupted()
    stream.acknowledged()
    stream.received(event(2))
    stream.received(event(40, 30, Flag.EPHEMERAL))
    stream.received(event(3))

    outcome = stream.checked(at(1), [])

    assert numbers(outcome) == [2, 40, 3]


def test_held_messages_that_show_another_hole_keep_the_stream_in_its_check() -> None:
    stream = live(1)
    stream.interrupted()
    stream.acknowledged()
    stream.received(event(2))
    stream.received(event(5))
    stream.received(event(6))

    first = stream.checked(at(1), [])
    assert stream.state is State.CHECKING
    second = stream.checked(at(6), [event(n) for n in range(1, 7)])

    assert numbers(first) + numbers(second) == [2, 3, 4, 5, 6]
    assert stream.live


def test_history_that_is_newer_than_pub_sub_repeats_nothing() -> None:
    """Events read from history may still be on their way through pub/sub."""
    stream = live(1)
    stream.received(event(3))
    stream.checked(at(4), [event(n) for n in range(1, 5)])

    assert not stream.received(event(3))
    outcome = stream.checked(at(4), [])
    assert stream.state is State.CHECKING
    assert not stream.received(event(4))
    last = stream.checked(at(4), [])

    assert numbers(outcome) + numbers(last) == []
    assert stream.live
    assert stream.received(event(5))


def test_an_interruption_forgets_what_was_held() -> None:
    stream = live(1)
    stream.received(event(3))
    stream.interrupted()
    stream.acknowledged()

    assert stream.checked(at(1), []) == Checked([], None)


def test_what_is_held_is_bounded_and_the_rest_is_fetched_from_history() -> None:
    stream = live(1)
    stream.interrupted()
    stream.acknowledged()
    total = MAX_HELD + 10
    for number in range(2, total + 1):
        stream.received(event(number))

    first = stream.checked(at(1), [])
    assert stream.state is State.CHECKING
    assert stream.needs_history(at(total))
    second = stream.checked(at(total), [event(n) for n in range(total - 100, total + 1)])

    assert numbers(first) + numbers(second) == list(range(2, total + 1))
    assert stream.live


# -- the model ------------------------------------------------------------------------


class StreamMachine(RuleBasedStateMachine):
    """
    A publisher, a history, a pub/sub connection that falls and loses, and a stream.

    Whatever happens, what was delivered is in publishing order without repeats, and
    whatever is missing in between was announced by a gap.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream()
        self.next_id = 1
        self.published: list[bytes] = []  # every durable event ever, oldest first
        self.history: list[Envelope] = []
        self.last = START
        self.connected = False  # whether SUBSCRIBE is in force at the server
        self.wire: list[Envelope] = []  # sent by the server, not yet read
        self.asked: tuple[int, Position] | None = None
        self.delivered: list[bytes] = []
        self.gaps: list[int] = []  # number of deliveries before each reported gap

    # -- publishing

    @rule(count=st.integers(1, 3))
    def publish(self, count: int) -> None:
        for _ in range(count):
            event_id = id_of(self.next_id)
            self.next_id += 1
            envelope = Envelope(
                0, self.last.offset + 1, 0, event_id, self.last.event_id, "", event_id
            )
            self.last = Position(envelope.offset, event_id)
            self.published.append(event_id)
            self.history.append(envelope)
            if self.connected:
                self.wire.append(envelope)

    @rule()
    def whisper(self) -> None:
        if self.connected:
            self.wire.append(
                Envelope(Flag.EPHEMERAL, 0, 0, id_of(self.next_id), NO_ID, "", b"whisper")
            )
            self.next_id += 1

    @rule(keep=st.integers(0, 3))
    def trim(self, keep: int) -> None:
        self.history = self.history[len(self.history) - keep :] if keep else []

    # -- the connection

    @precondition(lambda self: not self.connected)
    @rule()
    def subscribe(self) -> None:
        self.connected = True
        self.stream.acknowledged()
        self.asked = None

    @precondition(lambda self: self.connected)
    @rule()
    def fall(self) -> None:
        self.connected = False
        self.wire.clear()
        self.stream.interrupted()
        self.asked = None

    @precondition(lambda self: not self.connected)
    @rule()
    def lose_data(self) -> None:
        """A server that comes back empty has lost its connections too."""
        self.history.clear()
        self.last = START

    @precondition(lambda self: self.wire)
    @rule()
    def read_one(self) -> None:
        self.read()

    @precondition(lambda self: self.wire)
    @rule()
    def read_all(self) -> None:
        while self.wire:
            self.read()

    @precondition(lambda self: self.wire and self.stream.position is not None)
    @rule()
    def lose_one(self) -> None:
        """No server does this, and still it must not pass in silence."""
        self.wire.pop(0)

    def read(self) -> None:
        envelope = self.wire.pop(0)
        if self.stream.received(envelope):
            self.deliver(envelope)

    # -- the check, in the two steps that it has on the wire

    @precondition(lambda self: self.stream.state is State.CHECKING and self.asked is None)
    @rule()
    def ask(self) -> None:
        self.asked = (self.stream.generation, self.last)

    @precondition(lambda self: self.asked is not None)
    @rule()
    def answer(self) -> None:
        assert self.asked is not None
        (generation, last), self.asked = self.asked, None
        if generation != self.stream.generation or self.stream.state is not State.CHECKING:
            return
        history = list(self.history) if self.stream.needs_history(last) else []
        outcome = self.stream.checked(last, history)
        if outcome.gap is not None:
            self.gaps.append(len(self.delivered))
        for envelope in outcome.deliver:
            self.deliver(envelope)

    def deliver(self, envelope: Envelope) -> None:
        if not envelope.flags & Flag.EPHEMERAL:
            self.delivered.append(envelope.event_id)

    # -- what always holds

    @invariant()
    def in_order_and_once(self) -> None:
        places = [self.published.index(event_id) for event_id in self.delivered]
        assert places == sorted(set(places))

    @invariant()
    def nothing_is_missing_in_silence(self) -> None:
        places = [self.published.index(event_id) for event_id in self.delivered]
        for index in range(1, len(places)):
            if places[index] != places[index - 1] + 1:
                assert index in self.gaps, f"{places} with gaps at {self.gaps}"


TestStream = StreamMachine.TestCase
TestStream.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_message_that_no_history_explains_is_dropped_at_its_second_check() -> None:
    stream = live(1, 2)
    alien = Envelope(Flag.NONE, 9, 0, b"\xff" * 16, b"\xfe" * 16, "", b"alien")
    assert not stream.received(alien)
    assert not stream.received(event(3))

    first = stream.checked(at(3), [event(1), event(2), event(3)])
    states = [stream.state]
    second = stream.checked(at(3), [event(1), event(2), event(3)])
    states.append(stream.state)

    assert states == [State.CHECKING, State.LIVE]
    assert numbers(first) + numbers(second) == [3]
    assert stream.received(event(4))


def test_every_message_that_nothing_explains_costs_two_checks_at_most() -> None:
    stream = live(1)
    for number in range(50):
        stream.received(Envelope(0, 9, 0, bytes((200, number)) * 8, b"\xfe" * 16, "", b"alien"))

    checks = 0
    while stream.state is State.CHECKING:
        stream.checked(at(1), [])
        checks += 1
        assert checks <= 100

    assert stream.received(event(2))


# -- doubts ---------------------------------------------------------------------------


def test_a_doubted_stream_is_checked_and_loses_nothing() -> None:
    stream = live(1, 2)

    stream.doubt()

    assert stream.state is State.CHECKING
    assert not stream.received(event(3))
    assert numbers(stream.checked(at(3), [event(1), event(2), event(3)])) == [3]


def test_a_stream_that_is_not_live_is_checked_anyway() -> None:
    stream = Stream()

    stream.doubt()

    assert stream.state is State.OPENING


def test_what_was_delivered_before_a_gap_is_not_delivered_after_it() -> None:
    """The history was ahead of what was on its way, and then trimmed."""
    stream = live(1)
    stream.doubt()
    assert numbers(stream.checked(at(3), [event(2), event(3)])) == [2, 3]
    stream.received(event(2))

    outcome = stream.checked(at(4), [])

    assert (outcome.gap, outcome.deliver) == ("history_trimmed", [])
    assert [stream.received(event(number)) for number in (3, 4, 5)] == [False, True, True]


def test_after_lost_data_offsets_begin_anew() -> None:
    stream = live(1, 2, 3)
    assert not stream.received(event(1, previous=0))

    outcome = stream.checked(at(1), [event(1)])

    assert outcome.gap == "data_lost"
    assert stream.received(event(2))
