"""How many subscribers a channel has: told here, never an old number after a newer one."""

from __future__ import annotations

from broadcaster.hub.hub import Hub
from broadcaster.protocol.envelope import NO_ID, START, Envelope, Flag
from broadcaster.protocol.websocket import encode_text
from tests.hub.subscribers import Owner, Peer, event

TOPIC = b"topic"


def number(version: int, count: int) -> Envelope:
    flags = Flag.COUNT | Flag.EPHEMERAL
    return Envelope(flags, version, 0, NO_ID, NO_ID, "", b"count %d;" % count)


class World:
    def __init__(self) -> None:
        self.hub, self.peer = Hub(Owner()), Peer("1.1")
        self.channel = self.hub.open(TOPIC, "1", "orders")
        self.hub.add(self.channel, self.peer)
        self.live()

    def live(self) -> None:
        self.hub.acknowledged(TOPIC)
        self.hub.checked(self.channel, START, [])

    def heard(self) -> bytes:
        self.hub.flush()
        writes, self.peer.writes[:] = b"".join(self.peer.writes), []
        return writes


def frames(*texts: bytes) -> bytes:
    return b"".join(encode_text(text) for text in texts)


def test_a_number_that_is_older_than_what_was_told_is_dropped() -> None:
    world = World()

    for version, count in ((7, 2), (9, 4), (8, 3), (9, 4)):
        world.hub.received(TOPIC, number(version, count))

    assert world.heard() == frames(b"count 2;", b"count 4;")
    assert world.channel.counted is not None
    assert world.channel.counted.frame == frames(b"count 4;")


def test_numbers_are_no_part_of_the_stream() -> None:
    world = World()

    for envelope in (event(1), number(500, 2), event(2), number(501, 3), event(3)):
        world.hub.received(TOPIC, envelope)

    told = (b"event 1;", b"count 2;", b"event 2;", b"count 3;", b"event 3;")
    assert world.heard() == frames(*told)
    assert world.channel.stream.live


def test_a_number_that_comes_while_the_stream_is_checked_is_told_after_it() -> None:
    world = World()
    world.hub.acknowledged(TOPIC)

    world.hub.received(TOPIC, number(7, 2))
    before = world.heard()
    world.hub.checked(world.channel, START, [])

    assert (before, world.heard()) == (b"", frames(b"count 2;"))


def test_after_an_interruption_the_next_number_is_told_whatever_its_version() -> None:
    """Numbers were missed; what the store says now is asked for, and told once."""
    world = World()
    world.hub.received(TOPIC, number(7, 2))
    world.heard()

    world.hub.interrupted()
    unknown = world.channel.counted
    world.live()
    world.hub.count(world.channel, 8, b"count 2;")

    assert unknown is None
    assert world.heard() == frames(b"count 2;")
