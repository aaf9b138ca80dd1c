"""A supervisor that reads its tables again takes them whole, or not at all."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from broadcaster.errors import ConfigurationError
from broadcaster.supervisor.balance import Rules
from broadcaster.supervisor.children import READY_SECONDS
from broadcaster.supervisor.supervisor import LOOK_SECONDS, Pool, PoolPlan, Supervisor
from tests.supervisor.test_children import FakeProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.supervision import PoolStatus, SupervisorStatus
    from broadcaster.supervisor.backlog import Backlog


class Started(NamedTuple):
    pool: str
    options: str
    queues: tuple[str, ...]
    process: FakeProcess


class World:
    """A supervisor whose settings are what `plans` or `wrong` says."""

    def __init__(self) -> None:
        self.started: list[Started] = []
        self.told: list[SupervisorStatus] = []
        self.plans = [self.plan("main"), self.plan("other")]
        self.wrong: Exception | None = None
        self.readings = 0
        pools = [Pool(plan) for plan in self.plans]
        self.supervisor = Supervisor(pools, "box:1", self.told.append, read=self.read)

    def plan(
        self,
        name: str,
        *queues: str,
        options: str = "",
        rules: Rules | None = None,
        grace: float = 1.0,
    ) -> PoolPlan:
        async def start(queues: tuple[str, ...], number: int, slots: int) -> FakeProcess:
            del number, slots
            process = FakeProcess(len(self.started))
            self.started.append(Started(name, options, queues, process))
            return process

        def look() -> Sequence[Backlog]:
            return ()

        made = rules or Rules(balance="simple", max_processes=1)
        return PoolPlan(name, queues or (name,), made, grace, start, look, options)

    def read(self) -> Sequence[PoolPlan]:
        self.readings += 1
        if self.wrong is not None:
            raise self.wrong
        return self.plans

    @property
    def signalled(self) -> list[int]:
        """The processes that were told to finish."""
        return [one.process.pid for one in self.started if one.process.signals]

    async def settle(self, turns: int = 3) -> None:
        """Make turns in which what has started settles in, and what is to finish ends."""
        for _ in range(turns):
            await self.supervisor.turn()
            for pool in self.supervisor._pools:
                for child in (each for group in pool.all_groups for each in group.children):
                    child.started -= READY_SECONDS
                    if child.stopping:
                        child.process.code = 0  # type: ignore[misc]  # of the fake

    def pool(self, name: str) -> PoolStatus:
        (found,) = [pool for pool in self.supervisor.status().pools if pool.name == name]
        return found


@pytest.fixture
async def world() -> World:
    made = World()
    await made.supervisor.turn()
    assert [one.pool for one in made.started] == ["main", "other"]
    return made


async def test_row_56_hup_reads_the_tables_and_replaces_all_one_by_one(world: World) -> None:
    world.plans = [world.plan("main", options="new"), world.plan("other")]

    world.supervisor.reload()
    await world.supervisor.turn()
    assert world.signalled == [], "each is replaced when its successor has settled in"
    await world.settle()

    assert [(one.pool, one.options) for one in world.started[2:]] == [
        ("main", "new"),
        ("other", ""),
    ]
    assert world.signalled == [0, 1]
    assert (world.pool("main").groups[0].pids, world.pool("other").groups[0].pids) == ((2,), (3,))


async def test_row_56_only_what_has_changed_is_touched(world: World) -> None:
    world.plans = [world.plan("main", options="new"), world.plan("other"), world.plan("third")]

    world.supervisor.reload(renew=False)
    await world.settle()

    assert sorted(one.pool for one in world.started[2:]) == ["main", "third"]
    assert world.signalled == [0]


async def test_more_processes_are_allowed_and_nobody_is_replaced(world: World) -> None:
    more = Rules(balance="simple", max_processes=3, slots=7)
    world.plans = [world.plan("main", rules=more, grace=9.0), world.plan("other")]

    world.supervisor.reload(renew=False)
    await world.settle()

    assert [one.pool for one in world.started[2:]] == ["main", "main"]
    assert world.signalled == []
    assert world.started[0].process.slots == 7
    (group,) = world.supervisor._pools[0].groups.values()
    assert group.patience == 9.0 + LOOK_SECONDS


async def test_row_56_a_pool_whose_table_is_gone_finishes_what_it_runs(world: World) -> None:
    world.plans = [world.plan("other")]

    world.supervisor.reload(renew=False)
    await world.supervisor.turn()

    assert world.signalled == [0]
    leaving = world.pool("main")
    assert (leaving.draining, leaving.groups[0].wanted, leaving.groups[0].stopping) == (
        True,
        0,
        (0,),
    )
    world.started[0].process.code = 0
    await world.supervisor.turn()
    assert [pool.name for pool in world.supervisor.status().pools] == ["other"]
    assert len(world.started) == 2


async def test_a_drained_pool_may_come_back_while_it_finishes(world: World) -> None:
    main, other = world.plans
    world.plans = [other]
    world.supervisor.reload(renew=False)
    await world.supervisor.turn()

    world.plans = [main, other]
    world.supervisor.reload(renew=False)
    await world.supervisor.turn()

    pools = world.supervisor.status().pools
    assert [(pool.name, pool.draining) for pool in pools] == [
        ("main", True),
        ("other", False),
        ("main", False),
    ]
    assert world.started[2].pool == "main"


async def test_queues_come_and_go_with_their_table(world: World) -> None:
    two = Rules(balance="simple", max_processes=2)
    world.plans = [world.plan("main", "main", "mail", rules=two), world.plan("other")]
    world.supervisor.reload(renew=False)
    await world.settle()
    assert world.started[2].queues == ("mail",)

    world.plans = [world.plan("main", "mail"), world.plan("other")]
    world.supervisor.reload(renew=False)
    await world.settle()

    assert world.signalled == [0], "the worker of the queue that is gone"
    assert [group.queue for group in world.pool("main").groups] == ["mail"]


async def test_row_56_wrong_settings_are_told_and_change_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = world.supervisor.status()
    world.wrong = ConfigurationError("broadcaster.toml: tires is no option; did you mean tries?")

    world.supervisor.reload()
    await world.settle()

    assert (len(world.started), world.signalled) == (2, [])
    assert world.told[-1].refused == str(world.wrong)
    assert world.told[-1].read_at == before.read_at
    assert "goes on as it was: broadcaster.toml: tires is no option" in caplog.text
    assert "Traceback" not in caplog.text
    world.wrong = None
    world.supervisor.reload(renew=False)
    await world.supervisor.turn()
    assert world.told[-1].refused == ""
    assert world.told[-1].read_at > before.read_at


async def test_a_mistake_in_reading_changes_nothing_either(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.wrong = PermissionError(13, "Permission denied")

    world.supervisor.reload()
    await world.settle()

    assert (len(world.started), world.signalled) == (2, [])
    assert "Permission denied" in world.told[-1].refused
    assert "Traceback" in caplog.text


async def test_settings_that_take_long_to_read_are_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr("broadcaster.supervisor.supervisor.LOOK_SECONDS", 0.5)
    monkeypatch.setattr(world.supervisor, "_read", lambda: over.wait(60))

    world.supervisor.reload()
    await world.supervisor.turn()
    over.set()

    assert world.supervisor.status().refused == "reading them took longer than 0.5 s"
    assert (len(world.started), world.signalled) == (2, [])


async def test_tables_are_not_read_twice_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both readings would open what the tables need, and keep what the other one closes."""
    over, reading = threading.Event(), list[bool]()

    def read() -> Sequence[PoolPlan]:
        reading.append(over.is_set())
        assert over.wait(30)
        return world.plans

    monkeypatch.setattr(world.supervisor, "_read", read)
    monkeypatch.setattr("broadcaster.supervisor.supervisor.LOOK_SECONDS", 0.1)
    for _ in range(2):
        world.supervisor.reload()
        await world.supervisor.turn()
    assert reading == [False]
    over.set()

    monkeypatch.setattr("broadcaster.supervisor.supervisor.LOOK_SECONDS", 30.0)
    world.supervisor.reload()
    await world.supervisor.turn()
    assert reading == [False, True]
    assert world.told[-1].refused == ""


