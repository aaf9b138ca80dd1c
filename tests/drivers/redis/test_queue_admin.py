"""Queues handled from outside: pause, clear, cancel, and what they say of themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.queue import (
    Done,
    Fail,
    Hold,
    NewJob,
    QueueSizes,
    Retry,
    StepReply,
    StepRequest,
    Unique,
)
from broadcaster.contracts.queue_admin import MAX_CLASSES, bin_of
from broadcaster.drivers.redis import queue_admin, scripts_loader
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.drivers.redis.scripts_loader import run
from tests.drivers.redis.queue_world import QueueWorld, job_id, numbers

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis


@pytest.fixture
def world(clients: RedisClients) -> QueueWorld:
    return QueueWorld(clients)


@pytest.fixture
def admin(clients: RedisClients) -> RedisQueueAdmin:
    return RedisQueueAdmin(clients)


async def test_row_45_a_paused_queue_reserves_nothing_but_settles(
    world: QueueWorld, admin: RedisQueueAdmin
) -> None:
    await world.push(1, 2)
    (job,) = await world.reserve()
    await asyncio.to_thread(admin.pause, "q", by="Ada")

    reply = await world.step(Done(job.id, job.token), reserve=5)

    assert (reply.paused, reply.reserved, reply.refused, reply.ready) == (True, [], [], 1)
    pause = await asyncio.to_thread(admin.paused, "q")
    assert pause is not None
    assert (pause.by, pause.until) == ("Ada", None)
    assert pause.since > 1_700_000_000
    assert (await world.queue.asizes("q")).paused


async def test_a_resumed_queue_wakes_a_waiting_worker(
    world: QueueWorld, admin: RedisQueueAdmin
) -> None:
    await world.push(1)
    await asyncio.to_thread(admin.pause, "q")
    assert await world.queue.wait("q", 1.0)
    assert (await world.step(reserve=1)).reserved == []
    assert not await world.queue.wait("q", 0.01)

    assert await asyncio.to_thread(admin.resume, "q")

    assert await world.queue.wait("q", 1.0) == "q"
    assert numbers(await world.reserve()) == [1]
    assert not await asyncio.to_thread(admin.resume, "q")
    assert await asyncio.to_thread(admin.paused, "q") is None


async def test_a_pause_ends_by_itself(world: QueueWorld, admin: RedisQueueAdmin) -> None:
    await world.push(1)
    await asyncio.to_thread(admin.pause, "q", 30)

    reply = await world.step(reserve=1)
    assert reply.paused
    assert reply.next_in == pytest.approx(30, abs=5)
    await asyncio.to_thread(admin.pause, "q", 0.1)

    def resumed(reply: StepReply) -> bool:
        return not reply.paused

    assert numbers((await world.until(resumed, reserve=1)).reserved) == [1]
    assert await asyncio.to_thread(admin.paused, "q") is None
    assert not (await world.queue.asizes("q")).paused


async def test_clearing_forgets_what_waits_and_nothing_else(
    clients: RedisClients, admin: RedisQueueAdmin
) -> None:
    world = QueueWorld(clients, lease=0.25)
    await world.push(*range(2_500))
    held, failed, retried = await world.reserve(3, lease=30.0)
    await world.step(Retry(retried.id, retried.token, 50))
    await world.step(Fail(failed.id, failed.token, "exception", "x", 1))
    await world.reserve(1)
    await world.lapse()  # a suspect
    await world.push(9_000, delay=60)

    assert await asyncio.to_thread(admin.clear, "q") == 2_499

    assert await world.queue.asizes("q") == QueueSizes(held=1, failed=1)
    assert (await world.step(Done(held.id, held.token))).refused == []
    assert await asyncio.to_thread(admin.clear, "q") == 0


async def test_a_job_is_cancelled_wherever_it_waits(
    clients: RedisClients, admin: RedisQueueAdmin
) -> None:
    world = QueueWorld(clients)
    await world.push(1, 2)
    await world.push(3, delay=60)
    unique = NewJob(job_id(4), "q", b"x", unique=Unique("k", 600))
    await world.queue.apush([unique])

    ids = [job_id(number) for number in (1, 3, 4, 9)]
    assert await asyncio.to_thread(admin.cancel, "q", ids) == 3

    assert await world.queue.asizes("q") == QueueSizes(ready=1)
    again = NewJob(job_id(5), "q", b"x", unique=Unique("k", 600))
    assert (await world.queue.apush([again])).new == [again.id]
    assert numbers(await world.reserve(5)) == [2, 5]


@pytest.mark.parametrize("in_loop", [True, False])
async def test_a_job_is_cancelled_in_whatever_queue_it_waits(
    clients: RedisClients, admin: RedisQueueAdmin, *, in_loop: bool
) -> None:
    queue = RedisQueue(clients)
    both = [NewJob(job_id(1), lane, b"x") for lane in ("q#3", "q#4")]
    many = [NewJob(job_id(number), "other", b"x") for number in range(2, 252)]
    await queue.apush([*both, *many, NewJob(job_id(300), "q", b"x")])
    ids = [job_id(number) for number in range(290)]

    if in_loop:
        count = await admin.acancel(None, ids)
    else:
        count = await asyncio.to_thread(admin.cancel, None, ids)

    assert count == 252
    sizes = [await queue.asizes(name) for name in ("q", "q#3", "q#4", "other")]
    assert sizes == [QueueSizes(ready=1), QueueSizes(), QueueSizes(), QueueSizes()]


async def test_the_more_queues_there_are_the_fewer_jobs_are_looked_for_in_one_call(
    clients: RedisClients, admin: RedisQueueAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def spying(client: Any, commands: Any) -> list[Any]:
        looks.append(len(commands))
        return scripts_loader.read(client, commands)

    monkeypatch.setattr(queue_admin, "read", spying)
    monkeypatch.setattr(queue_admin, "_LOOKS", 12)
    jobs = [NewJob(job_id(number), f"q{number}", b"x") for number in range(5)]
    await RedisQueue(clients).apush(jobs)

    assert await asyncio.to_thread(admin.cancel, None, [job.id for job in jobs]) == 5
    assert looks == [10, 10, 5]


async def test_jobs_far_back_in_a_long_queue_are_cancelled_in_several_calls(
    world: QueueWorld, admin: RedisQueueAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of which holds up Redis for long."""
    answers: list[Any] = []

    def spying(*args: Any, **options: Any) -> Any:
        answers.append(run(*args, **options))
        return answers[-1]

    monkeypatch.setattr(queue_admin, "run", spying)
    many = [f"{number}" for number in range(70_001)]
    for _ in range(3):
        await world.clients.aio.rpush(world.key("ready"), *many)
    await world.push(1, 2, 3)

    ids = [job_id(number) for number in (1, 2, 9, 3)]
    count = await asyncio.to_thread(admin.cancel, "q", ids)

    assert (count, answers) == (3, [[1, 1], [1, 1], [1, 1]])
    assert await world.raw("LLEN", world.key("ready")) == 3 * len(many)


