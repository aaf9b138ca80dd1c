"""The hub: joining order, one flush a tick, presence versions, and what it asks its owner."""

from __future__ import annotations

import pytest

from broadcaster.hub.channel import Joining, LocalChannel
from broadcaster.hub.hub import Hub
from broadcaster.hub.stream import State
from broadcaster.protocol.envelope import START, Flag, Position
from broadcaster.protocol.messages import encode_resync
from broadcaster.protocol.websocket import encode_text
from tests.hub.subscribers import Owner, Peer, delta, event, event_id

TOPIC = b"t:presence-a"
NAME = "presence-a"


class World:
    """A hub with one channel that is live."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.hub = Hub(self.owner)
        self.channel = self.hub.open(TOPIC, "1", NAME)
        self.channel.waiting[Peer("0.0")] = lambda: None  # somebody keeps it open
        self.hub.acknowledged(TOPIC)
        self.hub.checked(self.channel, START, [])
        self.owner.asked.clear()

    def peer(self, socket_id: str, *, version: int | None = None) -> Peer:
        peer = Peer(socket_id)
        if version is None:
            self.hub.add(self.channel, peer)
        else:
            self.hub.add_member(self.channel, peer, version)
        return peer


@pytest.fixture
def world() -> World:
    return World()


def text(*frames: bytes) -> bytes:
    return b"".join(encode_text(frame) for frame in frames)


# -- opening and closing --------------------------------------------------------------


def test_the_first_one_opens_a_channel_and_the_last_one_closes_it() -> None:
    owner = Owner()
    hub = Hub(owner)
    channel = hub.open(TOPIC, "1", NAME)
    assert hub.open(TOPIC, "1", NAME) is channel
    first, second = Peer("1.1"), Peer("2.2")
    hub.add(channel, first)
    hub.add(channel, second)
    hub.remove(TOPIC, first)
    assert TOPIC in hub.channels
    hub.remove(TOPIC, second)

    assert hub.channels == {}
    assert owner.asked == [
        ("opened", NAME),
        ("count", f"{NAME}=1"),
        ("count", f"{NAME}=2"),
        ("count", f"{NAME}=1"),
        ("count", f"{NAME}=0"),
        ("closed", NAME),
    ]


def test_leaving_what_nobody_is_in_does_nothing(world: World) -> None:
    world.hub.remove(b"t:elsewhere", Peer("1.1"))

    assert world.owner.asked == []


def test_who_only_waited_leaves_without_being_counted() -> None:
    owner = Owner()
    hub = Hub(owner)
    channel = hub.open(TOPIC, "1", NAME)
    waiter = Peer("1.1")
    channel.waiting[waiter] = lambda: None

    hub.remove(TOPIC, waiter)

    assert owner.asked == [("opened", NAME), ("closed", NAME)]


def test_a_channel_that_was_closed_and_opened_again_is_another_one() -> None:
    owner = Owner()
    hub = Hub(owner)
    old = hub.open(TOPIC, "1", NAME)
    hub.close_if_empty(old)
    new = hub.open(TOPIC, "1", NAME)

    hub.close_if_empty(old)

    assert hub.channels[TOPIC] is new is not old


# -- delivering -----------------------------------------------------------------------


def test_one_flush_a_tick_writes_everything_once(world: World) -> None:
    peer = world.peer("1.1")
    other = world.hub.open(b"t:b", "1", "b")
    other_peer = Peer("2.2")
    world.hub.add(other, other_peer)
    world.hub.received(TOPIC, event(1))
    world.hub.received(TOPIC, event(2))
    world.hub.broadcast(other, b"direct")

    assert peer.writes == []
    assert world.owner.end_tick() == 1
    assert peer.writes == [text(b"event 1;", b"event 2;")]
    assert other_peer.writes == [text(b"direct")]


def test_each_tick_is_flushed_again(world: World) -> None:
    peer = world.peer("1.1")
    for number in (1, 2):
        world.hub.received(TOPIC, event(number))
        assert world.owner.end_tick() == 1

    assert peer.writes == [text(b"event 1;"), text(b"event 2;")]


def test_a_flush_in_between_leaves_nothing_for_the_end_of_the_tick(world: World) -> None:
    peer = world.peer("1.1")
    world.hub.received(TOPIC, event(1))
    world.hub.flush()
    world.owner.end_tick()

    assert peer.writes == [text(b"event 1;")]


def test_a_joiner_gets_nothing_from_before_it_was_added(world: World) -> None:
    early = world.peer("1.1")
    world.hub.received(TOPIC, event(1))
    late = world.peer("2.2")
    world.hub.received(TOPIC, event(2))
    world.owner.end_tick()

    assert b"".join(early.writes) == text(b"event 1;", b"event 2;")
    assert late.writes == [text(b"event 2;")]


def test_the_excluded_socket_is_left_out(world: World) -> None:
    sender, other = world.peer("1.1"), world.peer("2.2")
    world.hub.received(TOPIC, event(1, excluded="1.1"))
    world.hub.received(TOPIC, event(2))
    world.owner.end_tick()

    assert sender.writes == [text(b"event 2;")]
    assert other.writes == [text(b"event 1;", b"event 2;")]


def test_what_nobody_here_wants_is_dropped(world: World) -> None:
    world.hub.received(b"t:elsewhere", event(1))
    world.hub.acknowledged(b"t:elsewhere")

    assert world.owner.asked == []


# -- continuity -----------------------------------------------------------------------


def test_each_acknowledgement_asks_for_a_check(world: World) -> None:
    world.hub.interrupted()
    assert world.channel.stream.state is State.OPENING
    world.hub.acknowledged(TOPIC)

    assert world.owner.asked == [("check", NAME)]


def test_a_hole_asks_for_a_check_and_what_was_missed_follows_in_order(world: World) -> None:
    peer = world.peer("1.1")
    world.hub.received(TOPIC, event(1))
    world.hub.received(TOPIC, event(3))
    assert ("check", NAME) in world.owner.asked

    world.hub.checked(world.channel, Position(3, event_id(3)), [event(n) for n in (1, 2, 3)])
    world.owner.end_tick()

    assert b"".join(peer.writes) == text(b"event 1;", b"event 2;", b"event 3;")


def test_a_gap_is_told_before_what_follows_it(world: World) -> None:
    peer = world.peer("1.1")
    world.hub.received(TOPIC, event(1))
    world.hub.interrupted()
    world.hub.acknowledged(TOPIC)
    world.hub.received(TOPIC, event(9))

    outcome = world.hub.checked(world.channel, Position(8, event_id(8)), [event(8)])
    world.owner.end_tick()

    assert outcome.gap == "history_trimmed"
    assert b"".join(peer.writes) == text(
        b"event 1;", encode_resync(NAME, "history_trimmed"), b"event 9;"
    )


def test_a_check_that_shows_another_hole_asks_again(world: World) -> None:
    world.peer("1.1")
    world.hub.received(TOPIC, event(1))
    world.hub.interrupted()
    world.hub.acknowledged(TOPIC)
    world.hub.received(TOPIC, event(5))
    world.owner.asked.clear()

    world.hub.checked(world.channel, Position(1, event_id(1)), [])

    assert world.owner.asked == [("check", NAME)]


def test_who_waited_for_the_stream_is_let_in_before_what_was_held() -> None:
    owner = Owner()
    hub = Hub(owner)
    channel = hub.open(TOPIC, "1", NAME)
    first, second = Peer("1.1"), Peer("2.2")
    order: list[str] = []

    def admit(peer: Peer) -> None:
        order.append(peer.socket_id)
        hub.add(channel, peer)
        peer.write(b"success;")

    channel.waiting[first] = lambda: admit(first)
    channel.waiting[second] = lambda: admit(second)
    hub.acknowledged(TOPIC)
    hub.received(TOPIC, event(1))
    hub.checked(channel, Position(1, event_id(1)), [])
    owner.end_tick()

    assert order == ["1.1", "2.2"]
    assert first.writes == second.writes == [b"success;", text(b"event 1;")]
    assert channel.waiting == {}


def test_an_interruption_reaches_every_channel(world: World) -> None:
    other = world.hub.open(b"t:b", "1", "b")
    world.hub.acknowledged(b"t:b")
    world.hub.checked(other, START, [])

    world.hub.interrupted()

    assert not world.channel.stream.live
    assert not other.stream.live


# -- presence -------------------------------------------------------------------------


def test_deltas_are_delivered_in_version_order(world: World) -> None:
    peer = world.peer("1.1", version=5)
    world.hub.received(TOPIC, delta(6))
    world.hub.received(TOPIC, delta(7))
    world.owner.end_tick()

    assert peer.writes == [text(b"delta 6;", b"delta 7;")]
    assert world.channel.roster == 7


def test_a_late_delta_that_the_list_already_showed_is_dropped(world: World) -> None:
    peer = world.peer("1.1", version=5)
    world.hub.received(TOPIC, delta(4))
    world.hub.received(TOPIC, delta(5))
    world.owner.end_tick()

    assert peer.writes == []


def test_a_missing_delta_means_reading_the_list_again(world: World) -> None:
    peer = world.peer("1.1", version=5)
    world.hub.received(TOPIC, delta(7))
    world.owner.end_tick()

    assert peer.writes == []
    assert world.owner.asked[-1] == ("roster", NAME)
    assert world.channel.roster == 5


def test_who_joined_with_a_newer_list_is_spared_the_deltas_it_shows(world: World) -> None:
    early = world.peer("1.1", version=5)
    late = world.peer("2.2", version=6)
    world.hub.received(TOPIC, delta(6))
    world.hub.received(TOPIC, delta(7))
    world.owner.end_tick()

    assert b"".join(early.writes) == text(b"delta 6;", b"delta 7;")
    assert b"".join(late.writes) == text(b"delta 7;")


def test_a_joining_member_is_not_told_of_themselves(world: World) -> None:
    joiner, other = world.peer("1.1", version=5), world.peer("2.2", version=5)
    world.hub.received(TOPIC, delta(6, excluded="1.1"))
    world.owner.end_tick()

    assert (joiner.writes, other.writes) == ([], [text(b"delta 6;")])


def test_deltas_during_a_join_are_kept_for_after_the_list(world: World) -> None:
    joiner = Peer("1.1")
    joining = world.channel.joining[joiner] = Joining()
    world.hub.received(TOPIC, delta(6))
    world.hub.received(TOPIC, event(1))
    world.hub.received(TOPIC, delta(7))

    assert joining.after(6, "1.1") == [text(b"event 1;"), text(b"delta 7;")]


def test_a_channel_without_a_list_passes_deltas_on(world: World) -> None:
    peer = world.peer("1.1")
    assert isinstance(world.channel, LocalChannel)
    world.hub.received(TOPIC, delta(40))
    world.owner.end_tick()

    assert peer.writes == [text(b"delta 40;")]


def test_one_who_goes_while_being_let_in_does_not_close_the_door_on_the_others() -> None:
    owner = Owner()
    hub = Hub(owner)
    channel = hub.open(TOPIC, "1", NAME)
    slow, other = Peer("1.1"), Peer("2.2")
    channel.waiting[slow] = lambda: hub.remove(TOPIC, slow)  # its buffer is full: it is closed
    channel.waiting[other] = lambda: hub.add(channel, other)

    hub.acknowledged(TOPIC)
    hub.checked(channel, START, [])
    hub.received(TOPIC, event(1))
    owner.end_tick()

    assert hub.channels == {TOPIC: channel}
    assert other.writes == [text(b"event 1;")]


def test_a_message_between_nodes_never_reaches_a_socket(world: World) -> None:
    peer = world.peer("1.1")

    world.hub.received(TOPIC, event(1)._replace(flags=Flag.CONTROL))
    world.owner.end_tick()

    assert peer.writes == []
