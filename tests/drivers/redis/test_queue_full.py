"""
A full server refuses a script before its first write, or carries it out to the end.

A refusal in the middle would lose jobs: what was taken out of one list and is in no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from broadcaster.contracts.queue import (
    Done,
    Fail,
    Link,
    NewJob,
    Postpone,
    Push,
    QueueSizes,
    Release,
    Retry,
    Unique,
)
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.errors import DriverUnavailable
from tests.drivers.redis.queue_world import QueueWorld, job_id, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from broadcaster.contracts.queue import Reserved, Settlement
    from tests.faults import FaultyServer

T = TypeVar("T")

NEXT = Push(NewJob(job_id(2), "q", b"next", link=Link("chain", 1)))


@pytest.fixture
async def world(redis_server: FaultyServer) -> AsyncIterator[QueueWorld]:
    clients = RedisClients(redis_server.url, "full")
    yield QueueWorld(clients)
    await clients.aclose()


async def insist(world: QueueWorld, call: Callable[[], Awaitable[T]]) -> T:
    """Call while the server is full, and once more if that was refused."""
    await world.raw("CONFIG", "SET", "maxmemory", "1")
    try:
        return await call()
    except DriverUnavailable:
        pass
    finally:
        await world.raw("CONFIG", "SET", "maxmemory", "0")
    return await call()


@pytest.mark.parametrize(
    ("ended", "owed"),
    [
        (lambda job: Done(job.id, job.token, (NEXT,)), 1),
        (lambda job: Retry(job.id, job.token, 1.0), 0),
        (lambda job: Retry(job.id, job.token, exception=True), 0),
        (lambda job: Release(job.id, job.token), 0),
        (lambda job: Postpone(job.id, job.token, 1.0), 0),
        (lambda job: Fail(job.id, job.token, "exception", "x", 1, effects=(NEXT,)), 1),
    ],
    ids=["done", "retry later", "retry", "release", "postpone", "fail"],
)
async def test_a_settlement_is_carried_out_whole_or_not_at_all(
    world: QueueWorld, ended: Callable[[Reserved], Settlement], owed: int
) -> None:
    await world.push(1)
    (job,) = await world.reserve()
    settlement = ended(job)

    reply = await insist(world, lambda: world.step(settlement))

    assert (reply.refused, len(reply.owed)) == ([], owed)
    sizes = await world.queue.asizes("q")
    left = sizes.ready + sizes.delayed + sizes.failed
    assert (left, sizes.held) == (0 if isinstance(settlement, Done) else 1, 0)


async def test_nothing_is_reserved_and_lost(world: QueueWorld) -> None:
    await world.push(1, 2)

    assert numbers(await insist(world, lambda: world.reserve(2))) == [1, 2]


async def test_a_push_is_refused_as_a_whole(world: QueueWorld) -> None:
    unique = NewJob(job_id(7), "q", b"x", unique=Unique("k", 60.0))

    pushed = await insist(world, lambda: world.queue.apush([unique]))

    assert (pushed.new, pushed.locked) == ([job_id(7)], {})


async def test_a_failed_job_is_put_back_with_its_body(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()
    await world.step(Fail(job.id, job.token, "exception", "x", 1))
    failed = RedisFailedJobs(world.clients)

    async def retry() -> Sequence[str]:
        return failed.retry([job.id])

    assert await insist(world, retry) == [job.id]
    assert [job.body for job in await world.reserve()] == [b"body 1"]


@pytest.mark.parametrize("verb", ["cancel", "clear"])
async def test_what_is_forgotten_is_told(world: QueueWorld, verb: str) -> None:
    admin = RedisQueueAdmin(world.clients)
    body = b'{"batch":{"id":"1","index":0}}'
    await world.queue.apush([NewJob(job_id(1), "q", body)])

    async def forget() -> int:
        return admin.cancel("q", [job_id(1)]) if verb == "cancel" else admin.clear("q")

    assert await insist(world, forget) == 1
    assert await world.raw("HLEN", world.key("outbox")) == 1
    assert await world.queue.asizes("q") == QueueSizes()