async def test_a_cancelled_job_that_runs_ends_and_is_not_tried_again(
    world: QueueWorld, admin: RedisQueueAdmin
) -> None:
    await world.push(1)
    (job,) = await world.reserve()

    assert await asyncio.to_thread(admin.cancel, "q", [job.id]) == 1

    held = await asyncio.to_thread(world.queue.extend, "q", {job.id: job.token}, 30)
    assert held == {job.id: Hold.GONE}
    assert (await world.step(Retry(job.id, job.token))).refused == [job.id]
    assert await world.queue.asizes("q") == QueueSizes()
    assert await world.push(1) == 1


async def test_row_44_rates_tell_what_came_and_went(
    world: QueueWorld, admin: RedisQueueAdmin
) -> None:
    await world.push(*range(60))
    jobs = await world.reserve(30)
    await world.step(*(Done(job.id, job.token) for job in jobs[:20]))
    await world.step(*(Fail(job.id, job.token, "exception", "x", 1) for job in jobs[20:]))

    stats = await asyncio.to_thread(admin.stats, "q")

    minute, five, quarter = stats.rates
    assert (minute.seconds, five.seconds, quarter.seconds) == (60, 300, 900)
    # A minute is made of the present bucket and the three before it.
    assert 60 <= minute.arrived <= 80
    assert minute.done == pytest.approx(minute.arrived / 3)
    assert minute.failed == pytest.approx(minute.arrived / 6)
    assert quarter.arrived == pytest.approx(4, abs=0.1)


async def test_runtimes_are_told_per_class(admin: RedisQueueAdmin) -> None:
    await admin.tell("q", {("Mail", bin_of(0.1)): 90, ("Mail", bin_of(2.0)): 10})
    await admin.tell("q", {("Report", bin_of(60.0)): 1, ("Mail", bin_of(0.1)): 100})
    await admin.tell("q", {})

    mail, report = (await asyncio.to_thread(admin.stats, "q")).runtimes

    assert (mail.job, mail.ended, report.job, report.ended) == ("Mail", 200, "Report", 1)
    assert mail.p50 == pytest.approx(0.1, rel=0.25)
    assert mail.p95 == pytest.approx(0.1, rel=0.25)
    assert report.p95 == pytest.approx(60.0, rel=0.25)


async def test_runtimes_of_too_many_classes_are_told_together(admin: RedisQueueAdmin) -> None:
    many = {(f"Class{number}", 0): 1 for number in range(MAX_CLASSES + 50)}

    await admin.tell("q", many)

    runtimes = (await asyncio.to_thread(admin.stats, "q")).runtimes
    assert (runtimes[0].job, runtimes[0].ended) == ("other", 50)
    assert len(runtimes) == MAX_CLASSES + 1


async def test_a_queue_that_nobody_used_says_so(admin: RedisQueueAdmin) -> None:
    stats = await asyncio.to_thread(admin.stats, "unused")

    assert all(rate[1:] == (0.0, 0.0, 0.0) for rate in stats.rates)
    assert stats.runtimes == []


