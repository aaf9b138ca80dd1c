"""What can never be done after a settlement holds nothing up, and loses no job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import BatchMark, Done, Link, NewJob, Owed, Push
from broadcaster.drivers.redis.batches import RedisBatches
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.owed import MAX_REMEMBERED, OwedEffects
from broadcaster.errors import DriverRefused
from tests.drivers.redis.queue_world import QueueWorld, job_id, numbers

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis


@pytest.fixture
def world(clients: RedisClients) -> QueueWorld:
    return QueueWorld(clients)


def link(number: int, queue: str = "q") -> Push:
    return Push(NewJob(job_id(number), queue, b"link", link=Link(f"chain {number}", 1)))


async def owed_of(world: QueueWorld, number: int, *effects: Push | BatchMark) -> Owed:
    await world.push(number)
    (job,) = await world.reserve()
    (owed,) = (await world.step(Done(job.id, job.token, effects))).owed
    return owed


async def failed(world: QueueWorld) -> list[tuple[int, str, bytes, str]]:
    found = await asyncio.to_thread(RedisFailedJobs(world.clients).find)
    return [(int(job.id, 16), job.reason, job.body, job.error) for job in found]


async def test_a_link_that_no_queue_can_take_is_kept_and_its_neighbours_run(
    world: QueueWorld,
) -> None:
    bad = await owed_of(world, 1, link(8, "x}y{"), link(4))
    good = await owed_of(world, 2, link(3))

    await world.queue.apply("q", [bad, good])

    assert sorted(numbers(await world.reserve(5))) == [3, 4]
    ((number, reason, body, error),) = await failed(world)
    assert (number, reason, body) == (8, "bad_configuration", b"link")
    assert error.startswith("it could not be queued in x}y{: name 'x}y{' must be")
    assert await world.raw("EXISTS", world.key("outbox"), world.key("outbox_due")) == 0


async def test_a_link_that_no_queue_could_take_can_be_tried_again(world: QueueWorld) -> None:
    await world.queue.apply("q", [await owed_of(world, 1, link(8, "x}y{"))])

    await asyncio.to_thread(RedisFailedJobs(world.clients).retry, [job_id(8)])

    assert numbers(await world.reserve(5)) == [8]


async def test_what_is_refused_is_tried_for_a_while_and_then_kept(world: QueueWorld) -> None:
    owed = await owed_of(world, 1, link(8, "other"))
    await world.raw("SET", world.clients.keys.queue("other", "jobs"), "not ours")
    batches = RedisBatches(world.clients)

    with pytest.raises(DriverRefused, match="WRONGTYPE"):
        await world.queue.apply("q", [owed])
    assert await failed(world) == []
    await OwedEffects(world.clients, batches, world.queue.apush, patience=0).apply("q", [owed])

    ((number, reason, _, _),) = await failed(world)
    assert (number, reason) == (8, "driver_refused")
    assert await world.raw("EXISTS", world.key("outbox"), world.key("outbox_due")) == 0


async def test_a_mark_that_is_refused_for_too_long_is_dropped(
    world: QueueWorld, caplog: pytest.LogCaptureFixture
) -> None:
    await world.raw("SET", world.clients.keys.batch(job_id(7), "meta"), "not ours")
    owed = await owed_of(world, 1, BatchMark(job_id(7), 0), link(8))
    batches = RedisBatches(world.clients)

    await OwedEffects(world.clients, batches, world.queue.apush, patience=0).apply("q", [owed])

    assert numbers(await world.reserve(5)) == [8]
    assert "cannot be done, and is given up" in caplog.text
    assert await world.raw("EXISTS", world.key("outbox")) == 0


def test_only_so_many_refusals_are_remembered(world: QueueWorld) -> None:
    effects = OwedEffects(world.clients, RedisBatches(world.clients), world.queue.apush)
    many = [Owed(f"{n:032x}:1", (), f"{n:032x}") for n in range(MAX_REMEMBERED + 5)]

    for one in many:
        effects._may_wait("q", one)

    assert len(effects._refused) == MAX_REMEMBERED