async def test_tables_are_read_once_however_often_it_was_asked(world: World) -> None:
    for renew in (False, True, False):
        world.supervisor.reload(renew=renew)
    await world.settle()

    assert world.readings == 1
    assert sorted(world.signalled) == [0, 1], "somebody has asked for new workers"


async def test_who_stops_reads_nothing(world: World) -> None:
    world.supervisor.reload()
    world.supervisor.stop()
    await world.supervisor.turn()

    assert world.readings == 0
    assert len(world.started) == 2


async def test_a_stop_does_not_press_those_that_finish_already(world: World) -> None:
    world.plans = [world.plan("other")]
    world.supervisor.reload(renew=False)
    await world.supervisor.turn()

    world.supervisor.stop()
    assert [one.process.signals for one in world.started] == [[signal.SIGTERM]] * 2
    world.supervisor.stop()

    assert [one.process.signals for one in world.started] == [[signal.SIGTERM] * 2] * 2


async def test_what_could_not_start_starts_at_once_with_new_settings(world: World) -> None:
    world.started[0].process.code = 78
    await world.supervisor.turn()
    assert len(world.started) == 2, "it would end so again"

    world.plans = [world.plan("main", options="mended"), world.plan("other")]
    world.supervisor.reload(renew=False)
    await world.supervisor.turn()

    assert [one.options for one in world.started[2:]] == ["mended"]


async def test_a_supervisor_without_tables_to_read_replaces_its_workers() -> None:
    world = World()
    world.supervisor._read = None
    await world.supervisor.turn()

    world.supervisor.reload()
    await world.settle()

    assert world.signalled == [0, 1]
