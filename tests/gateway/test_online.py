"""What the store is told of users who come and go here, whatever it answers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.contracts.presence import Joining, Lease
from broadcaster.errors import DriverError, DriverRefused, DriverUnavailable, LeaseLost
from broadcaster.gateway.online import OnlineUser, OnlineUsers
from broadcaster.gateway.tasks import TaskOwner
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ADA = OnlineUser("1", "ada")


class FakeStore:
    """One entry per list; fails as often as it is told to, before or after it has written."""

    def __init__(self) -> None:
        self.online: set[str] = set()
        self.calls: list[str] = []
        self.failures: list[DriverError] = []
        self.lose_answer = False
        self.grace: float | None = 0.01
        self.hold: asyncio.Event | None = None
        self.unusable: set[str] = set()
        self.left_under: list[int] = []

    async def join_many(
        self, lease: Lease, joins: Sequence[Joining], *, announce: bool = False
    ) -> list[DriverRefused | None]:
        names = [join.channel for join in joins]
        if names:
            await self._call("join", *names, f"epoch {lease.epoch}")
        self.online.update(set(names) - self.unusable)
        self._answer()
        return [DriverRefused("WRONGTYPE") if name in self.unusable else None for name in names]

    async def leave(
        self, lease: Lease, app_id: str, channel: str, *, socket_id: str, grace: float
    ) -> float | None:
        self.left_under.append(lease.epoch)
        await self._call("leave", channel)
        self._use(channel)
        self.online.discard(channel)
        self._answer()
        return self.grace

    async def finish(self, app_id: str, channel: str) -> float | None:
        await self._call("finish", channel)
        self._use(channel)
        return None

    async def index_remove(self, lease: Lease, app_id: str, channel: str) -> None:
        await self._call("unindex", channel)

    async def _call(self, *words: str) -> None:
        self.calls.append(" ".join(words))
        if self.hold is not None:
            await self.hold.wait()
        if self.failures and not self.lose_answer:
            raise self.failures.pop(0)

    def _use(self, channel: str) -> None:
        if channel in self.unusable:
            raise DriverRefused("WRONGTYPE")

    def _answer(self) -> None:
        if self.failures and self.lose_answer:
            raise self.failures.pop(0)


class FakeLease:
    def __init__(self) -> None:
        self.epoch = 1
        self.woken = 0

    async def current(self) -> Lease:
        return Lease("node", self.epoch, 0)

    def wake(self) -> None:
        self.woken += 1


class World:
    def __init__(self) -> None:
        self.store = FakeStore()
        self.lease = FakeLease()
        self.tasks = TaskOwner()
        self.users = OnlineUsers(
            cast("Any", self.store), cast("Any", self.lease), self.tasks, grace=0.01
        )

    async def settled(self) -> None:
        await self.users.settled(within=10)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("broadcaster.gateway.online.RETRY_SECONDS", 0.001)
    monkeypatch.setattr("broadcaster.gateway.online.REFUSED_SECONDS", 0.001)
    made = World()
    made.tasks.keep(made.users.run, "online")
    with contextlib.suppress(asyncio.CancelledError):
        yield made
    await made.tasks.aclose()


async def test_only_the_first_and_the_last_connection_of_a_user_are_written(world: World) -> None:
    for _ in range(3):
        world.users.came(*ADA)
    await world.settled()
    for _ in range(2):
        world.users.left(*ADA)
    await world.settled()
    before = list(world.store.calls)
    world.users.left(*ADA)
    await eventually(lambda: "unindex #online-ada" in world.store.calls)

    assert before == ["join #online-ada epoch 1"]
    assert world.store.calls[1:] == [
        "leave #online-ada",
        "finish #online-ada",
        "unindex #online-ada",
    ]
    assert world.store.online == set()


async def test_who_is_back_before_it_was_written_was_never_away(world: World) -> None:
    world.users.came(*ADA)
    await world.settled()
    world.users.left(*ADA)
    world.users.came(*ADA)
    await world.settled()

    assert "leave #online-ada" not in world.store.calls
    assert world.store.online == {"#online-ada"}


async def test_who_was_gone_before_it_was_written_is_not_written(world: World) -> None:
    world.users.came(*ADA)
    world.users.left(*ADA)
    await world.settled()

    assert world.store.calls == []


@pytest.mark.parametrize("lose_answer", [False, True])
@pytest.mark.parametrize(
    "failure", [DriverUnavailable("away"), LeaseLost("swept"), DriverRefused("wrong type")]
)
async def test_what_fails_is_repeated_whether_or_not_it_was_carried_out(
    world: World,
    failure: DriverError,
    lose_answer: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    world.store.lose_answer = lose_answer
    world.store.failures = [failure, failure]
    world.users.came(*ADA)
    await world.settled()
    assert world.store.online == {"#online-ada"}

    world.store.failures = [failure, failure]
    world.users.left(*ADA)
    await world.settled()

    assert world.store.online == set()
    assert (world.lease.woken > 0) is isinstance(failure, LeaseLost)


async def test_a_join_whose_answer_was_lost_is_undone_when_the_user_has_left(world: World) -> None:
    world.store.lose_answer = True
    world.store.failures = [DriverUnavailable("away")]
    world.users.came(*ADA)
    await eventually(lambda: world.store.calls)
    world.users.left(*ADA)
    await world.settled()

    assert world.store.online == set()


async def test_a_fault_of_ours_stops_nothing_for_good(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.gateway.tasks.RESTART_SECONDS", 0.001)
    world.store.failures = [cast("DriverError", ZeroDivisionError())]
    world.users.came(*ADA)
    await world.settled()

    assert world.store.online == {"#online-ada"}


async def test_everybody_is_entered_again_under_a_new_lease(world: World) -> None:
    world.users.came(*ADA)
    world.users.came("1", "bob")
    await world.settled()
    world.store.online.clear()
    world.lease.epoch = 2
    await world.users.register_all(await world.lease.current(), data_lost=True)

    assert world.store.online == {"#online-ada", "#online-bob"}
    assert world.store.calls[-1] == "join #online-ada #online-bob epoch 2" or (
        world.store.calls[-1] == "join #online-bob #online-ada epoch 2"
    )


async def test_who_leaves_while_all_are_entered_again_leaves(world: World) -> None:
    world.users.came(*ADA)
    await world.settled()
    world.lease.epoch = 2
    world.store.hold = asyncio.Event()
    entering = asyncio.create_task(
        world.users.register_all(await world.lease.current(), data_lost=False)
    )
    await eventually(lambda: world.store.calls[-1].endswith("epoch 2"))
    world.users.left(*ADA)
    await eventually(lambda: world.store.calls[-1] == "leave #online-ada")
    world.store.hold.set()
    await entering
    await eventually(lambda: world.store.calls[-1] == "unindex #online-ada")

    assert world.store.online == set()


async def test_who_leaves_when_all_were_entered_again_leaves_under_the_new_lease(
    world: World,
) -> None:
    world.users.came("1", "ada")
    await world.settled()
    first = world.store.hold = asyncio.Event()
    world.users.came("1", "bob")
    world.users.left("1", "ada")
    await eventually(lambda: "join #online-bob epoch 1" in world.store.calls)
    world.store.hold = None
    world.lease.epoch = 2
    await world.users.register_all(Lease("node", 2, 0), data_lost=False)

    first.set()
    await world.settled()

    assert world.store.left_under == [2]


async def test_settling_has_an_end(world: World) -> None:
    world.store.hold = asyncio.Event()
    world.users.came(*ADA)

    await world.users.settled(within=0.01)

    assert world.store.online == set()
    world.store.hold.set()


async def test_a_list_that_cannot_be_used_holds_up_nobody_else_and_is_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither who comes and goes, nor a new lease; and it is written when it is repaired."""
    world.store.unusable = {"#online-ada"}
    for user in ("ada", "bob"):
        world.users.came("1", user)
    await eventually(lambda: world.store.calls.count("join #online-ada epoch 1") > 2)
    online = set(world.store.online)
    world.lease.epoch = 2
    await world.users.register_all(await world.lease.current(), data_lost=False)
    registered = next(call for call in world.store.calls if call.endswith("epoch 2"))
    world.users.left("1", "bob")
    await eventually(lambda: "unindex #online-bob" in world.store.calls)
    world.users.left(*ADA)
    await eventually(lambda: world.store.calls.count("leave #online-ada") > 2)
    said = [record.levelname for record in caplog.records if "not written" in record.getMessage()]
    world.store.unusable = set()
    await eventually(lambda: "unindex #online-ada" in world.store.calls)

    assert online == {"#online-bob"}
    assert set(registered.split()) == {"join", "#online-ada", "#online-bob", "epoch", "2"}
    assert said.count("WARNING") == 1
    assert not world.users._resting
