"""Why a worker stops (row 41)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import DriverUnavailable
from broadcaster.worker import memory
from broadcaster.worker.options import ExitReason, WorkerOptions
from broadcaster.worker.stopping import Situation, reason_to_stop
from tests.polling import eventually
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Deaf, FailingOnce, Note, Waiting

if TYPE_CHECKING:
    from broadcaster.contracts.queue import StepReply, StepRequest
    from tests.worker.worker_world import WorkerWorld


@pytest.mark.parametrize(
    ("options", "now", "reason"),
    [
        ({}, Situation(), None),
        ({}, Situation(asked=True), ExitReason.INTERRUPTED),
        ({}, Situation(hung=True), ExitReason.TIMED_OUT),
        ({"max_away": 5.0}, Situation(away=4.9), None),
        ({"max_away": 5.0}, Situation(away=5.0), ExitReason.LOST_CONNECTION),
        ({}, Situation(away=1e6), None),
        ({"memory": 1_000}, Situation(memory=1_000), None),
        ({"memory": 1_000}, Situation(memory=1_001), ExitReason.MEMORY),
        ({}, Situation(memory=10**12), None),
        ({}, Situation(restart=True), ExitReason.RESTART_SIGNAL),
        ({"max_jobs": 3}, Situation(started=2), None),
        ({"max_jobs": 3}, Situation(started=3), ExitReason.MAX_JOBS),
        ({"max_time": 60.0}, Situation(age=59.0), None),
        ({"max_time": 60.0}, Situation(age=60.0), ExitReason.MAX_TIME),
        ({}, Situation(empty=100.0), None),
        ({"stop_when_empty": True}, Situation(empty=0.0), ExitReason.EMPTY),
        ({"stop_when_empty": True}, Situation(empty=None), None),
        ({"stop_when_empty_for": 3.0}, Situation(empty=2.9), None),
        ({"stop_when_empty_for": 3.0}, Situation(empty=3.0), ExitReason.EMPTY),
        ({"stop_when_empty_for": 3.0}, Situation(empty=None), None),
    ],
)
def test_each_reason_holds_at_its_limit_row_41(
    options: dict[str, Any], now: Situation, reason: ExitReason | None
) -> None:
    assert reason_to_stop(WorkerOptions(**options), now) is reason


def test_every_reason_has_its_exit_code() -> None:
    codes = {reason.value: reason.exit_code for reason in ExitReason}

    assert codes == {
        "interrupted": 0,
        "forced": 1,
        "empty": 0,
        "max_jobs": 0,
        "max_time": 0,
        "memory": 12,
        "restart_signal": 0,
        "timed_out": 1,
        "lost_connection": 69,
    }


def test_the_memory_of_this_process_is_known() -> None:
    assert 5_000_000 < memory.resident_bytes() < 50_000_000_000


def test_where_memory_cannot_be_read_the_peak_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATM", Path("/no/such/file"))
    assert memory.resident_bytes() > 5_000_000

    monkeypatch.setattr(memory, "resource", None)
    assert memory.resident_bytes() == 0


redis = pytest.mark.redis


@redis
async def test_it_finishes_what_runs_and_stops_after_its_time(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(Note("a"))

    assert await world.drain(stop_when_empty=False, max_time=0.3) is ExitReason.MAX_TIME
    assert seen == ["a"]


@redis
async def test_it_stops_when_its_process_takes_too_much_memory(world: WorkerWorld) -> None:
    assert await world.drain(stop_when_empty=False, memory=1_000_000) is ExitReason.MEMORY


@redis
@pytest.mark.parametrize("when", ["after the first look", "before the last look"])
@pytest.mark.parametrize("weights", [None, {"high": 2}])
async def test_it_waits_for_jobs_as_long_as_it_should(
    world: WorkerWorld,
    seen: list[str],
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    weights: dict[str, int] | None,
) -> None:
    """It looks once more at the end, for a hint may be on its way."""
    queues, waits = ("high", "low"), {"stop_when_empty": False, "stop_when_empty_for": 0.3}
    # So long between two looks that only the last one, and hints, can bring the job.
    worker = world.worker(
        queues=queues, weights=weights, concurrency=1, sleep=60, lease=600, **waits
    )
    step = world.queue.step
    looks: list[StepReply] = []

    async def looking(request: StepRequest) -> StepReply:
        if request.queue != "low" or not request.reserve:
            return await step(request)
        if len(looks) == 1 and when == "before the last look":
            await world.push(Note("late"), queue="low")
        looks.append(await step(request))
        if len(looks) == 1 and when == "after the first look":
            await world.push(Note("late"), queue="low")
        return looks[-1]

    monkeypatch.setattr(world.queue, "step", looking)

    assert await worker.run() is ExitReason.EMPTY
    assert seen == ["late"]


@redis
async def test_it_stops_when_all_are_asked_to_restart(world: WorkerWorld, seen: list[str]) -> None:
    sample_jobs.gates["a"] = asyncio.Event()
    await world.push(Waiting("a"))
    worker = world.worker(stop_when_empty=False)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: seen)

    worker.restart()
    sample_jobs.gates["a"].set()

    assert await running is ExitReason.RESTART_SIGNAL
    assert seen == ["begins a", "ends a"]


@redis
async def test_it_stops_when_the_queue_is_away_for_too_long(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_request: StepRequest) -> StepReply:
        raise DriverUnavailable("away")

    monkeypatch.setattr(world.queue, "step", away)

    assert await world.drain(max_away=0.3) is ExitReason.LOST_CONNECTION


@redis
@pytest.mark.parametrize("tries", [1, 2])
async def test_as_many_jobs_of_a_lane_are_run_as_a_worker_may_begin(
    world: WorkerWorld, seen: list[str], tries: int
) -> None:
    """Also where the first one is to run again, and what is behind it goes back with it."""
    notes = [Note(str(number)) for number in range(9)]
    await world.push(FailingOnce("first"), *notes, queue="lane")

    reason = await world.drain(
        queues=("lane",), ordered=frozenset({"lane"}), tries=tries, max_jobs=7
    )

    assert (reason, len(seen)) == (ExitReason.MAX_JOBS, 7)


@redis
async def test_a_worker_that_cannot_settle_its_jobs_ends_all_the_same(
    world: WorkerWorld, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many queues they are of, each of which is asked in vain for a while."""
    monkeypatch.setattr("broadcaster.worker.worker.LAST_STEP_SECONDS", 0.3)
    queues = tuple(f"q{number}" for number in range(20))
    step, calls = world.queue.step, [0]

    async def unanswered(request: StepRequest) -> StepReply:
        if not request.settlements:
            return await step(request)
        calls[0] += 1
        await asyncio.sleep(0.2)
        raise DriverUnavailable("it did not answer")

    monkeypatch.setattr(world.queue, "step", unanswered)
    for queue in queues:
        await world.push(Note(queue), queue=queue)
    worker = world.worker(queues=queues, concurrency=20, stop_when_empty=False)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: len(seen) == len(queues))

    calls[0] = 0
    worker.stop()

    assert await running is ExitReason.INTERRUPTED
    assert calls[0] < len(queues)


@redis
async def test_a_job_that_ignores_its_timeout_is_settled_and_the_worker_stops_row_4(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(Deaf(), queue="deaf")

    reason = await world.drain(stop_when_empty=False, linger=0.1, queues=("deaf",))

    assert reason is ExitReason.TIMED_OUT
    (failed,) = await world.failed()
    assert (failed.reason, failed.attempts) == ("timeout", 1)
    assert "went on when it was cancelled" in failed.error
    assert seen[0] == "deaf"
