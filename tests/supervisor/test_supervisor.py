from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue_admin import Pause, Runtime
from broadcaster.contracts.supervision import SupervisorStatus
from broadcaster.drivers.redis.supervisors import RedisSupervisorBoard
from broadcaster.errors import DriverUnavailable
from broadcaster.supervisor.backlog import Backlog
from broadcaster.supervisor.balance import Load, Rules
from broadcaster.supervisor.supervisor import LOOK_SECONDS, Pool, PoolPlan, Supervisor, loads
from tests.polling import eventually
from tests.supervisor.test_children import FakeProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients


class EndingProcess(FakeProcess):
    """Ends when it is asked to."""

    def signal(self, number: signal.Signals) -> None:
        super().signal(number)
        self.code = 0


class World:
    def __init__(self, rules: Rules) -> None:
        self.started: list[tuple[tuple[str, ...], EndingProcess]] = []
        self.told: list[SupervisorStatus] = []
        self.seen: Sequence[Backlog] | None = ()
        plan = PoolPlan("main", ("a", "b"), rules, 1.0, self.start, self.look)
        self.pool = Pool(plan)
        self.supervisor = Supervisor([self.pool], "box:1", self.told.append, tick=0.01)

    async def start(self, queues: tuple[str, ...], number: int, slots: int) -> EndingProcess:
        process = EndingProcess(number)
        process.slots = slots
        self.started.append((queues, process))
        return process

    def look(self) -> Sequence[Backlog]:
        if self.seen is None:
            raise DriverUnavailable("away")
        return self.seen


async def test_row_56_processes_follow_the_work() -> None:
    world = World(Rules(max_processes=6, shift=5, slots=2, cooldown=0.5))

    await world.supervisor.turn()
    assert [queues for queues, _ in world.started] == [("a",), ("b",)]
    flood = Backlog(queue="b", ready=1_000, runtimes=[Runtime("x", 9, 1.0, 2.0)])
    world.pool.decide([flood], now=1e12)
    await world.pool.tend(now=1e12)

    assert [queues for queues, _ in world.started].count(("b",)) == 5
    (pool,) = world.supervisor.status().pools
    assert [(group.queue, len(group.pids), group.slots) for group in pool.groups] == [
        ("a", 1, 1), ("b", 5, 2)
    ]  # fmt: skip


async def test_off_serves_all_queues_with_all_processes() -> None:
    world = World(Rules(balance="off", max_processes=2, slots=3))

    await world.supervisor.turn()

    assert [queues for queues, _ in world.started] == [("a", "b")] * 2


async def test_what_runs_stays_while_the_queues_cannot_be_seen_and_dead_workers_come_back() -> None:
    world = World(Rules(max_processes=6))
    await world.supervisor.turn()
    world.seen = None
    world.started[0][1].code = -9

    await world.pool.tend(now=1e12)
    await world.supervisor.turn()

    assert len(world.started) == 3


async def test_a_mistake_in_what_the_store_says_ends_no_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Workers end with their supervisor, so it goes on; and it is said once, with its place."""
    world = World(Rules(max_processes=6))
    await world.supervisor.turn()

    def look() -> Sequence[Backlog]:
        raise ValueError("no JSON")

    world.pool.plan = world.pool.plan._replace(look=look)
    for _ in range(3):
        await world.supervisor.turn()

    assert len(world.started) == 2
    assert caplog.text.count("main: the store cannot be asked: no JSON") == 1
    assert "Traceback" in caplog.text
    world.pool.plan = world.pool.plan._replace(look=world.look)
    caplog.set_level("INFO")
    await world.supervisor.turn()
    assert "main: the store answers again" in caplog.text


async def test_workers_are_started_even_before_the_store_answers() -> None:
    world = World(Rules(max_processes=6))
    world.seen = None

    await world.supervisor.turn()

    assert len(world.started) == 2


async def test_workers_get_the_grace_of_their_table_before_they_are_ended() -> None:
    (group,) = World(Rules(balance="off")).pool.groups.values()

    assert group.patience == 1.0 + LOOK_SECONDS


async def test_it_stops_when_all_its_workers_have() -> None:
    world = World(Rules(max_processes=6))

    async with asyncio.timeout(20):
        running = asyncio.ensure_future(world.supervisor.run())
        await eventually(lambda: len(world.started) == 2)
        world.supervisor.stop()
        await running

    assert all(process.code == 0 for _, process in world.started)
    assert world.told[-1].state == "stopped"


class DeafProcess(FakeProcess):
    """Ends when it is killed, a moment later."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.ended = asyncio.Event()

    def signal(self, number: signal.Signals) -> None:
        super().signal(number)
        if number == signal.SIGKILL:
            asyncio.get_running_loop().call_later(0.05, self.end)

    def end(self) -> None:
        self.code = -signal.SIGKILL
        self.ended.set()

    async def wait(self) -> None:
        await self.ended.wait()


async def test_workers_that_had_to_be_killed_are_gone_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broadcaster.supervisor.supervisor.LOOK_SECONDS", 0.2)
    deaf = DeafProcess(7)
    told: list[SupervisorStatus] = []

    async def start(queues: tuple[str, ...], number: int, slots: int) -> DeafProcess:
        del queues, number, slots
        return deaf

    plan = PoolPlan("main", ("a",), Rules(balance="off", max_processes=1), 0.0, start, list)
    supervisor = Supervisor([Pool(plan)], "box:1", told.append)
    await supervisor.turn()
    assert told[-1].pools[0].groups[0].pids == (7,)
    supervisor.stop()

    async with asyncio.timeout(20):
        await supervisor.run()

    assert deaf.signals == [signal.SIGTERM, signal.SIGKILL]
    assert deaf.code == -signal.SIGKILL
    (group,) = told[-1].pools[0].groups
    assert (group.pids, group.stopping) == ((), ())


async def test_what_it_tells_late_is_never_told_after_what_it_tells_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that hangs had the last word said by the call that hung."""
    monkeypatch.setattr("broadcaster.supervisor.supervisor.LOOK_SECONDS", 0.05)
    world, over, told = World(Rules()), threading.Event(), list[str]()

    def tell(status: SupervisorStatus) -> None:
        if not told:
            assert over.wait(30)
        told.append(status.state)

    supervisor = Supervisor([world.pool], "box:1", tell, tick=0.01)
    await supervisor.turn()
    supervisor.stop()
    monkeypatch.setattr("broadcaster.supervisor.supervisor.LOOK_SECONDS", 30.0)
    ending = asyncio.ensure_future(supervisor.run())
    await eventually(lambda: supervisor.status().state == "stopped")
    over.set()
    await ending

    assert told == ["running", "stopped"]


def test_a_paused_queue_needs_no_more_processes() -> None:
    found = loads(["a", "b"], [Backlog(queue="a", ready=9, running=2, pause=Pause(0, None, ""))])

    assert found == {"a": Load(0, 2, None), "b": Load()}


@pytest.mark.redis
async def test_row_56_one_document_says_how_all_supervisors_are(clients: RedisClients) -> None:
    world = World(Rules(max_processes=6))
    await world.supervisor.turn()
    board = RedisSupervisorBoard(clients)
    clients.sync.hset(clients.keys.queues("supervisors"), "broken", b"{")

    board.tell(world.supervisor.status())
    board.tell(SupervisorStatus(name="away:2"))

    away, mine = board.read()
    assert (away.name, mine.name) == ("away:2", "box:1")
    assert mine.pools == world.supervisor.status().pools
    assert mine.seen_at > 0
    assert clients.sync.hlen(clients.keys.queues("supervisors")) == 2
