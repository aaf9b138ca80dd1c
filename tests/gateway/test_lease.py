"""The lease of one node: renewed, lost, begun anew, given up."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.contracts.presence import Lease, Renewal
from broadcaster.errors import DriverRefused, DriverUnavailable, LeaseLost
from broadcaster.gateway.lease import LeaseKeeper
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS = 15.0


class Store:
    """A presence store of which only the lease matters; the test sets what it answers."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.incarnation, self.run_id = "data-1", "run-1"
        self.fail: list[Exception] = []
        self.calls: list[tuple[Any, ...]] = []
        self.sweeps: list[float | Exception] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def renew(self, node: str, epoch: int) -> Renewal:
        self._say("renew", node, epoch)
        existed = epoch in self.known
        self.known.add(epoch)
        await self.answers.wait()
        return Renewal(Lease(node, epoch, 1_000), existed, self.incarnation, self.run_id)

    async def retire(self, lease: Lease) -> None:
        self._say("retire", lease.epoch)
        self.known.discard(lease.epoch)

    async def sweep(self) -> float:
        self.calls.append(("sweep",))
        answer = self.sweeps.pop(0) if self.sweeps else 60.0
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _say(self, *call: Any) -> None:
        if self.fail:
            raise self.fail.pop(0)
        self.calls.append(call)

    def said(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]


class World:
    """A keeper under a clock of the test's, whose registrar keeps what it was asked."""

    def __init__(self) -> None:
        self.time = 100.0
        self.store = Store()
        self.registered: list[tuple[int, bool]] = []
        self.fail: list[Exception] = []
        self.keeper = LeaseKeeper(
            cast("Any", self.store), "node", seconds=SECONDS, now=lambda: self.time
        )
        self.keeper.attach(self)

    async def register_all(self, lease: Lease, *, data_lost: bool) -> None:
        if self.fail:
            raise self.fail.pop(0)
        self.registered.append((lease.epoch, data_lost))

    async def renew(self) -> None:
        await self.keeper._renew()


@pytest.fixture
async def world() -> World:
    return World()


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.keeper.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_first_lease_is_awaited_and_registers_nothing(world: World) -> None:
    waiting = asyncio.create_task(world.keeper.current())
    await asyncio.sleep(0)
    assert not waiting.done()

    await world.renew()

    assert await waiting == Lease("node", 1, 1_000)
    assert world.registered == []


async def test_a_renewal_in_time_keeps_the_epoch(world: World) -> None:
    for _ in range(3):
        await world.renew()
        world.time += SECONDS / 3

    assert world.store.said("renew") == [("node", 1)] * 3
    assert (await world.keeper.current()).epoch == 1


async def test_an_unknown_lease_begins_a_new_epoch_before_the_old_one_is_given_up(
    world: World,
) -> None:
    await world.renew()
    world.store.known.clear()
    world.store.calls.clear()
    await world.renew()

    assert world.registered == [(2, False)]
    assert world.store.said("renew") == [("node", 1), ("node", 2)]
    assert world.store.said("retire") == [(1,)]
    assert (await world.keeper.current()).epoch == 2


async def test_another_server_process_behind_the_address_begins_a_new_epoch(world: World) -> None:
    await world.renew()
    world.store.run_id = "run-2"
    await world.renew()

    assert world.registered == [(2, False)]


async def test_another_data_set_is_reported_as_lost_data(world: World) -> None:
    await world.renew()
    world.store.known.clear()
    world.store.incarnation = "data-2"
    await world.renew()
    await world.renew()

    assert world.registered == [(2, True)]


async def test_who_slept_longer_than_the_lease_begins_a_new_epoch(world: World) -> None:
    await world.renew()
    world.time += SECONDS + 0.1
    await world.renew()

    assert world.registered == [(2, False)]


async def test_an_interrupted_registration_is_made_again_under_a_newer_epoch(world: World) -> None:
    """And every epoch before is given up, lost data or not remembered until then."""
    await world.renew()
    world.store.known.clear()
    world.store.incarnation = "data-2"
    world.fail = [DriverUnavailable("away")]
    with pytest.raises(DriverUnavailable):
        await world.renew()

    await world.renew()

    assert world.registered == [(3, True)]
    assert world.store.said("retire") == [(1,), (2,)]
    await world.renew()
    assert world.registered == [(3, True)]


async def test_it_renews_at_once_when_woken(world: World) -> None:
    async with running(world):
        await eventually(lambda: len(world.store.said("renew")) == 1)
        world.keeper.wake()
        await eventually(lambda: len(world.store.said("renew")) == 2)


@pytest.mark.parametrize("error", [DriverUnavailable("away"), LeaseLost("gone")])
async def test_it_asks_again_soon_while_the_store_is_away(world: World, error: Exception) -> None:
    world.store.fail = [error, error]
    async with running(world):
        lease = await asyncio.wait_for(world.keeper.current(), 10)

    assert lease.epoch == 1


async def test_sweeping_goes_on_through_failures(world: World) -> None:
    world.store.sweeps = [0.0, DriverUnavailable("away"), 0.0]
    task = asyncio.create_task(world.keeper.sweep())
    await eventually(lambda: len(world.store.said("sweep")) >= 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_sweeping_goes_on_past_a_refusal_and_says_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("broadcaster.gateway.lease.MAX_SWEEP_WAIT", 0.0)
    world.store.sweeps = [DriverRefused("WRONGTYPE"), DriverRefused("WRONGTYPE"), 0.0]
    task = asyncio.create_task(world.keeper.sweep())
    await eventually(lambda: len(world.store.said("sweep")) >= 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "sweeping: WRONGTYPE"
    ]


async def test_a_refused_registration_is_made_again_and_said_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("broadcaster.gateway.lease.REFUSED_SECONDS", 0.001)
    await world.renew()
    world.store.known.clear()
    world.fail = [DriverRefused("WRONGTYPE"), DriverRefused("WRONGTYPE")]
    async with running(world):
        await eventually(lambda: world.registered)

    refused = [record for record in caplog.records if "registering: " in record.getMessage()]
    assert world.registered == [(4, False)]
    assert [record.levelname for record in refused].count("WARNING") == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_lease_is_given_up_at_a_stop(world: World) -> None:
    await world.renew()
    await world.keeper.retire()

    assert world.store.said("retire") == [(1,)]


async def test_a_stop_before_the_first_lease_gives_nothing_up(world: World) -> None:
    await world.keeper.retire()

    assert world.store.calls == []


async def test_a_renewal_that_crosses_the_end_begins_no_other_lease(world: World) -> None:
    """Its node would live on for the others, with what it had counted, until that lease ends."""
    await world.renew()
    world.store.known.clear()  # it was swept: whoever is told so begins a new epoch
    world.store.answers.clear()
    async with running(world):
        await eventually(lambda: len(world.store.said("renew")) == 2)
        retiring = asyncio.create_task(world.keeper.retire())
        await asyncio.sleep(0)
        world.store.answers.set()
        await retiring
        world.keeper.wake()
        await asyncio.sleep(0)
        with pytest.raises(LeaseLost):
            await world.renew()

    assert world.store.said("renew") == [("node", 1), ("node", 1)]
    assert world.store.said("retire") == [(1,)]


async def test_leases_that_were_not_given_up_yet_are_given_up_at_a_stop(world: World) -> None:
    await world.renew()
    world.store.run_id = "run-2"
    world.fail = [DriverUnavailable("away")]
    with pytest.raises(DriverUnavailable):
        await world.renew()

    await world.keeper.retire()

    assert world.store.said("retire") == [(1,), (2,)]
