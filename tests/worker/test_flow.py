"""How jobs flow through a worker: pauses, rests, weights, urgency, what follows from jobs."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from broadcaster.contracts.queue import StepRequest
from broadcaster.drivers.redis.fleet import RedisFleet
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.errors import DriverUnavailable
from broadcaster.jobs.job import Job
from broadcaster.protocol.lanes import LANES, lane_names
from broadcaster.protocol.payload import ChainPlace, NextJob, decode_payload, encode_payload
from broadcaster.worker.options import ExitReason
from broadcaster.worker.pulse import Pulse, described
from tests.polling import eventually, eventually_async
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Note, Waiting, gate
from tests.worker.worker_world import broadcast_job

if TYPE_CHECKING:
    from broadcaster.contracts.fleet import WorkerRecord
    from broadcaster.worker.worker import Worker
    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis


async def test_a_paused_worker_finishes_and_takes_nothing_new_until_it_resumes_row_42(
    world: WorkerWorld, seen: list[str]
) -> None:
    gate("a")
    await world.push(Waiting("a"))
    async with world.running() as worker:
        await eventually(lambda: seen)
        worker.pause()
        gate("a").set()
        await world.push(Note("b"))
        await eventually(lambda: "ends a" in seen)
        assert worker.state == "paused"
        assert (await world.sizes()).ready == 1
        worker.resume()
        await eventually(lambda: "b" in seen)


async def test_a_paused_queue_gives_no_jobs_to_any_worker_row_45(
    world: WorkerWorld, seen: list[str]
) -> None:
    admin = RedisQueueAdmin(world.clients)
    await asyncio.to_thread(admin.pause, "default")
    await world.push(Note("a"))
    await world.push(Note("b"), queue="other")

    assert await world.drain(queues=("default", "other")) is ExitReason.EMPTY
    assert seen == ["b"]

    await asyncio.to_thread(admin.resume, "default")
    await world.drain()
    assert seen == ["b", "a"]


async def test_force_takes_jobs_of_paused_queues_row_41(
    world: WorkerWorld, seen: list[str]
) -> None:
    await asyncio.to_thread(RedisQueueAdmin(world.clients).pause, "default")
    await world.push(Note("a"))

    await world.drain(force=True)

    assert seen == ["a"]


async def test_force_takes_broadcasts_and_ordered_jobs_of_paused_queues_row_41(
    world: WorkerWorld,
) -> None:
    admin = RedisQueueAdmin(world.clients)
    for name in ("broadcasts", *lane_names("broadcasts", LANES)):
        await asyncio.to_thread(admin.pause, name)
    await world.push(broadcast_job("a", queue="broadcasts#3"))

    await world.drain()
    assert world.publisher.names == []

    await world.drain(force=True)
    assert world.publisher.names == ["a"]


async def test_a_slot_rests_after_each_job_row_41(world: WorkerWorld, seen: list[str]) -> None:
    await world.push(*(Note(str(number)) for number in range(4)))
    started = time.monotonic()

    await world.drain(concurrency=1, rest=0.15)

    assert len(seen) == 4
    assert time.monotonic() - started >= 0.45


async def test_slots_are_shared_by_weight_under_load_row_39(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(*(Note("mail") for _ in range(60)), queue="mail")
    await world.push(*(Note("low") for _ in range(60)), queue="low")

    weights = {"mail": 3, "low": 1}
    await world.drain(concurrency=4, queues=("mail", "low"), weights=weights, reserve_ahead=0)

    first = Counter(seen[:40])
    assert 8 <= first["low"] <= 12
    assert Counter(seen) == {"mail": 60, "low": 60}


async def test_an_urgent_job_comes_before_all_that_waits_row_39(
    world: WorkerWorld, seen: list[str]
) -> None:
    gate("a")
    await world.push(Waiting("a"), *(Note(f"low {n}") for n in range(20)), queue="low")
    async with world.running(concurrency=1, queues=("high", "low")):
        await eventually(lambda: seen)
        await world.push(Note("high"), queue="high")
        await eventually_async(lambda: _hinted(world))
        gate("a").set()
        await eventually(lambda: len(seen) == 23)

    assert seen[:3] == ["begins a", "ends a", "high"]


async def _hinted(world: WorkerWorld) -> bool:
    """Whether the worker has heard of the job in `high`."""
    line = world.workers[0]._sources[0].main
    return line.hot and not line.hinted


async def test_urgent_jobs_are_served_first_by_several_workers(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(*(Note("low") for _ in range(50)), queue="low")
    await world.push(*(Note("high") for _ in range(50)), queue="high")

    queues = ("high", "low")
    few: dict[str, Any] = {"concurrency": 2, "queues": queues, "reserve_ahead": 4}
    await asyncio.gather(*(world.drain(**few) for _ in range(2)))

    # A worker may have taken a few of the others while the last urgent ones were under way.
    assert seen[:40].count("high") == 40
    assert Counter(seen) == {"high": 50, "low": 50}


async def test_monitors_see_what_a_worker_does_row_59(world: WorkerWorld, seen: list[str]) -> None:
    gate("a")
    await world.push(Waiting("a"))
    fleet = RedisFleet(world.clients)
    async with world.running(label="mail", pool="emails", concurrency=3) as worker:
        pulse = Pulse(fleet, lambda: described(worker, time.monotonic()), worker.restart, 0.05)
        pulse.start()
        await eventually(lambda: seen)
        await eventually_async(lambda: _runs(fleet))
        (record,) = await asyncio.to_thread(fleet.workers)
        gate("a").set()
        await eventually(lambda: worker.running.done == 1)
        await pulse.stop()

    assert (record.name, record.pool, record.slots, record.state) == (
        "mail",
        "emails",
        3,
        "running",
    )
    assert [(each.job, each.queue) for each in record.current] == [("Waiting", "default")]
    assert record.memory > 1_000_000
    assert record.queues == ("broadcasts", "default")
    assert await asyncio.to_thread(fleet.workers) == []


async def _runs(fleet: RedisFleet) -> bool:
    records = await asyncio.to_thread(fleet.workers)
    return any(each.job for record in records for each in record.current)


async def test_all_workers_stop_when_they_are_asked_to_restart_row_42(world: WorkerWorld) -> None:
    fleet = RedisFleet(world.clients)
    await asyncio.to_thread(fleet.restart)  # before they start: it is not meant for them
    running: list[asyncio.Task[ExitReason]] = []
    pulses: list[Pulse] = []
    for _ in range(2):
        worker = world.worker(stop_when_empty=False)
        describe = partial(_describe, worker)
        pulse = Pulse(fleet, describe, worker.restart, 0.05)
        await pulse.beat()
        pulse.start()
        pulses.append(pulse)
        running.append(asyncio.create_task(worker.run()))
    await eventually_async(lambda: _listed(fleet, 2))
    assert not any(task.done() for task in running)

    await asyncio.to_thread(fleet.restart)

    async with asyncio.timeout(10):
        assert await asyncio.gather(*running) == [ExitReason.RESTART_SIGNAL] * 2
    for pulse in pulses:
        await pulse.stop()


def _describe(worker: Worker) -> WorkerRecord:
    return described(worker, time.monotonic())


async def _listed(fleet: RedisFleet, count: int) -> bool:
    return len(await asyncio.to_thread(fleet.workers)) == count


async def test_a_pulse_goes_on_when_it_cannot_be_told(world: WorkerWorld) -> None:
    class Away:
        calls = 0

        async def beat(self, record: WorkerRecord) -> float:
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError("a bug")
            raise DriverUnavailable("away")

        async def leave(self, worker_id: str) -> None:
            raise DriverUnavailable("away")

        def workers(self) -> list[WorkerRecord]:
            return []

        def restart(self) -> float:
            return 0.0

    fleet, worker = Away(), world.worker()
    pulse = Pulse(fleet, lambda: described(worker, time.monotonic()), worker.restart, 0.01)
    pulse.start()
    await eventually(lambda: fleet.calls > 3)

    await pulse.stop()

    assert not worker.restarting


async def test_what_follows_from_a_crashed_job_is_found_out_by_a_worker(
    world: WorkerWorld, seen: list[str]
) -> None:
    made = world.made(Note("a"))
    callback = world.made(Note("caught"))
    place = ChainPlace(
        id="c" * 32, index=0, catch=(NextJob(decode_payload(callback.body), "default"),)
    )
    payload = msgspec.structs.replace(decode_payload(made.body), chain=place)
    await world.push(dataclasses.replace(made, body=encode_payload(payload)))
    await eventually_async(lambda: _crashed(world))

    async with world.running(lease=0.6):
        await eventually(lambda: seen)

    (failed,) = await world.failed()
    assert (failed.id, failed.reason) == (made.id, "crashed")
    assert seen == ["caught"]


class Lingering(Job, name="flow.Lingering"):
    """Its hook takes its time."""

    async def handle(self) -> None: ...

    async def failed(self, error: BaseException) -> None:
        del error
        sample_jobs.seen.append("hook")
        await gate("hook").wait()


async def test_what_follows_from_a_crashed_job_does_not_wait_for_its_hook(
    world: WorkerWorld, seen: list[str]
) -> None:
    """It would be owed again after a moment, and each time the hook would be called."""
    made = world.made(Lingering())
    callback = NextJob(decode_payload(world.made(Note("caught")).body), "default")
    place = ChainPlace(id="c" * 32, index=0, catch=(callback,))
    payload = msgspec.structs.replace(decode_payload(made.body), chain=place)
    await world.push(dataclasses.replace(made, body=encode_payload(payload)))
    await eventually_async(lambda: _crashed(world))

    async with world.running(lease=0.6):
        await eventually(lambda: len(seen) == 2, within=20)
        await eventually_async(lambda: _owes_nothing(world))
        gate("hook").set()

    assert sorted(seen) == ["caught", "hook"]


async def _owes_nothing(world: WorkerWorld) -> bool:
    return not await world.clients.aio.exists(world.clients.keys.queue("default", "outbox"))


async def _crashed(world: WorkerWorld) -> bool:
    """Take the job as a worker does that dies of it, and see whether it was given up."""
    request = StepRequest(queue="default", reserve=1, lease=0.3, max_crashes=1, worker="dead")
    return bool((await world.queue.step(request)).crashed)
