"""What a job costs Redis: counts that hardly depend on the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from broadcaster.contracts.queue import BatchMark, Done, NewJob, StepRequest
from broadcaster.drivers.redis.queue import RedisQueue
from tests.drivers.redis.queue_world import job_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.queue import Reserved
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = [pytest.mark.redis, pytest.mark.alone]

JOBS, SLOTS = 5_000, 100
BODY = b'{"v":1,"id":"0190a0a0a0a07000a000000000000000","job":"mail.Send","data":{"a":1,"b":2}}'


class Cost(NamedTuple):
    commands: float
    microseconds: float


async def spent(clients: RedisClients) -> Cost:
    """Return all commands so far, those of scripts too, and the time that scripts took."""
    stats = await clients.aio.info("commandstats")
    commands = sum(one["calls"] for one in stats.values())
    return Cost(commands, stats.get("cmdstat_evalsha", {"usec": 0})["usec"])


async def drained(
    clients: RedisClients, settled: Callable[[Reserved], Done], slots: int = SLOTS
) -> Cost:
    """Return what each job costs that is pushed before and drained by a busy worker."""
    queue = RedisQueue(clients)
    await queue.apush([NewJob(job_id(number), "q", BODY) for number in range(JOBS)])
    await queue.step(StepRequest(queue="q"))
    before = await spent(clients)
    done: list[Done] = []
    left = JOBS
    while left or done:
        request = StepRequest(queue="q", settlements=done, reserve=slots, worker="w")
        reply = await queue.step(request)
        done = [settled(job) for job in reply.reserved]
        left -= len(done)
    after = await spent(clients)
    return Cost(*((late - early) / JOBS for early, late in zip(before, after, strict=True)))


async def test_a_batched_job_costs_redis_a_fifth_of_a_command_and_20_microseconds(
    clients: RedisClients,
) -> None:
    cost = await drained(clients, lambda job: Done(job.id, job.token))

    assert cost.commands <= 0.2
    assert cost.microseconds <= 20


async def test_effects_make_settling_no_more_commands(clients: RedisClients) -> None:
    cost = await drained(
        clients, lambda job: Done(job.id, job.token, (BatchMark("b", int(job.id, 16)),))
    )

    assert cost.commands <= 0.25


async def test_one_job_at_a_time_costs_few_commands(clients: RedisClients) -> None:
    cost = await drained(clients, lambda job: Done(job.id, job.token), slots=1)

    assert cost.commands <= 20


async def test_bulk_pushing_costs_a_hundredth_of_a_command(clients: RedisClients) -> None:
    queue = RedisQueue(clients)
    jobs = [NewJob(job_id(number), "q", BODY) for number in range(JOBS)]
    await queue.apush(jobs[:1])
    before = await spent(clients)

    await queue.apush(jobs)

    after = await spent(clients)
    assert (after.commands - before.commands) / JOBS <= 0.015
