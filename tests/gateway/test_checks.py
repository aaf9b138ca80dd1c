"""Checks of one node, against a store that answers when the test lets it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from broadcaster.errors import DriverUnavailable
from broadcaster.gateway.checks import Checker
from broadcaster.hub.hub import Hub
from broadcaster.protocol.envelope import START, Position
from tests.hub.subscribers import Owner, Peer
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.history import History
    from broadcaster.hub.channel import LocalChannel

TOPIC = b"t:orders"


class Store:
    """Occupancy and positions; occupancy is written when `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.written: list[dict[str, int]] = []
        self.asked = asyncio.Event()
        self.asked_for: list[str] = []
        self.broken = ""
        self.error: Exception = ValueError("no number")

    async def register(self, _app_id: str, counts: Mapping[str, int]) -> None:
        self.asked.set()
        await self.gate.wait()
        self.written.append(dict(counts))

    async def positions(self, _app_id: str, channels: Sequence[str]) -> list[Position]:
        self.asked_for += channels
        if self.broken in channels:
            raise self.error
        return [START for _ in channels]


class World:
    def __init__(self) -> None:
        self.hub = Hub(Owner())
        self.store = Store()
        self.recounted: list[str] = []
        self.checked: list[LocalChannel] = []
        self.unready: set[str] = set()
        self.checker = Checker(
            self.hub,
            cast("History", self.store),
            register=self.store.register,
            done=self.checked.append,
            recount=lambda channel: self.recounted.append(channel.name),
            is_ready=lambda app_id: app_id not in self.unready,
        )

    def opened(self, peer: Peer, name: str = "orders", app_id: str = "1") -> LocalChannel:
        """A channel with one who waits, whose subscription was acknowledged."""
        topic = f"t:{name}".encode()
        channel = self.hub.open(topic, app_id, name)
        channel.waiting[peer] = lambda: self.hub.add(channel, peer)
        self.hub.acknowledged(topic)
        self.checker.want(channel)
        return channel


async def test_a_channel_left_while_it_was_being_registered_is_counted_again() -> None:
    world, peer = World(), Peer("1.1")
    channel = world.opened(peer)
    running = asyncio.create_task(world.checker.run())
    await world.store.asked.wait()

    world.hub.remove(TOPIC, peer)  # its count of 0 may be written before the 1 on its way
    world.store.gate.set()
    await eventually(lambda: world.recounted)
    running.cancel()

    assert world.store.written == [{"orders": 1}]
    assert world.recounted == [channel.name]


async def test_a_channel_that_is_still_wanted_is_not_counted_again() -> None:
    world = World()
    world.opened(Peer("1.1"))
    running = asyncio.create_task(world.checker.run())
    world.store.gate.set()
    await eventually(lambda: world.checked)
    running.cancel()

    assert world.recounted == []


@pytest.mark.parametrize("error", [ValueError("no number"), DriverUnavailable("WRONGTYPE")])
async def test_a_channel_that_cannot_be_checked_stops_no_other(error: Exception) -> None:
    world = World()
    world.store.broken, world.store.error = "c7", error
    world.store.gate.set()
    opened = [world.opened(Peer(f"{number}.1"), f"c{number}") for number in range(20)]
    running = asyncio.create_task(world.checker.run())

    await eventually(lambda: len(world.checked) == 19)
    late = world.opened(Peer("99.1"), "late")
    await eventually(lambda: late in world.checked)
    world.store.broken = ""
    await eventually(lambda: opened[7] in world.checked)
    running.cancel()

    assert len(world.checked) == 21


async def test_a_channel_that_cannot_be_checked_is_left_alone_when_nobody_wants_it() -> None:
    world, peer = World(), Peer("1.1")
    world.store.broken = "orders"
    world.store.gate.set()
    world.opened(peer)
    running = asyncio.create_task(world.checker.run())
    await eventually(lambda: world.store.asked_for)

    world.hub.remove(TOPIC, peer)
    world.store.asked_for.clear()
    for name in ("first", "second", "third"):
        other = world.opened(Peer("2.2"), name)
        await eventually(lambda: other in world.checked)  # noqa: B023 - awaited at once
    running.cancel()

    assert world.store.asked_for.count("orders") <= 1


async def test_an_app_whose_revocations_are_not_known_holds_up_no_other() -> None:
    world = World()
    world.store.gate.set()
    world.unready.add("1")
    waiting = world.opened(Peer("1.1"), "orders")
    other = world.opened(Peer("2.2"), "news", app_id="2")
    running = asyncio.create_task(world.checker.run())
    await eventually(lambda: other in world.checked)
    before = list(world.checked)

    world.unready.clear()
    world.checker.resume("1")
    await eventually(lambda: waiting in world.checked)
    running.cancel()

    assert before == [other]
    assert world.checked == [other, waiting]
