"""The worker on a real queue: running, retrying, stopping, surviving."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import NewJob, QueueSizes, StepReply, StepRequest
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.worker.options import ExitReason
from tests.polling import eventually
from tests.worker.sample_jobs import (
    Blocking,
    Cancelling,
    Failing,
    FailingOnce,
    GivingUp,
    Leaving,
    LeavingInTask,
    LeavingInThread,
    Note,
    NoteInThread,
    TooLong,
    Waiting,
    gate,
)
from tests.worker.worker_world import WorkerWorld, broadcast_job

if TYPE_CHECKING:
    from tests.faults import FaultyServer

pytestmark = pytest.mark.redis


async def test_async_and_sync_jobs_are_run(world: WorkerWorld, seen: list[str]) -> None:
    await world.push(Note("a"), NoteInThread("b"), Note("c"))

    assert await world.drain() is ExitReason.EMPTY

    assert sorted(seen) == ["a", "b", "c"]
    assert await world.sizes() == QueueSizes()


async def test_one_slot_runs_jobs_in_order(world: WorkerWorld, seen: list[str]) -> None:
    await world.push(*(Note(str(n)) for n in range(20)))

    await world.drain(concurrency=1)

    assert seen == [str(n) for n in range(20)]


async def test_earlier_queues_come_first(world: WorkerWorld, seen: list[str]) -> None:
    await world.push(Note("low 1"), Note("low 2"), queue="low")
    await world.push(Note("high 1"), Note("high 2"), queue="high")

    await world.drain(concurrency=1, queues=("high", "low"))

    assert seen == ["high 1", "high 2", "low 1", "low 2"]


async def test_a_failing_job_is_tried_again_until_its_tries_are_used_up(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(Failing("x"))

    async with world.running():
        await eventually(lambda: len(seen) == 3)

    (failed,) = await world.failed()
    assert (failed.reason, failed.attempts) == ("exception", 3)
    assert failed.error == "ValueError: x"
    assert await world.sizes() == QueueSizes(failed=1)


async def test_a_retry_that_works_is_the_end_of_it(world: WorkerWorld, seen: list[str]) -> None:
    await world.push(FailingOnce("x"))

    await world.drain()

    assert seen == ["x", "x"]
    assert await world.sizes() == QueueSizes()


async def test_the_worker_gives_tries_to_jobs_that_do_not_say(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(Leaving("exit"))

    await world.drain(tries=2)

    (failed,) = await world.failed()
    assert failed.attempts == 2


async def test_giving_up_uses_no_further_try(world: WorkerWorld, seen: list[str]) -> None:
    await world.push(GivingUp())

    await world.drain()

    (failed,) = await world.failed()
    assert (failed.reason, failed.attempts) == ("job_failed", 1)
    assert seen == ["giving up"]


@pytest.mark.parametrize(
    "job", [Leaving("exit"), Leaving("interrupt"), LeavingInThread(), Cancelling()]
)
async def test_nothing_that_user_code_raises_takes_the_worker_down(
    world: WorkerWorld, seen: list[str], job: Leaving
) -> None:
    await world.push(job, Note("after"))

    assert await world.drain(concurrency=1) is ExitReason.EMPTY

    assert seen == ["after"]
    assert [failed.reason for failed in await world.failed()] == ["exception"]


@pytest.mark.parametrize("how", ["gather", "group", "cancelled"])
async def test_leaving_in_a_task_of_a_job_fails_that_job_only(
    world: WorkerWorld, seen: list[str], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    (job, _) = await world.push(LeavingInTask(how), Note("after"))

    assert await world.drain(concurrency=1) is ExitReason.EMPTY

    assert seen == ["after"]
    assert [failed.reason for failed in await world.failed()] == ["exception"]
    assert f"SystemExit(4) was raised in a task that job {job.id} had started" in caplog.text


async def test_an_async_job_is_cancelled_at_its_timeout(world: WorkerWorld) -> None:
    await world.push(TooLong())

    await world.drain()

    (failed,) = await world.failed()
    assert failed.reason == "timeout"
    assert "0.05 s" in failed.error


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"garbage", "invalid_job"),
        (b"\xff\x00", "invalid_job"),
        (encode_payload(Payload(id="1" * 32, job="nobody.knows")), "unknown_job"),
        (encode_payload(Payload(id="1" * 32, job="Note", data={"text": 7})), "invalid_job"),
        (encode_payload(Payload(id="1" * 32, job="Note", data={})), "invalid_job"),
        (encode_payload(Payload(id="1" * 32, job="os.system")), "unknown_job"),
        (encode_payload(Payload(id="1" * 32, job="broadcaster.broadcast")), "invalid_job"),
    ],
)
async def test_a_body_that_cannot_be_run_goes_straight_to_the_failed(
    world: WorkerWorld, seen: list[str], body: bytes, reason: str
) -> None:
    await world.push(NewJob("1" * 32, "default", body), Note("after"))

    await world.drain(tries=10)

    (failed,) = await world.failed()
    assert (failed.reason, failed.body) == (reason, body)
    assert seen == ["after"]


async def test_a_job_whose_tries_were_used_up_while_it_waited_is_not_started(
    world: WorkerWorld, seen: list[str]
) -> None:
    (job,) = await world.push(Failing("x"))
    key = world.clients.keys.queue("default", "attempts")
    await world.clients.aio.hset(key, job.id, "3")

    await world.drain()

    (failed,) = await world.failed()
    assert failed.reason == "max_attempts"
    assert seen == []


async def test_delayed_jobs_run_when_they_are_due(world: WorkerWorld, seen: list[str]) -> None:
    async with world.running():
        started = time.monotonic()
        await world.push(world.made(Note("later"), delay=0.3), world.made(Note("now")))
        await eventually(lambda: "later" in seen)

    assert seen == ["now", "later"]
    assert time.monotonic() - started >= 0.29


async def test_no_more_than_the_slots_run_at_once(world: WorkerWorld, seen: list[str]) -> None:
    for name in "abc":
        gate(name)
    await world.push(*(Waiting(name) for name in "abc"))

    async with world.running(concurrency=2):
        await eventually(lambda: len(seen) == 2)
        sizes = await world.sizes()
        gate("a").set()
        await eventually(lambda: "begins c" in seen)
        gate("b").set()
        gate("c").set()

    assert sizes == QueueSizes(ready=1, held=2)


async def test_it_stops_after_as_many_jobs_as_it_should(
    world: WorkerWorld, seen: list[str]
) -> None:
    await world.push(*(Note(str(n)) for n in range(5)))

    assert await world.drain(max_jobs=3) is ExitReason.MAX_JOBS

    assert len(seen) == 3
    assert await world.sizes() == QueueSizes(ready=2)


async def test_stopping_finishes_what_runs_and_takes_nothing_new(
    world: WorkerWorld, seen: list[str]
) -> None:
    gate("a")
    await world.push(Waiting("a"), Note("b"))
    worker = world.worker(concurrency=1, stop_when_empty=False)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: seen)

    worker.stop()
    gate("a").set()

    assert await running is ExitReason.INTERRUPTED
    assert seen == ["begins a", "ends a"]
    assert await world.sizes() == QueueSizes(ready=1)


async def test_one_that_ends_by_itself_lets_what_runs_finish_when_it_is_stopped_too(
    world: WorkerWorld, seen: list[str]
) -> None:
    """It is the first signal; only a second one does not wait."""
    gate("a")
    await world.push(Waiting("a"))
    worker = world.worker(max_jobs=1, stop_when_empty=False)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: worker.stopping)

    asked_at = time.monotonic()
    worker.stop()
    await eventually(lambda: worker.ticked > asked_at)
    gate("a").set()

    assert await running is ExitReason.MAX_JOBS
    assert seen == ["begins a", "ends a"]


@pytest.mark.parametrize("how", ["second signal", "end of grace"])
async def test_what_does_not_finish_is_handed_back_uncounted(
    world: WorkerWorld, seen: list[str], how: str
) -> None:
    gate("a")
    await world.push(Waiting("a"))
    worker = world.worker(stop_when_empty=False, grace=0.05 if how == "end of grace" else 60)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: seen)

    worker.stop()
    if how == "second signal":
        worker.stop()

    assert await running is ExitReason.FORCED
    assert seen == ["begins a", "cancelled a"]
    request = StepRequest(queue="default", reserve=1)
    (job,) = (await world.queue.step(request)).reserved
    assert (job.attempts, job.alone) == (0, False)


async def test_a_job_that_blocks_the_event_loop_keeps_its_lease(
    world: WorkerWorld, seen: list[str]
) -> None:
    other = WorkerWorld(RedisClients(world.clients.url, world.clients.prefix))
    await world.push(Blocking(1.5))
    lapsed = 0

    def look() -> int:
        """Step from another thread and loop, as another worker would."""

        async def steps() -> int:
            count = 0
            deadline = time.monotonic() + 1.2
            while time.monotonic() < deadline:
                reply = await other.queue.step(StepRequest(queue="default", lease=0.5))
                count += reply.lapsed
                await asyncio.sleep(0.05)
            await other.clients.aclose()
            return count

        return asyncio.run(steps())

    async with world.running(lease=0.5):
        looking = asyncio.get_running_loop().run_in_executor(None, look)
        await eventually(lambda: seen)
        lapsed = await looking

    assert lapsed == 0


async def test_a_job_that_another_worker_took_is_cancelled(
    world: WorkerWorld, seen: list[str]
) -> None:
    gate("a")
    await world.push(Waiting("a"))

    async with world.running(lease=0.6):
        await eventually(lambda: seen)
        key = world.clients.keys.queue("default", "held")
        (job_id,) = await world.clients.aio.hkeys(key)
        await world.clients.aio.hset(key, job_id, "99")
        await eventually(lambda: "cancelled a" in seen)

    assert await world.sizes() == QueueSizes(held=1)


async def test_a_suspect_runs_alone(world: WorkerWorld, seen: list[str]) -> None:
    gate("a")
    await world.push(Waiting("a"))
    await world.queue.step(StepRequest(queue="default", reserve=1, lease=0.05))
    async with world.running(lease=0.6, concurrency=5):
        await eventually(lambda: "begins a" in seen)
        await world.push(Note("beside"))
        # Long enough for several steps.
        await asyncio.sleep(0.5)
        beside = list(seen)
        gate("a").set()
        await eventually(lambda: "beside" in seen)

    assert beside == ["begins a"]


async def test_jobs_of_an_answer_that_was_lost_are_run_without_waiting_for_the_lease(
    world: WorkerWorld, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, lost = world.queue.step, 0

    async def losing(request: StepRequest) -> StepReply:
        nonlocal lost
        reply = await step(request)
        if reply.reserved and lost < 2:
            lost += 1
            raise DriverUnavailable("the answer came too late")
        return reply

    monkeypatch.setattr(world.queue, "step", losing)
    await world.push(Note("a"), Note("b"))
    await world.push(broadcast_job("c"))

    await world.drain(lease=60)

    assert sorted(seen) == ["a", "b"]
    assert world.publisher.names == ["c"]
    assert lost == 2


async def test_it_survives_a_frozen_and_a_restarted_server(
    redis_server: FaultyServer, caplog: pytest.LogCaptureFixture, seen: list[str]
) -> None:
    caplog.set_level("INFO", "broadcaster.worker")
    clients = RedisClients(redis_server.url)
    world = WorkerWorld(clients)
    try:
        async with world.running(lease=3):
            await world.push(Note("before"))
            await eventually(lambda: "before" in seen)
            redis_server.freeze()
            await eventually(lambda: "queue away" in caplog.text, within=20)
            redis_server.thaw()
            await eventually(lambda: "queue is back" in caplog.text, within=20)
            await world.push(Note("between"))
            await eventually(lambda: "between" in seen, within=20)
            await asyncio.to_thread(redis_server.restart, keep_data=True)
            await _push_when_back(world, Note("after"))
            await eventually(lambda: "after" in seen, within=20)
            await asyncio.to_thread(redis_server.restart, keep_data=False)
            await _push_when_back(world, Note("anew"))
            await eventually(lambda: "anew" in seen, within=20)
    finally:
        redis_server.thaw()
        await clients.aclose()

    assert seen == ["before", "between", "after", "anew"]
    away = [each for each in caplog.records if getattr(each, "event", "") == "queue_away"]
    assert len(away) <= 6  # once per outage and connection, not once per attempt


async def test_a_job_that_ends_during_an_outage_is_settled_after_it(
    redis_server: FaultyServer, seen: list[str]
) -> None:
    clients = RedisClients(redis_server.url)
    world = WorkerWorld(clients)
    gate("a")
    try:
        await world.push(Waiting("a"))
        async with world.running(lease=1.5):
            await eventually(lambda: seen)
            redis_server.freeze()
            gate("a").set()
            await asyncio.sleep(2.5)  # longer than the lease
            redis_server.thaw()
            sizes = None
            deadline = time.monotonic() + 15
            while sizes != QueueSizes() and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
                sizes = await _sizes_when_back(world)
    finally:
        redis_server.thaw()
        await clients.aclose()

    assert sizes == QueueSizes()
    assert seen == ["begins a", "ends a"]


async def _push_when_back(world: WorkerWorld, job: Note) -> None:
    made = world.made(job)
    for _ in range(100):
        try:
            await world.push(made)
        except DriverUnavailable:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the server did not come back")


async def _sizes_when_back(world: WorkerWorld) -> QueueSizes | None:
    try:
        return await world.sizes()
    except DriverUnavailable:
        return None


async def test_a_listener_that_fails_is_reported_and_jobs_are_found_by_ticks(
    world: WorkerWorld,
    seen: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_queue: str, _timeout: float) -> bool:
        raise RuntimeError("no hints today")

    monkeypatch.setattr(world.queue, "wait", broken)
    async with world.running():
        await eventually(lambda: "hints of default failed" in caplog.text)
        await world.push(Note("a"))
        await eventually(lambda: seen == ["a"])

    assert "no hints today" in caplog.text
