from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.worker.options import WorkerOptions
from broadcaster.worker.room import Room
from broadcaster.worker.source import Source
from broadcaster.worker.waiting import WaitingJobs

if TYPE_CHECKING:
    from broadcaster.worker.running import Running
    from broadcaster.worker.steps import Steps

NOW = 100.0


@dataclass
class Runs:
    """What a worker runs, as far as its room depends on it."""

    free: int = 4
    slots: int = 4
    started: int = 0
    alone: bool = False
    blamable: bool = False
    ahead: WaitingJobs = field(default_factory=lambda: WaitingJobs(0))


@dataclass
class Drains:
    drain_until: float = 0.0


class World:
    """A worker of the queues high and low, both of which may have jobs."""

    def __init__(self, ordered: tuple[str, ...] = (), **options: Any) -> None:
        self.runs, self.drains, self.rests = Runs(), Drains(), False
        given = WorkerOptions(queues=("high", "low"), **options)
        self.sources = [
            Source(name, rank=rank, ordered=name in ordered, lanes=0)
            for rank, name in enumerate(given.queues)
        ]
        self.high, self.low = (source.main for source in self.sources)
        self.room = Room(
            given,
            self.sources,
            cast("Running", self.runs),
            cast("Steps", self.drains),
            lambda: self.rests,
        )


def test_there_is_room_for_as_many_jobs_as_slots_are_free() -> None:
    world = World()

    assert world.room.of(world.high, NOW) == 4
    world.runs.free = -1  # fewer slots than run
    assert world.room.of(world.high, NOW) == 0


def test_a_worker_that_rests_has_no_room_and_wants_no_hints() -> None:
    world = World(ordered=("high",))
    world.rests = True

    assert world.room.of(world.high, NOW) == world.room.of(world.low, NOW) == 0
    assert not any(world.room.wants_hints(source, NOW) for source in world.sources)


def test_a_queue_waits_while_a_more_urgent_one_may_have_jobs() -> None:
    world = World()

    assert world.room.of(world.low, NOW) == 0
    world.high.hot = False
    assert world.room.of(world.low, NOW) == 4


def test_what_a_worker_still_may_start_bounds_its_room() -> None:
    world = World(max_jobs=10)
    world.runs.started = 7

    assert world.room.of(world.high, NOW) == 3
    world.runs.started = 11
    assert world.room.of(world.high, NOW) == 0


def test_short_jobs_are_reserved_ahead() -> None:
    world = World()
    world.runs.free, world.runs.ahead = 0, WaitingJobs(50)
    world.runs.ahead.ran(0.0001)

    assert world.room.of(world.high, NOW) == 50


@pytest.mark.parametrize(("alone", "blamable"), [(True, True), (False, True)])
def test_nothing_is_started_beside_a_suspect_or_while_one_waits(
    *, alone: bool, blamable: bool
) -> None:
    world = World()
    world.runs.alone, world.runs.blamable, world.drains.drain_until = alone, blamable, NOW + 1

    assert world.room.of(world.high, NOW) == 0


def test_when_the_suspect_may_have_begun_there_is_room_again() -> None:
    world = World()
    world.runs.blamable, world.drains.drain_until = True, NOW - 1

    assert world.room.of(world.high, NOW) == 4


def test_a_lane_takes_a_batch_beside_the_slots_unless_one_runs() -> None:
    world = World(ordered=("high",), batch=7)
    world.runs.free = 0

    assert world.room.of(world.high, NOW) == 7
    world.high.busy = True
    assert world.room.of(world.high, NOW) == 0


def test_queues_with_weights_have_their_share_of_the_round_and_no_more() -> None:
    world = World(weights={"high": 3, "low": 1})

    world.room.divide()
    shares = [world.room.granted(each, NOW) for each in (world.high, world.low)]
    world.room.taken(world.high, 2)

    assert shares == [3, 1]
    assert world.room.granted(world.high, NOW) == 1


def test_a_queue_that_asks_for_nothing_leaves_its_share_to_the_others() -> None:
    world = World(weights={"high": 3, "low": 1})
    world.high.hot = False

    world.room.divide()

    assert world.room.granted(world.low, NOW) == 4


def test_hints_are_wanted_where_there_is_room_and_nothing_is_known_to_be() -> None:
    world = World()

    assert not world.room.wants_hints(world.sources[0], NOW)
    world.high.hot = False
    assert world.room.wants_hints(world.sources[0], NOW)


@pytest.mark.parametrize(
    ("trusted", "blamable", "idle"),
    [(False, False, True), (False, True, False), (True, True, True)],
)
def test_a_suspect_runs_where_nothing_else_could_be_blamed(
    *, trusted: bool, blamable: bool, idle: bool
) -> None:
    world = World(trusted=trusted)
    world.runs.blamable = blamable

    assert world.room.is_idle(world.high) is idle