async def test_lanes_are_paused_one_by_one(clients: RedisClients, admin: RedisQueueAdmin) -> None:
    world = QueueWorld(clients)
    await world.queue.apush([NewJob(job_id(1), "b#3", b"x"), NewJob(job_id(2), "b#4", b"x")])
    await asyncio.to_thread(admin.pause, "b#3")

    paused = await world.queue.step(StepRequest(queue="b#3", reserve=1, ordered=True))
    other = await world.queue.step(StepRequest(queue="b#4", reserve=1, ordered=True))

    assert (paused.paused, paused.reserved) == (True, [])
    assert (other.paused, numbers(other.reserved)) == (False, [2])


async def test_sizes_tell_how_long_the_next_job_has_been_ready(world: QueueWorld) -> None:
    assert (await world.queue.asizes("q")).oldest is None
    await world.push(1, 2)
    assert (await world.queue.asizes("q")).oldest == pytest.approx(0.0, abs=1)
    ((field, _),) = (await world.raw("HGETALL", world.key("stats"))).items()
    early = int(field[1:]) - 8
    await world.raw("HSET", world.key("stats"), f"r{early}", "5", field, "1")

    oldest = (await world.queue.asizes("q")).oldest

    assert oldest is not None
    assert 7 * 15 <= oldest <= 9 * 15
    await world.reserve(2)
    assert (await world.queue.asizes("q")).oldest is None


async def test_counts_of_more_than_an_hour_are_summed_and_then_forgotten(
    world: QueueWorld,
) -> None:
    now = await world.redis_ms() // 15_000
    old, ancient = now - 300, (now // 60) - 700
    await world.raw("HSET", world.key("stats"), f"r{old}", "5", f"d{old}", "3", f"R{ancient}", "9")

    await world.push(1)

    kept = await world.raw("HGETALL", world.key("stats"))
    assert {key.decode()[0]: int(count) for key, count in kept.items()} == {"r": 1, "R": 5}
    assert f"R{old // 60}".encode() in kept


async def test_queues_are_looked_at_page_by_page(
    clients: RedisClients, admin: RedisQueueAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"q{number}" for number in range(7)]
    for number, name in enumerate(names):
        jobs = [NewJob(job_id(100 * number + at), name, b"x") for at in range(number)]
        await RedisQueue(clients).apush(jobs)
    await admin.apause("q5", by="Ada")
    await admin.tell("q6", {("shop.Mail", bin_of(1.0)): 2})
    trips: list[int] = []

    def counting(client: Any, commands: Any) -> list[Any]:
        trips.append(len(commands))
        return scripts_loader.read(client, commands)

    monkeypatch.setattr(queue_admin, "STATES_PAGE", 3)
    monkeypatch.setattr(queue_admin, "read", counting)
    states = await asyncio.to_thread(admin.states, names)

    assert len(trips) == 3
    assert [state.sizes.ready for state in states] == list(range(7))
    assert [state.sizes.paused for state in states] == [name == "q5" for name in names]
    assert [state.pause and state.pause.by for state in states] == [*[None] * 5, "Ada", None]
    assert [len(state.stats.runtimes) for state in states] == [*[0] * 6, 1]
    assert [bool(state.stats.rates[0].arrived) for state in states] == [False, *[True] * 6]
    assert await asyncio.to_thread(admin.states, []) == []


async def test_jobs_of_a_queue_are_counted_with_those_in_its_lanes(
    clients: RedisClients, admin: RedisQueueAdmin
) -> None:
    queue = RedisQueue(clients)
    lanes = [NewJob(job_id(number), f"q#{number}", b"x") for number in (0, 3, 255)]
    later = NewJob(job_id(300), "q#3", b"x", delay=60.0)
    await queue.apush([*lanes, later, NewJob(job_id(301), "q", b"x")])
    await queue.step(StepRequest(queue="q#0", reserve=1, worker="w"))
    await queue.apush([NewJob(job_id(302), "q2", b"x"), NewJob(job_id(303), "q2#0", b"x")])
    whole = QueueSizes(ready=3, delayed=1, held=1)

    assert [await queue.asizes("q"), await asyncio.to_thread(queue.sizes, "q")] == [whole, whole]
    assert (await queue.asizes("q")).oldest is not None
    assert await queue.asizes("q#3") == QueueSizes(ready=1, delayed=1)
    assert await asyncio.to_thread(queue.sizes, "q#0") == QueueSizes(held=1)
    assert await queue.asizes("none") == QueueSizes()


async def test_a_lane_that_is_paused_is_not_its_queue(
    clients: RedisClients, admin: RedisQueueAdmin
) -> None:
    queue = RedisQueue(clients)
    await queue.apush([NewJob(job_id(1), "q#3", b"x")])

    await admin.apause("q#3")
    alone = [(await queue.asizes(name)).paused for name in ("q", "q#3")]
    await admin.apause("q")

    assert alone == [False, True]
    assert (await queue.asizes("q")).paused
