from __future__ import annotations

import signal

from broadcaster.supervisor.children import HOPELESS_PAUSE, READY_SECONDS, Group


class FakeProcess:
    """A process that ends when it is told to by the test."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self.signals: list[signal.Signals] = []
        self.slots = 0

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)

    def resize(self, slots: int) -> None:
        self.slots = slots

    async def wait(self) -> None:
        return


class World:
    def __init__(self, wanted: int = 2) -> None:
        self.started: list[FakeProcess] = []
        self.refused = 0
        self.group = Group("mail", self.spawn, wanted=wanted, slots=4)

    async def spawn(self, number: int, slots: int) -> FakeProcess:
        if self.refused:
            self.refused -= 1
            raise OSError("too many processes")
        process = FakeProcess(number)
        process.slots = slots
        self.started.append(process)
        return process

    @property
    def active(self) -> list[int]:
        return [child.process.pid for child in self.group.active]


async def test_as_many_run_as_should_and_all_have_their_slots() -> None:
    world = World(3)

    await world.group.tend(0.0)
    world.group.slots = 9
    await world.group.tend(1.0)

    assert world.active == [0, 1, 2]
    assert [process.slots for process in world.started] == [9, 9, 9]


async def test_row_56_fewer_are_wanted_and_the_youngest_finish_what_they_run() -> None:
    world = World(1)
    await world.group.tend(0.0)
    world.group.wanted = 3
    await world.group.tend(1.0)

    world.group.wanted = 1
    await world.group.tend(2.0)

    assert world.active == [0]
    assert [process.signals for process in world.started] == [[], *[[signal.SIGTERM]] * 2]
    assert len(world.group.children) == 3


async def test_one_that_dies_young_is_started_again_after_a_pause_that_grows() -> None:
    world = World(1)
    await world.group.tend(0.0)
    now, waits = 0.0, []
    for _ in range(4):
        world.started[-1].code = 1
        died = now
        count = len(world.started)
        while len(world.started) == count:
            now += 0.25
            await world.group.tend(now)
        waits.append(now - died)

    assert waits == sorted(waits)
    assert waits[-1] >= 4
    assert world.group.deaths == 4


async def test_one_that_lived_long_is_started_again_at_once() -> None:
    world = World(1)
    await world.group.tend(0.0)
    world.started[0].code = -9

    await world.group.tend(100.0)

    assert world.active == [1]


async def test_one_that_ended_in_good_order_did_not_die() -> None:
    """As all do after `broadcaster queue restart`, or at `max_jobs`."""
    world = World(1)
    await world.group.tend(0.0)
    world.started[0].code = 0

    await world.group.tend(100.0)

    assert (world.active, world.group.deaths, world.group.last_code) == ([1], 0, 0)


async def test_one_that_ends_hopelessly_is_given_time_to_be_mended() -> None:
    world = World(1)
    await world.group.tend(0.0)
    world.started[0].code = 78

    await world.group.tend(1.0)
    await world.group.tend(HOPELESS_PAUSE)
    assert world.active == []
    await world.group.tend(1.0 + HOPELESS_PAUSE)
    assert world.active == [1]
    assert world.group.last_code == 78


async def test_a_system_that_refuses_processes_is_asked_again() -> None:
    world = World(1)
    world.refused = 1

    await world.group.tend(0.0)
    assert world.active == []
    await world.group.tend(10.0)
    assert world.active == [1]


async def test_a_rolling_restart_never_has_fewer_than_wanted() -> None:
    world = World(2)
    await world.group.tend(0.0)
    world.group.renew()
    now, fewest = 0.0, 2
    for _ in range(20):
        now += READY_SECONDS / 2
        await world.group.tend(now)
        fewest = min(fewest, len(world.active))
        assert len(world.active) <= 3
        for process in world.started:
            if signal.SIGTERM in process.signals:
                process.code = 0

    assert fewest == 2
    assert world.active == [2, 3]
    assert world.group.deaths == 0


async def test_a_new_version_that_dies_leaves_the_old_one_running() -> None:
    world = World(1)
    await world.group.tend(0.0)
    world.group.renew()
    for now in range(1, 60):
        await world.group.tend(float(now))
        world.started[-1].code = 1 if len(world.started) > 1 else None

    assert world.started[0].signals == []
    assert 0 in world.active


async def test_who_asks_twice_for_a_rolling_restart_does_not_lose_the_old_one() -> None:
    """The second request found one more than wanted, and nobody new to wait for."""
    world = World(1)
    await world.group.tend(0.0)
    world.group.renew()
    await world.group.tend(1.0)
    world.group.renew()

    for now in (1.5, 2.0, 0.5 + READY_SECONDS):
        await world.group.tend(now)
    assert world.started[0].signals == [], "its successor has not settled in"
    now = 1.0 + READY_SECONDS
    for _ in range(6):
        await world.group.tend(now)
        for process in world.started:
            process.code = 0 if process.signals else None
        now += READY_SECONDS

    assert world.active == [2], "the one that began in between is replaced, too"
    assert [len(process.signals) for process in world.started] == [1, 1, 0]


async def test_stopping_asks_all_and_starts_none_again() -> None:
    world = World(2)
    await world.group.tend(0.0)

    world.group.stop()
    world.started[0].code = 0
    await world.group.tend(20.0)

    assert world.active == []
    assert len(world.started) == 2


async def test_one_that_does_not_stop_is_ended_when_its_time_is_over() -> None:
    """Stopped ones and such as are stuck in C would stay for ever, each with its memory."""
    world = World(1)
    world.group.patience = 25.0
    await world.group.tend(0.0)
    world.group.renew()
    await world.group.tend(1.0)
    await world.group.tend(1.0 + READY_SECONDS)
    deaf, new = world.started
    assert deaf.signals == [signal.SIGTERM]

    await world.group.tend(25.0 + READY_SECONDS)
    assert deaf.signals == [signal.SIGTERM]
    for now in (26.0 + READY_SECONDS, 27.0 + READY_SECONDS):
        await world.group.tend(now)
    assert deaf.signals == [signal.SIGTERM, signal.SIGKILL]

    deaf.code = -9
    await world.group.tend(40.0)
    assert (new.signals, world.active, world.group.deaths) == ([], [1], 0)
    assert len(world.group.children) == 1


async def test_one_that_is_replaced_has_the_time_that_it_was_started_with() -> None:
    """It has the grace of its own command line, whatever the settings say by now."""
    world = World(1)
    world.group.patience = 25.0
    await world.group.tend(0.0)
    world.group.patience = 5.0
    world.group.renew()
    for now in (1.0, 1.0 + READY_SECONDS, 25.0 + READY_SECONDS):
        await world.group.tend(now)
    old, _ = world.started
    assert old.signals == [signal.SIGTERM]

    await world.group.tend(26.0 + READY_SECONDS)

    assert old.signals == [signal.SIGTERM, signal.SIGKILL]
    assert [child.patience for child in world.group.active] == [5.0]


async def test_one_too_many_that_does_not_stop_is_ended_too() -> None:
    world = World(2)
    world.group.patience = 25.0
    await world.group.tend(0.0)
    world.group.wanted = 1

    for now in (1.0, 26.0):
        await world.group.tend(now)

    assert sorted(len(process.signals) for process in world.started) == [0, 2]
