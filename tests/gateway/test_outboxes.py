"""Emptying outboxes: once, in order, whatever fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.outbox import Noted, Page, Settled
from broadcaster.errors import DriverError, DriverRefused, DriverUnavailable
from broadcaster.gateway import outboxes as module
from broadcaster.gateway.outboxes import Outboxes
from broadcaster.protocol.facts import Fact, fact_id
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from broadcaster.contracts.outbox import Source

ROOM, HALL = ("1", "presence-room"), ("1", "presence-hall")


class Store:
    """Outboxes in memory; `faults` are raised one per step, `refused` whenever it is asked."""

    def __init__(self) -> None:
        self.waiting: dict[Source, list[bytes]] = {}
        self.faults: list[DriverError] = []
        self.refused: Source = ("none", "none")
        self.busy: dict[Source, float] = {}
        self.lost: dict[Source, int] = {}
        self.wait: float | None = None
        self.settle_fault: DriverError | None = None
        self.settles = 0

    async def settle(self) -> Settled:
        self.settles += 1
        if self.settle_fault is not None:
            raise self.settle_fault
        return Settled(self.wait, len(self.waiting.get(None, [])))

    async def step(
        self, token: str, sources: Sequence[Source], queued: Sequence[Sequence[bytes]]
    ) -> list[Page]:
        assert token
        if self.faults:
            raise self.faults.pop(0)
        if self.refused in sources:
            raise DriverRefused("WRONGTYPE")
        pages: list[Page] = []
        for source, texts in zip(sources, queued, strict=True):
            mine = [text for text in self.waiting.get(source, []) if text not in texts]
            self.waiting[source] = mine
            busy = self.busy.pop(source, 0.0)
            notes = [] if busy else [Noted(text, fact_of(text)) for text in mine[:2]]
            pages.append(Page(notes, self.lost.pop(source, 0), busy))
        return pages


class Sink:
    def __init__(self) -> None:
        self.faults: list[DriverError] = []
        self.channels: list[str] = []

    async def put(self, facts: Sequence[Fact]) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.channels += [fact.channel for fact in facts]


def fact_of(text: bytes) -> Fact | None:
    if text == b"garbage":
        return None
    name = text.decode()
    return Fact(id=fact_id(name), app_id="1", name="channel_occupied", channel=name, time_ms=1)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.0)


@asynccontextmanager
async def running(store: Store, sink: Sink) -> AsyncGenerator[Outboxes]:
    outboxes = Outboxes(store, sink)
    task = asyncio.create_task(outboxes.run())
    yield outboxes
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_woken_outboxes_are_emptied_in_their_order() -> None:
    store, sink = Store(), Sink()
    store.waiting = {ROOM: [b"a", b"b", b"c"], None: [b"x", b"y", b"z"]}

    async with running(store, sink) as outboxes:
        outboxes.wake(ROOM)
        await outboxes.settled(within=5)

    assert [name for name in sink.channels if name in "abc"] == ["a", "b", "c"]
    assert [name for name in sink.channels if name in "xyz"] == ["x", "y", "z"]
    assert not any(store.waiting.values())


async def test_the_outbox_of_all_is_emptied_without_being_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.01)
    store, sink = Store(), Sink()

    async with running(store, sink):
        store.waiting = {None: [b"left-behind"]}
        await eventually(lambda: sink.channels == ["left-behind"])


async def test_what_falls_due_is_not_waited_for_longer_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PERIOD_SECONDS", 3_600.0)
    store, sink = Store(), Sink()
    store.wait = 0.02

    async with running(store, sink) as outboxes:
        outboxes.wake()
        await eventually(lambda: store.settles >= 3)


@pytest.mark.parametrize("fault", [DriverUnavailable("away"), DriverRefused("WRONGTYPE")])
@pytest.mark.parametrize("where", ["store", "sink"])
async def test_facts_wait_until_redis_takes_them(fault: DriverError, where: str) -> None:
    store, sink = Store(), Sink()
    store.waiting = {ROOM: [b"a"]}
    (store if where == "store" else sink).faults = [fault] * 3

    async with running(store, sink) as outboxes:
        outboxes.wake(ROOM)
        await eventually(lambda: sink.channels == ["a"])
        await outboxes.settled(within=5)

    assert store.waiting == {ROOM: []}


async def test_an_outbox_that_redis_refuses_does_not_hold_the_others_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, sink = Store(), Sink()
    store.waiting = {ROOM: [b"a"], HALL: [b"b"]}
    store.refused = ROOM

    async with running(store, sink) as outboxes:
        outboxes.wake(ROOM)
        outboxes.wake(HALL)
        await eventually(lambda: sink.channels == ["b"])
        store.refused = ("none", "none")
        await eventually(lambda: sink.channels == ["b", "a"])

    assert "facts wait: WRONGTYPE" in caplog.text


async def test_channels_are_emptied_though_redis_refuses_what_is_due() -> None:
    store, sink = Store(), Sink()
    store.waiting, store.settle_fault = {ROOM: [b"a"]}, DriverRefused("WRONGTYPE")

    async with running(store, sink) as outboxes:
        outboxes.wake(ROOM)
        await eventually(lambda: sink.channels == ["a"])


async def test_a_refused_outbox_has_one_timer_however_often_it_is_woken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outboxes, timers = Outboxes(Store(), Sink()), list[float]()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda delay, _: timers.append(delay))

    for source in (ROOM, ROOM, None, ROOM):
        outboxes._later(5.0, source)

    assert timers == [5.0, 5.0]


async def test_an_outbox_that_another_node_empties_is_looked_at_again() -> None:
    store, sink = Store(), Sink()
    store.waiting, store.busy = {ROOM: [b"a"]}, {ROOM: 0.01}

    async with running(store, sink) as outboxes:
        outboxes.wake(ROOM)
        await eventually(lambda: sink.channels == ["a"])


async def test_lost_facts_are_reported_and_garbage_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, sink = Store(), Sink()
    store.waiting = {ROOM: [b"garbage", b"a"]}
    store.lost = {ROOM: 3}

    async with running(store, sink) as outboxes:
        outboxes.wake(ROOM)
        await eventually(lambda: sink.channels == ["a"])

    assert "3 facts were lost: the outbox of presence-room was full" in caplog.text


async def test_settling_has_an_end_when_redis_is_away() -> None:
    store, sink = Store(), Sink()
    outboxes = Outboxes(store, sink)

    outboxes.wake(ROOM)
    await outboxes.settled(within=0.01)

    assert sink.channels == []
