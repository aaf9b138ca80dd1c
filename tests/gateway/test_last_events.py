"""Reading last events: shared, repeated while Redis is away, one channel's fault its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.history import Cached
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.gateway import last_events as module
from broadcaster.gateway.last_events import LastEvents
from broadcaster.gateway.tasks import TaskOwner
from broadcaster.hub.hub import Hub
from broadcaster.protocol.envelope import START, encode_envelope
from tests.hub.subscribers import Owner, Peer, event
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.contracts.history import History
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.protocol.envelope import Envelope
    from broadcaster.protocol.facts import Fact


class FakeHistory:
    """What is cached, by channel; fails on demand."""

    def __init__(self) -> None:
        self.kept: dict[str, Envelope | bytes] = {}
        self.asked: list[list[str]] = []
        self.away = False
        self.refused: set[str] = set()
        self.fault: Exception | None = None
        self.noted: set[str] = set()

    async def cached(self, app_id: str, channels: Sequence[str]) -> list[Cached | None]:
        self.asked.append(list(channels))
        await asyncio.sleep(0)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        if self.away:
            raise DriverUnavailable("away")
        if self.refused.intersection(channels):
            raise DriverRefused("WRONGTYPE")
        return [self._cached(channel) for channel in channels]

    def _cached(self, channel: str) -> Cached | None:
        found = self.kept.get(channel)
        if found is None:
            return None
        return Cached(found if isinstance(found, bytes) else encode_envelope(found), 60)

    async def missed(self, app_id: str, channels: Sequence[str]) -> list[bool]:
        if self.away:
            raise DriverUnavailable("away")
        news = [channel not in self.noted for channel in channels]
        self.noted.update(channels)
        return news


class World:
    """A hub, and the reader that serves it."""

    def __init__(self) -> None:
        self.history = FakeHistory()
        self.tasks = TaskOwner()
        self.told: list[Fact] = []
        self.wants_facts = True
        self.let_in: dict[str, bytes | None] = {}
        self.owner = Owner()
        self.hub = Hub(self.owner)
        history: History = self.history  # type: ignore[assignment] # the part that it uses
        self.reader = LastEvents(
            self.hub,
            history,
            self.tasks,
            tell=self.told.append,
            wants_facts=lambda _: self.wants_facts,
        )
        self.owner.last_wanted = self.reader.want  # type: ignore[method-assign] # asks the reader

    def enter(self, name: str, app_id: str = "1") -> LocalChannel:
        topic = f"{app_id}:{name}".encode()
        channel = self.hub.open(topic, app_id, name)
        peer = Peer(f"{len(self.let_in)}.1")
        if not channel.stream.live:
            channel.waiting[peer] = lambda: None
            self.hub.acknowledged(topic)
            self.hub.checked(channel, START, [])

        def admit(frame: bytes | None) -> None:
            self.hub.add(channel, peer)
            self.let_in[name] = frame

        self.hub.read_last(channel, peer, admit)
        return channel


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name in ("RETRY_SECONDS", "REFUSED_SECONDS", "DOUBT_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    made = World()
    made.tasks.keep(made.reader.run, "last events")
    yield made
    await made.tasks.aclose()


async def test_channels_that_are_entered_together_are_read_together(world: World) -> None:
    for name in ("cache-a", "cache-b", "cache-c"):
        world.enter(name)
    await eventually(lambda: len(world.let_in) == 3)

    assert world.history.asked == [["cache-a", "cache-b", "cache-c"]]


async def test_ten_thousand_who_enter_one_channel_share_one_reading(world: World) -> None:
    channel = world.enter("cache-a")
    let_in: list[bytes | None] = []
    for number in range(10_000):
        peer = Peer(f"7.{number}")
        world.hub.read_last(channel, peer, let_in.append)
    await eventually(lambda: len(let_in) == 10_000)

    assert world.history.asked == [["cache-a"]]


async def test_channels_of_two_apps_are_read_apart(world: World) -> None:
    world.enter("cache-a", "1")
    world.enter("cache-b", "2")
    await eventually(lambda: len(world.let_in) == 2)

    assert sorted(world.history.asked) == [["cache-a"], ["cache-b"]]


async def test_a_reading_takes_so_many_channels_and_no_more(world: World) -> None:
    for number in range(250):
        world.enter(f"cache-{number}")
    await eventually(lambda: len(world.let_in) == 250)

    assert [len(names) for names in world.history.asked] == [100, 100, 50]


async def test_while_redis_is_away_who_waits_is_let_in_later(world: World) -> None:
    world.history.away = True
    world.enter("cache-a")
    await eventually(lambda: len(world.history.asked) > 2)
    assert world.let_in == {}

    world.history.away = False

    await eventually(lambda: world.let_in == {"cache-a": None})


async def test_a_refused_channel_waits_alone(world: World) -> None:
    world.history.refused.add("cache-a")
    world.enter("cache-a")
    world.enter("cache-b")
    await eventually(lambda: world.let_in == {"cache-b": None})

    world.history.refused.clear()

    await eventually(lambda: "cache-a" in world.let_in)


async def test_a_fault_of_ours_leaves_nobody_waiting(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.history.fault = RuntimeError("bug")
    world.enter("cache-a")

    await eventually(lambda: world.let_in == {"cache-a": None})
    assert "last events were not read" in caplog.text


async def test_what_is_no_envelope_counts_as_nothing(world: World) -> None:
    world.history.kept["cache-a"] = b"no envelope"
    world.enter("cache-a")

    await eventually(lambda: world.let_in == {"cache-a": None})


async def test_an_event_that_does_not_arrive_has_the_channel_checked(world: World) -> None:
    world.history.kept["cache-a"] = event(7)
    channel = world.enter("cache-a")
    world.owner.asked.clear()
    await eventually(lambda: world.owner.asked[-1:] == [("check", "cache-a")])
    assert world.let_in == {}

    world.hub.checked(channel, START, [])

    await eventually(lambda: world.let_in == {"cache-a": b"event 7;"})


async def test_a_miss_is_told_when_it_is_news(world: World) -> None:
    world.history.noted.add("cache-b")  # by another gateway
    world.enter("cache-a")
    world.enter("cache-b")

    await eventually(lambda: len(world.told) == 1)
    assert (world.told[0].name, world.told[0].channel) == ("cache_miss", "cache-a")


async def test_a_miss_is_not_noted_when_nobody_wants_to_know(world: World) -> None:
    world.wants_facts = False
    world.enter("cache-a")
    await eventually(lambda: world.let_in == {"cache-a": None})

    assert world.history.noted == set()


async def test_redis_going_away_costs_the_news_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def missed(*_: object) -> list[bool]:
        raise DriverUnavailable("away")

    monkeypatch.setattr(world.history, "missed", missed)
    world.enter("cache-a")
    await eventually(lambda: world.let_in == {"cache-a": None})
    world.enter("cache-b")
    await eventually(lambda: len(world.let_in) == 2)

    assert world.told == []
