"""Counts of connections on their way to the store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.contracts.apps import StaticApps
from broadcaster.contracts.presence import NOTHING, Lease, Total, Wanted
from broadcaster.errors import DriverRefused
from broadcaster.gateway import occupancy
from broadcaster.gateway.census import CONNECTIONS
from broadcaster.gateway.occupancy import Occupancy, wanted_by
from broadcaster.gateway.tasks import TaskOwner
from broadcaster.hub.hub import Hub
from broadcaster.protocol.app import AppLimits
from broadcaster.protocol.messages import encode_subscription_count
from broadcaster.protocol.websocket import encode_text
from tests.gateway.world import APP
from tests.hub.subscribers import Owner, Peer
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping


class Store:
    """Refuses the first write."""

    def __init__(self) -> None:
        self.refusals = 1
        self.written: list[tuple[str, dict[str, int]]] = []

    async def occupy(
        self, _: Lease, app_id: str, counts: Mapping[str, int], **__: object
    ) -> dict[str, Total]:
        if self.refusals:
            self.refusals -= 1
            raise DriverRefused("WRONGTYPE")
        self.written.append((app_id, dict(counts)))
        return {}


class HeldLease:
    async def current(self) -> Lease:
        return Lease("node", 1, 0)


async def test_counts_that_redis_refuses_are_kept_and_written_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(occupancy, "REFUSED_SECONDS", 0.0)
    store, channel = Store(), SimpleNamespace(topic=b"1:a", app_id="1", name="a")
    hub = SimpleNamespace(channels={b"1:a": ["one", "two"]})
    counts = Occupancy(
        cast("Any", hub),
        cast("Any", store),
        cast("Any", HeldLease()),
        wanted=lambda _: NOTHING,
        wake=lambda: None,
    )
    task = asyncio.create_task(counts.run())

    counts.changed(cast("Any", channel))
    await eventually(lambda: store.written)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert store.written == [("1", {"a": 2})]
    assert "counts not written: WRONGTYPE" in caplog.text


async def test_counts_are_written_although_a_bug_ended_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broadcaster.gateway.tasks.RESTART_SECONDS", 0.0)
    store, wanted = CountingStore(), [RuntimeError("bug")]

    def wanted_by(_app_id: str) -> Wanted:
        if wanted:
            raise wanted.pop()
        return NOTHING

    counts = Occupancy(
        cast("Any", SimpleNamespace(channels={b"1:a": ["one"]})),
        cast("Any", store),
        cast("Any", HeldLease()),
        wanted=wanted_by,
        wake=lambda: None,
    )
    tasks = TaskOwner()
    tasks.keep(counts.run, "occupancy")
    counts.changed(cast("Any", SimpleNamespace(topic=b"1:a", app_id="1", name="a")))
    await eventually(lambda: store.calls)
    await tasks.aclose()

    assert [call[1] for call in store.calls] == [{"a": 1}]


class CountingStore:
    """Keeps what it is told; totals are what this node says, and `others` more."""

    def __init__(self, others: int = 0) -> None:
        self.others = others
        self.calls: list[tuple[Lease, dict[str, int], bool]] = []

    async def occupy(
        self,
        lease: Lease,
        app_id: str,
        counts: Mapping[str, int],
        *,
        wanted: Wanted,
        announce: bool = True,
    ) -> dict[str, Total]:
        self.calls.append((lease, dict(counts), announce))
        version = len(self.calls)
        totals = {name: Total(n + self.others, version) for name, n in counts.items()}
        return totals if wanted.counts else {}


class Guest:
    """A connection, as far as it is counted."""

    app = SimpleNamespace(id="1")


def occupancy_of(
    hub: Hub, store: CountingStore, wanted: Wanted, woken: list[str] | None = None
) -> Occupancy:
    return Occupancy(
        hub,
        cast("Any", store),
        cast("Any", HeldLease()),
        wanted=lambda _: wanted,
        wake=lambda: (woken if woken is not None else []).append("woken"),
    )


def hub_with(*names: str) -> tuple[Hub, list[Peer]]:
    """A hub with one subscriber in each channel."""
    hub, everybody = Hub(Owner()), [Peer(f"1.{number}") for number in range(len(names))]
    for name, peer in zip(names, everybody, strict=True):
        hub.add(hub.open(name.encode(), "1", name), peer)
    return hub, everybody


async def test_everything_is_registered_under_the_lease_that_is_given() -> None:
    hub, _ = hub_with("a", "b")
    store = CountingStore()
    counts = occupancy_of(hub, store, NOTHING)
    counts.census.came(cast("Any", Guest()))

    await counts.register_all(Lease("node", 7, 0), data_lost=True)

    everything = {"a": 1, "b": 1, CONNECTIONS: 1}
    assert store.calls == [(Lease("node", 7, 0), everything, False)]


async def test_the_first_number_is_told_here_and_later_ones_are_not() -> None:
    hub, (peer,) = hub_with("a")
    store = CountingStore(others=4)
    counts = occupancy_of(hub, store, Wanted(counts=True))

    for _ in range(2):
        await counts.register_all(Lease("node", 1, 0), data_lost=False)
        hub.flush()

    assert peer.writes == [encode_text(encode_subscription_count("a", 5))]


async def test_presence_channels_are_told_no_number() -> None:
    hub, (peer,) = hub_with("presence-a")
    counts = occupancy_of(hub, CountingStore(), Wanted(counts=True))

    await counts.register_all(Lease("node", 1, 0), data_lost=False)
    hub.flush()

    assert peer.writes == []


@pytest.mark.parametrize("wanted", [NOTHING, Wanted(facts=True)])
async def test_who_wants_facts_is_woken_after_a_write(wanted: Wanted) -> None:
    hub, _ = hub_with("a")
    woken: list[str] = []
    counts = occupancy_of(hub, CountingStore(), wanted, woken)

    await counts.register_all(Lease("node", 1, 0), data_lost=False)

    assert bool(woken) == wanted.facts


def test_a_channel_that_missed_numbers_is_written_again_if_they_are_wanted() -> None:
    hub, _ = hub_with("a", "presence-a")
    channels = list(hub.channels.values())
    for wanted, expected in ((Wanted(counts=True), ["a"]), (NOTHING, [])):
        counts = occupancy_of(hub, CountingStore(), wanted)

        for channel in channels:
            counts.checked(channel)

        assert [name for _, name in counts._changed] == expected


def test_what_an_app_wants_is_read_from_its_limits() -> None:
    told = replace(APP, server_events=True)
    counted = replace(APP, id="2", key="k2", limits=AppLimits(subscription_counts=True))
    wanted = wanted_by(StaticApps(told, counted))

    assert wanted(told.id) == Wanted(facts=True)
    assert wanted("2") == Wanted(counts=True)
    assert wanted("unknown") == NOTHING


FACTS = Wanted(facts=True)
ROOM = "presence-room"


async def test_a_member_who_came_is_written_although_they_left_at_once() -> None:
    """First while they are in no list of ours; the number that is true comes after it."""
    hub, store, woken = Hub(Owner()), CountingStore(), list[str]()
    counts = occupancy_of(hub, store, FACTS, woken)

    await counts.entered("1", ROOM, b"room")
    assert (len(store.calls), len(woken)) == (1, 1)
    task = asyncio.create_task(counts.run())
    await counts.settled()
    task.cancel()

    assert [call[1] for call in store.calls] == [{ROOM: 1}, {ROOM: 0}]


async def test_a_member_who_came_while_redis_refused_is_written_before_their_absence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(occupancy, "REFUSED_SECONDS", 0.0)
    store = Store()
    store.refusals = 3
    counts = occupancy_of(Hub(Owner()), cast("Any", store), FACTS)

    await counts.entered("1", ROOM, b"room")
    task = asyncio.create_task(counts.run())
    await counts.settled()
    task.cancel()

    assert store.written == [("1", {ROOM: 1}), ("1", {ROOM: 0})]
    assert not counts._entered


async def test_nothing_more_is_written_for_who_wants_no_facts() -> None:
    store = CountingStore()

    await occupancy_of(Hub(Owner()), store, NOTHING).entered("1", ROOM, b"room")

    assert store.calls == []
