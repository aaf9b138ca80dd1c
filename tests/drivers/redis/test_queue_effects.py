"""What follows from a settlement is done once, whoever dies in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.batches import NewBatch
from broadcaster.contracts.queue import (
    BatchMark,
    Done,
    Fail,
    Link,
    NewJob,
    Push,
    QueueSizes,
    StepRequest,
    Unique,
)
from broadcaster.contracts.settlements import Culprit, Owed, Pushed
from broadcaster.drivers.redis.batches import RedisBatches
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.effects import decode_owed, encode_effects
from broadcaster.errors import DriverRefused
from broadcaster.protocol.payload import Cause, Payload, decode_payload, encode_payload
from tests.drivers.redis.queue_world import QueueWorld, job_id, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.batches import Marked, Moment
    from broadcaster.contracts.queue import Reserved

pytestmark = pytest.mark.redis


@pytest.fixture
def world(clients: RedisClients) -> QueueWorld:
    return QueueWorld(clients)


@pytest.fixture
def brief(clients: RedisClients) -> QueueWorld:
    return QueueWorld(clients, lease=0.25)


def link(number: int, index: int, queue: str = "q") -> Push:
    return Push(NewJob(job_id(number), queue, b"link %d" % index, link=Link("chain", index)))


async def settle(world: QueueWorld, job: Reserved, *effects: Push | BatchMark) -> list[Owed]:
    return list((await world.step(Done(job.id, job.token, effects))).owed)


async def left_to_others(world: QueueWorld) -> None:
    """As if the time for which the outbox leaves an entry to its worker were over."""
    entries = await world.raw("ZRANGE", world.key("outbox_due"), "0", "-1")
    for entry in entries:
        await world.raw("ZADD", world.key("outbox_due"), "1", entry.decode())


async def test_row_18_the_next_link_of_a_chain_is_queued_once(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()

    owed = await settle(world, job, link(2, 1))
    await world.queue.apply("q", owed)
    await world.queue.apply("q", owed)

    (second,) = await world.reserve(5)
    assert (second.id, second.body) == (job_id(2), b"link 1")
    assert await world.raw("EXISTS", world.key("outbox"), world.key("outbox_due")) == 0


async def test_a_link_that_has_run_is_not_run_again(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()
    owed = await settle(world, job, link(2, 1))
    await world.queue.apply("q", owed)
    (second,) = await world.reserve()
    await world.step(Done(second.id, second.token))

    await world.queue.apply("q", owed)
    again = await world.queue.apush([link(2, 1).job, link(3, 0).job])

    assert again.known == [job_id(2), job_id(3)]
    assert await world.queue.asizes("q") == QueueSizes()
    assert (await world.queue.apush([link(3, 2).job])).new == [job_id(3)]


async def test_the_highest_link_of_a_chain_is_remembered_for_a_day(world: QueueWorld) -> None:
    await world.queue.apush([link(2, 1).job])
    (key,) = [name for name in await world.all_names() if ":link:" in name]

    assert 86_300_000 < await world.raw("PTTL", key) <= 86_400_000


async def test_effects_that_are_refused_hold_up_no_others(world: QueueWorld) -> None:
    """A batch that somebody has overwritten must not stop the chains beside it."""
    broken = "0" * 31 + "7"
    await world.raw("SET", world.clients.keys.batch(broken, "meta"), "not ours")
    await world.push(1, 2)
    first, second = await world.reserve(2)
    owed = await settle(world, first, BatchMark(broken, 0))
    owed += await settle(world, second, link(3, 1))

    with pytest.raises(DriverRefused, match="WRONGTYPE"):
        await world.queue.apply("q", owed)

    assert numbers(await world.reserve(5)) == [3]
    (entry,) = await world.raw("HKEYS", world.key("outbox"))
    assert entry.decode().startswith(first.id)


async def test_a_chain_goes_on_in_another_queue(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()

    await world.queue.apply("q", await settle(world, job, link(2, 1, queue="other")))

    reply = await world.queue.step(StepRequest(queue="other", reserve=1))
    assert numbers(reply.reserved) == [2]


async def test_what_a_dead_worker_left_undone_goes_to_another(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()
    await settle(world, job, link(2, 1))  # and dies

    early = await world.step()
    await left_to_others(world)
    late = await world.step(worker="other")
    nobody_else = await world.step(worker="third")

    assert (early.owed, nobody_else.owed) == ([], [])
    assert early.next_in == pytest.approx(3.0, abs=0.5)
    (owed,) = late.owed
    assert owed.effects == (link(2, 1),)
    await world.queue.apply("q", late.owed)
    assert numbers(await world.reserve(5)) == [2]


async def test_a_refused_settlement_owes_nothing(brief: QueueWorld) -> None:
    await brief.push(1)
    (slow,) = await brief.reserve()
    await brief.lapse()
    (again,) = await brief.reserve()

    owed = await settle(brief, slow, link(2, 1))

    assert owed == []
    assert await brief.raw("EXISTS", brief.key("outbox")) == 0
    assert again.id == slow.id


async def test_row_19_a_failed_link_queues_what_catches_it(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()
    catch = Push(NewJob(job_id(9), "q", b"catch", link=Link("chain:catch")))

    reply = await world.step(Fail(job.id, job.token, "exception", "x", 1, effects=(catch,)))
    await world.queue.apply("q", reply.owed)
    await world.queue.apply("q", reply.owed)

    assert numbers(await world.reserve(5)) == [9]
    assert (await world.queue.asizes("q")).failed == 1


async def test_the_body_of_a_job_that_the_store_fails_goes_to_a_worker(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()
    await brief.reserve()

    reply = await brief.until(lambda reply: reply.crashed, max_crashes=1)

    (owed,) = reply.owed
    assert (owed.id, owed.given_up, owed.effects) == (job_id(1), b"body 1", ())
    await left_to_others(brief)
    (again,) = (await brief.step()).owed
    assert again == owed
    await brief.queue.apply("q", [owed._replace(effects=(link(2, 0),))])
    assert numbers(await brief.reserve(5)) == [2]
    await left_to_others(brief)
    assert (await brief.step()).owed == []


async def test_row_21_callbacks_of_a_batch_are_queued_once(world: QueueWorld) -> None:
    batches = RedisBatches(world.clients)
    moments: tuple[Moment, ...] = ("then", "catch", "finally")
    callbacks = {
        moment: [NewJob(job_id(90 + at), "q", moment.encode(), link=Link(f"b:{moment}"))]
        for at, moment in enumerate(moments)
    }
    await batches.acreate(NewBatch(id=job_id(7), total=2, callbacks=callbacks))
    await world.push(1, 2)
    one, two = await world.reserve(2)
    first = await settle(world, one, BatchMark(job_id(7), 0))
    second = await settle(world, two, BatchMark(job_id(7), 1))

    for _ in range(3):
        await world.queue.apply("q", second)
        await world.queue.apply("q", first)

    bodies = [job.body for job in await world.reserve(9)]
    assert bodies == [b"then", b"finally"]
    record = await batches.afind(job_id(7))
    assert record is not None
    assert (record.pending, record.failed, record.finished) == (0, 0, True)


async def test_row_22_who_did_not_fail_leaves_the_callback_to_who_did(world: QueueWorld) -> None:
    """Between a mark and its callback others mark their jobs; only one needs to call back."""
    batches = RedisBatches(world.clients)
    payload = Payload(id=job_id(90), job="alarm", cause=Cause(batch=job_id(7)))
    alarm = NewJob(job_id(90), "q", encode_payload(payload), link=Link("b:catch"))
    new = NewBatch(id=job_id(7), total=3, allow_failures=True, callbacks={"catch": [alarm]})
    await batches.acreate(new)
    await world.push(1, 2)
    one, two = await world.reserve(2)
    culprit = Culprit("mail", job_id(1), "ValueError: boom")
    failed = await settle(world, one, BatchMark(job_id(7), 0, failed=True, culprit=culprit))
    done = await settle(world, two, BatchMark(job_id(7), 1))
    await batches.amark(job_id(7), 0, failed=True, culprit=culprit)  # its worker has come so far

    await world.queue.apply("q", done)
    assert await world.reserve(9) == []
    await world.queue.apply("q", failed)
    await world.queue.apply("q", failed)

    (called,) = await world.reserve(9)
    told = Cause(batch=job_id(7), job="mail", job_id=job_id(1), error="ValueError: boom")
    assert decode_payload(called.body).cause == told


async def test_row_22_two_workers_that_see_failures_at_once_name_the_first(
    world: QueueWorld, redis_url: str
) -> None:
    """The second one calls back before the first one, which has counted its failure, comes to."""
    one, two = (QueueWorld(RedisClients(redis_url, world.clients.prefix)) for _ in range(2))
    payload = Payload(id=job_id(90), job="alarm", cause=Cause(batch=job_id(7)))
    alarm = NewJob(job_id(90), "q", encode_payload(payload), link=Link("b:catch"))
    new = NewBatch(id=job_id(7), total=2, allow_failures=True, callbacks={"catch": [alarm]})
    await RedisBatches(world.clients).acreate(new)
    first, second = (
        Owed(f"{job_id(n)}:1", (BatchMark(job_id(7), n, failed=True, culprit=culprit(n)),))
        for n in (0, 1)
    )
    marked, called = asyncio.Event(), asyncio.Event()

    async def late(jobs: Sequence[NewJob]) -> Pushed:
        marked.set()
        await called.wait()
        return await one.queue.apush(jobs)

    async def hurry() -> None:
        await marked.wait()
        await two.queue.apply("q", [second])
        called.set()

    async with asyncio.timeout(10):
        await asyncio.gather(one.queue.apply("q", [first], late), hurry())

    (told,) = await world.reserve(9)
    cause = Cause(batch=job_id(7), job="mail", job_id=job_id(0), error="ValueError: 0")
    assert decode_payload(told.body).cause == cause
    for each in (one, two):
        await each.clients.aclose()


async def test_row_22_of_failures_at_the_same_time_the_one_that_was_counted_first_is_named(
    world: QueueWorld, redis_url: str
) -> None:
    one, two = (RedisClients(redis_url, world.clients.prefix) for _ in range(2))
    alarm = NewJob(job_id(90), "q", b"{}", link=Link("b:catch"))
    new = NewBatch(id=job_id(7), total=10, allow_failures=True, callbacks={"catch": [alarm]})
    await RedisBatches(world.clients).acreate(new)

    async def mark(clients: RedisClients, indices: range) -> list[tuple[int, Marked]]:
        batches = RedisBatches(clients)
        return [
            (n, await batches.amark(job_id(7), n, failed=True, culprit=culprit(n))) for n in indices
        ]

    found = await asyncio.gather(mark(one, range(0, 10, 2)), mark(two, range(1, 10, 2)))

    replies = [*found[0], *found[1]]
    (first,) = [n for n, marked in replies if marked.batch and marked.batch.failed == 1]
    assert {marked.culprit for _, marked in replies} == {culprit(first)}
    for clients in (one, two):
        await clients.aclose()


def culprit(number: int) -> Culprit:
    return Culprit("mail", job_id(number), f"ValueError: {number}")


async def test_many_settlements_with_and_without_effects_share_a_step(world: QueueWorld) -> None:
    await world.push(*range(5))
    jobs = await world.reserve(5)
    settled = [
        Done(job.id, job.token, (link(10 + at, at),) if at % 2 else ())
        for at, job in enumerate(jobs)
    ]

    reply = await world.step(*settled)

    assert [owed.effects for owed in reply.owed] == [(link(11, 1),), (link(13, 3),)]
    stored = await world.raw("HGETALL", world.key("outbox"))
    entries = {key.decode(): decode_owed(key.decode(), value) for key, value in stored.items()}
    assert list(entries.values()) == list(reply.owed)


async def test_row_27_a_unique_job_is_queued_once_until_it_is_done(world: QueueWorld) -> None:
    first, second, third = (
        NewJob(job_id(number), "q", b"x", unique=Unique("report 5", 600)) for number in (1, 2, 3)
    )

    assert (await world.queue.apush([first])).new == [first.id]
    assert (await world.queue.apush([second])).locked == {second.id: first.id}
    (job,) = await world.reserve(5)
    assert (await world.queue.apush([second, third])).locked == {
        second.id: first.id,
        third.id: first.id,
    }
    await world.step(Done(job.id, job.token))
    assert (await world.queue.apush([second])).new == [second.id]


async def test_two_unique_jobs_of_one_push_are_one(world: QueueWorld) -> None:
    jobs = [NewJob(job_id(number), "q", b"x", unique=Unique("k", 600)) for number in (1, 2)]

    pushed = await world.queue.apush(jobs)

    assert (pushed.new, pushed.locked) == ([job_id(1)], {job_id(2): job_id(1)})


async def test_a_unique_lock_is_free_after_a_failure_and_when_its_time_is_up(
    world: QueueWorld,
) -> None:
    lasting, brief = Unique("k", 600), Unique("k", 0.001)
    await world.queue.apush([NewJob(job_id(1), "q", b"x", unique=lasting)])
    (job,) = await world.reserve()
    await world.step(Fail(job.id, job.token, "exception", "x", 1))

    after_failure = await world.queue.apush([NewJob(job_id(2), "q", b"x", unique=brief)])
    while (third := await world.queue.apush([NewJob(job_id(3), "q", b"x", unique=lasting)])).locked:
        pass

    assert after_failure.new == [job_id(2)]
    assert third.new == [job_id(3)]


async def test_row_28_a_unique_lock_can_be_freed_when_its_job_starts(world: QueueWorld) -> None:
    unique = Unique("k", 600)
    await world.queue.apush([NewJob(job_id(1), "q", b"x", unique=unique)])
    (job,) = await world.reserve()

    assert not await world.queue.unlock("q", "k", job_id(2))
    assert await world.queue.unlock("q", "k", job.id)
    assert (await world.queue.apush([NewJob(job_id(2), "q", b"x", unique=unique)])).new
    assert not await world.queue.unlock("q", "k", job.id)


async def test_a_suspected_unique_job_keeps_its_lock(brief: QueueWorld) -> None:
    unique = Unique("k", 600)
    await brief.queue.apush([NewJob(job_id(1), "q", b"x", unique=unique)])
    await brief.reserve()
    await brief.lapse()

    assert (await brief.queue.apush([NewJob(job_id(2), "q", b"x", unique=unique)])).locked


@pytest.mark.parametrize("value", [b"", b"e", b"e{}", b"e" + b"[" * 5_000, b"\xff", b"cx:body"])
def test_an_entry_that_was_not_written_here_owes_nothing(value: bytes) -> None:
    assert decode_owed("1:2", value).effects == ()


def test_effects_survive_being_written_down() -> None:
    effects = (
        Push(NewJob("1", "q", b"\x00\xff", 1.5, Unique("k", 2.5), Link("row", 3))),
        BatchMark("b", 7, failed=True),
        Push(NewJob("2", "r", b"")),
    )

    assert decode_owed("1:2", b"e" + encode_effects(effects)).effects == effects
