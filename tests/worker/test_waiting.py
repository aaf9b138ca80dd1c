"""Jobs that are reserved ahead of their slot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import QueueSizes, Reserved
from broadcaster.worker.heartbeat import HeldJob
from broadcaster.worker.line import Line
from broadcaster.worker.options import ExitReason
from broadcaster.worker.waiting import REST_SECONDS, STALE_SECONDS, WaitingJobs
from tests.polling import eventually, eventually_async
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Note, Waiting

if TYPE_CHECKING:
    from tests.worker.worker_world import WorkerWorld


def added(waiting: WaitingJobs, job_id: str, rank: int, now: float = 0.0) -> None:
    line = Line("q", ordered=False, rank=rank)
    waiting.add(line, Reserved(job_id, b"", 1, 0, alone=False), HeldJob("q", job_id, 1), now)


def short(limit: int = 4) -> WaitingJobs:
    made = WaitingJobs(limit)
    made.ran(0.001)
    return made


def test_nothing_is_reserved_ahead_before_a_job_was_short() -> None:
    waiting = WaitingJobs(4)
    assert waiting.room(0, 4, 10.0) == 0

    waiting.ran(0.5)
    assert waiting.room(0, 4, 10.0) == 0

    for _ in range(100):
        waiting.ran(0.001)
    assert waiting.room(0, 4, 10.0) == 4


@pytest.mark.parametrize(
    ("mean", "slots", "room"),
    [(0.02, 1, 0), (0.01, 3, 3), (0.002, 1, 5), (0.00001, 1, 100), (0.001, 100, 100)],
)
def test_as_many_wait_as_the_slots_run_in_10_ms_up_to_the_limit(
    mean: float, slots: int, room: int
) -> None:
    waiting = WaitingJobs(100)

    waiting.ran(mean)

    assert waiting.room(0, slots, 10.0) == room


def test_the_most_urgent_queue_comes_first() -> None:
    waiting = short()
    for job_id, rank in [("low 1", 1), ("high 1", 0), ("low 2", 1), ("high 2", 0)]:
        added(waiting, job_id, rank)

    order = [each.reserved.id for _ in range(4) if (each := waiting.pop()) is not None]

    assert order == ["high 1", "high 2", "low 1", "low 2"]
    assert waiting.pop() is None


def test_jobs_of_less_urgent_queues_take_no_room_from_others() -> None:
    waiting = short()
    for number in range(4):
        added(waiting, str(number), rank=1)

    assert waiting.room(1, 4, 10.0) == 0
    assert waiting.room(0, 4, 10.0) == 4


def test_what_waits_too_long_is_handed_back_and_nothing_taken_for_a_while() -> None:
    waiting = short()
    added(waiting, "a", rank=0, now=10.0)
    assert not waiting.stale(10.0 + STALE_SECONDS)
    assert waiting.stale(10.1 + STALE_SECONDS)

    assert [each.reserved.id for each in waiting.take_all(11.0)] == ["a"]

    assert waiting.room(0, 4, 11.0 + REST_SECONDS / 2) == 0
    assert waiting.room(0, 4, 11.0 + REST_SECONDS) == 4


@pytest.mark.redis
async def test_short_jobs_are_reserved_ahead(world: WorkerWorld, seen: list[str]) -> None:
    await world.push(*(Note(str(number)) for number in range(300)))
    brought: list[int] = []
    step = world.queue.step

    async def counting(request):  # type: ignore[no-untyped-def]
        reply = await step(request)
        brought.append(len(reply.reserved))
        return reply

    world.queue.step = counting  # type: ignore[method-assign]
    assert await world.drain(concurrency=1) is ExitReason.EMPTY

    assert seen == [str(number) for number in range(300)]
    assert max(brought) > 1  # into one slot


@pytest.mark.redis
async def test_what_was_reserved_ahead_goes_back_when_a_job_takes_long(
    world: WorkerWorld, seen: list[str]
) -> None:
    sample_jobs.gates["a"] = asyncio.Event()
    jobs = [*(Note(str(number)) for number in range(30)), Waiting("a")]
    await world.push(*jobs, *(Note(f"after {number}") for number in range(10)))

    async with world.running(concurrency=1):
        await eventually(lambda: "begins a" in seen)
        await eventually_async(lambda: _back(world))
        sample_jobs.gates["a"].set()
        await eventually(lambda: len(seen) == 42)

    assert seen[-10:] == [f"after {number}" for number in range(10)]


async def _back(world: WorkerWorld) -> bool:
    sizes = await world.sizes()
    return (sizes.ready, sizes.held) == (10, 1)


@pytest.mark.redis
async def test_what_was_reserved_ahead_uses_no_try_at_a_stop(
    world: WorkerWorld, seen: list[str]
) -> None:
    sample_jobs.gates["a"] = asyncio.Event()
    await world.push(*(Note(str(number)) for number in range(5)), Waiting("a"), Note("after"))
    worker = world.worker(concurrency=1, stop_when_empty=False)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: "begins a" in seen)

    worker.stop()
    sample_jobs.gates["a"].set()
    await running

    sizes = await world.sizes()
    assert (sizes.ready, sizes.held) == (1, 0)
    assert "after" not in seen
    assert QueueSizes(ready=1).ready == sizes.ready
