"""What counts as a try, and what else is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts import settlements
from broadcaster.contracts.queue import Done, Fail, Postpone, Release, Retry
from broadcaster.drivers.redis import queue_wire
from broadcaster.drivers.redis.failed import RedisFailedJobs
from tests.drivers.redis.queue_world import QueueWorld, job_id, numbers

if TYPE_CHECKING:
    from broadcaster.contracts.queue import Reserved
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis


@pytest.fixture
def world(clients: RedisClients) -> QueueWorld:
    return QueueWorld(clients)


async def due_now(world: QueueWorld) -> None:
    """As if every delay were over."""
    for member in await world.raw("ZRANGE", world.key("delayed"), "0", "-1"):
        await world.raw("ZADD", world.key("delayed"), "1", member.decode())


def counted(job: Reserved) -> tuple[int, int, int]:
    return job.attempts, job.exceptions, job.postponed


async def test_row_7_exceptions_are_counted_beside_tries(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()
    assert counted(job) == (0, 0, 0)

    await world.step(Retry(job.id, job.token, exception=True))
    (job,) = await world.reserve()
    assert counted(job) == (1, 1, 0)
    await world.step(Retry(job.id, job.token))
    (job,) = await world.reserve()

    assert counted(job) == (2, 1, 0)


async def test_row_9_a_job_that_postpones_itself_uses_up_no_try(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()

    reply = await world.step(Postpone(job.id, job.token, 0.01))

    assert reply.next_in == pytest.approx(1.0, abs=0.01)
    assert await world.reserve() == []
    await due_now(world)
    (job,) = await world.reserve()
    assert counted(job) == (0, 0, 1)


async def test_a_job_that_postpones_itself_too_often_uses_up_tries(
    world: QueueWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_wire, "MAX_POSTPONED", 2)
    assert settlements.MAX_POSTPONED == 1_000
    await world.push(1)
    seen = []
    for _ in range(4):
        (job,) = await world.reserve()
        seen.append(counted(job))
        await world.step(Postpone(job.id, job.token))
        await due_now(world)

    assert seen == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 0, 3)]


async def test_counts_are_kept_apart_per_job_and_forgotten_with_it(world: QueueWorld) -> None:
    await world.push(1, 2, 3)
    one, two, three = await world.reserve(3)
    await world.step(
        Retry(one.id, one.token, exception=True),
        Postpone(two.id, two.token),
        Release(three.id, three.token),
    )
    await due_now(world)

    jobs = sorted(await world.reserve(3), key=lambda job: job.id)

    assert [counted(job) for job in jobs] == [(1, 1, 0), (0, 0, 1), (0, 0, 0)]
    await world.step(
        *(Done(job.id, job.token) for job in jobs[:2]),
        Fail(jobs[2].id, jobs[2].token, "exception", "x"),
    )
    assert await world.raw("EXISTS", world.key("attempts")) == 0


async def test_a_retried_failed_job_has_all_its_tries_again(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()
    await world.step(Retry(job.id, job.token, exception=True))
    (job,) = await world.reserve()
    await world.step(Fail(job.id, job.token, "exception", "x", 2))

    RedisFailedJobs(world.clients).retry([job_id(1)])

    (job,) = await world.reserve()
    assert counted(job) == (0, 0, 0)


async def test_row_14_a_delay_of_milliseconds_is_never_over_early(world: QueueWorld) -> None:
    pushed_at = await world.redis_ms()
    await world.push(1, delay=0.025)

    reply = await world.until(lambda reply: reply.reserved, pause=0, reserve=1)

    assert numbers(reply.reserved) == [1]
    assert await world.redis_ms() - pushed_at >= 25


async def test_no_delay_is_over_early_by_a_part_of_a_millisecond(world: QueueWorld) -> None:
    """The last round trip before the end takes a fraction of one, so a few tries show it."""
    for number in range(1, 41):
        pushed_at = await world.redis_us()
        await world.push(number, delay=0.003)

        reply = await world.until(lambda reply: reply.reserved, pause=0, reserve=1)

        assert numbers(reply.reserved) == [number]
        assert await world.redis_us() - pushed_at >= 3000


async def test_a_postponed_job_of_a_lane_holds_up_the_lane(clients: RedisClients) -> None:
    lane = QueueWorld(clients, ordered=True)
    await lane.push(1, 2)
    one, _ = await lane.reserve(2)

    reply = await lane.step(Postpone(one.id, one.token), reserve=5)

    assert reply.reserved == []
    assert reply.next_in == pytest.approx(1.0, abs=0.01)
    assert reply.ready == 2
