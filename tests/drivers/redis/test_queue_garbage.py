"""What others write into the hashes of a queue stops neither its steps nor what reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broadcaster.contracts.queue import Fail, Link, NewJob, Postpone, Retry, Unique
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.drivers.redis.queue_wire import MAX_LINE, MAX_WORD, decode_note, encode_note
from broadcaster.errors import DriverRefused
from tests.drivers.redis.queue_world import QueueWorld, job_id, numbers

pytestmark = pytest.mark.redis

GARBAGE = ["abc", "1.5", "-9", "1:2:3:4", "9" * 5_000, "nan", "inf", "1e999", "\x00"]
MOMENTS = ("seen", "reap_after", "lane_wait", "drain_until", "paused_until", "paused_since")


@pytest.fixture(params=[False, True], ids=["plain", "ordered"])
def world(request: pytest.FixtureRequest) -> QueueWorld:
    clients = request.getfixturevalue("clients")
    return QueueWorld(clients, ordered=request.param)


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_counts_of_a_job_that_are_no_numbers_begin_anew(
    world: QueueWorld, garbage: str
) -> None:
    await world.push(1)
    for field in (job_id(1), f"{job_id(1)}:e", f"{job_id(1)}:p"):
        await world.raw("HSET", world.key("attempts"), field, garbage)
    await world.raw("HSET", world.key("crashes"), job_id(1), garbage)

    (job,) = await world.reserve(idle=True)
    assert max(job.attempts, job.exceptions, job.postponed) <= 3
    await world.step(Retry(job.id, job.token, exception=True))
    reply = await world.until(lambda reply: reply.reserved, reserve=1, idle=True)

    (job,) = reply.reserved
    assert abs(job.attempts) <= 8
    reply = await world.step(Postpone(job.id, job.token, 0.001))
    assert reply.refused == []


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_moments_and_tokens_that_are_no_numbers_count_as_none(
    world: QueueWorld, garbage: str
) -> None:
    await world.push(1, 2)
    for field in ("token", *MOMENTS):
        await world.raw("HSET", world.key("meta"), field, garbage)

    (job,) = await world.reserve()
    sizes = await world.queue.asizes("q")
    (settled,) = [await world.step(Retry(job.id, job.token))]

    assert (numbers([job]), settled.refused, sizes.paused) == ([1], [], False)
    assert await asyncio.to_thread(RedisQueueAdmin(world.clients).paused, "q") is None
    assert (await world.queue.survey("q", [0], "w")).share == 1


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_statistics_that_are_no_numbers_count_nothing(
    world: QueueWorld, garbage: str
) -> None:
    bucket = await world.redis_ms() // 15_000
    for letter in "rdf":
        for at in (bucket, bucket + 1, bucket - 300, 1):
            await world.raw("HSET", world.key("stats"), f"{letter}{at}", garbage)
    await world.raw("HSET", world.key("stats"), f"R{bucket // 60}", garbage)
    for number in (0, 1):
        slot = {"slot": garbage, "mail|3": garbage, f"mail|{garbage}": "7"}
        for field, value in slot.items():
            await world.raw("HSET", world.key(f"runtimes:{number}"), field, value)
    admin = RedisQueueAdmin(world.clients)

    await world.push(1)
    stats = await asyncio.to_thread(admin.stats, "q")
    await admin.tell("q", {("mail", 3): 2})
    told = await asyncio.to_thread(admin.stats, "q")

    assert stats.runtimes == []
    assert [(each.job, each.ended) for each in told.runtimes] == [("mail", 2)]
    assert (await world.queue.asizes("q")).ready == 1


async def test_a_step_looks_at_so_many_ids_without_a_job_and_goes_on_at_once(
    world: QueueWorld,
) -> None:
    dead = [f"dead {number}" for number in range(2_500)]
    await world.clients.aio.rpush(world.key("ready"), *dead)
    await world.push(1)

    first = await world.step(reserve=1)
    reply = await world.until(lambda reply: reply.reserved, reserve=1, pause=0)

    assert (first.reserved, first.next_in, first.ready) == ([], 0, 1_501)
    assert numbers(reply.reserved) == [1]


@pytest.mark.parametrize("score", ["inf", "-inf", "1e300"])
async def test_failed_jobs_with_moments_that_cannot_be_are_read(
    world: QueueWorld, score: str
) -> None:
    await world.push(1)
    await world.raw("ZADD", world.key("failed"), score, job_id(9))
    await world.raw("HSET", world.key("failed_retried"), job_id(9), "9" * 5_000)

    (job,) = await asyncio.to_thread(RedisFailedJobs(world.clients).find)

    assert 0 <= job.failed_at <= 1e11
    assert job.retried_at == 0


async def test_names_that_are_none_of_queues_are_left_out(world: QueueWorld) -> None:
    await world.push(1)
    names = world.clients.keys.queues("names")
    await world.clients.aio.sadd(names, b"\xff\xfe", "a}b", "\x1b[2J", "", "q#256")

    assert await asyncio.to_thread(world.queue.queues) == ["q"]


def test_a_note_of_anything_can_be_written_and_is_short() -> None:
    word: Any = object()
    note = decode_note(
        encode_note(Fail("a", 1, word, "\ud800" * 9_999, job="\ud800\0", exception="x" * 9_999))
    )

    assert note.reason.startswith("<object object")
    assert (note.job, note.exception) == ("??", "x" * MAX_WORD)
    assert note.error == "?" * MAX_LINE


async def test_what_a_crashed_job_owes_has_a_number_of_tries(world: QueueWorld) -> None:
    await world.push(1)
    await world.raw("HSET", world.key("outbox"), "a", "c" + "9" * 5_000 + ":body")
    await world.raw("ZADD", world.key("outbox_due"), "1", "a")
    await world.raw("HSET", world.key("meta"), "owing", "1")

    (owed,) = (await world.step()).owed

    assert (owed.attempts, owed.given_up) == (0, b"body")


async def test_a_failed_job_that_cannot_be_put_back_is_kept(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()
    await world.step(Fail(job.id, job.token, "exception", "x", 1))
    await world.raw("SET", world.key("ready"), "not ours")
    store = RedisFailedJobs(world.clients)

    with pytest.raises(DriverRefused, match="WRONGTYPE"):
        await asyncio.to_thread(store.retry, [job.id])
    await world.raw("DEL", world.key("ready"))

    kept = await asyncio.to_thread(store.get, job.id)
    assert kept is not None
    assert (kept.body, kept.retried_at) == (b"body 1", None)
    assert await asyncio.to_thread(store.retry, [job.id]) == [job.id]
    assert numbers(await world.reserve()) == [1]


@pytest.mark.parametrize(("key", "delay"), [("ready", 0.0), ("delayed", 0.01)])
async def test_a_push_that_was_refused_in_the_middle_can_be_repeated(
    world: QueueWorld, key: str, delay: float
) -> None:
    link = Link("chain", 1)
    job = NewJob(job_id(1), "q", b"x", delay=delay, unique=Unique("k", 60), link=link)
    await world.raw("SET", world.key(key), "not ours")
    with pytest.raises(DriverRefused, match="WRONGTYPE"):
        await world.queue.apush([job])
    await world.raw("DEL", world.key(key))

    assert (await world.queue.apush([job])).new == [job.id]
    assert (await world.queue.apush([job])).known == [job.id]

    reply = await world.until(lambda reply: reply.reserved, reserve=1)
    assert numbers(reply.reserved) == [1]
