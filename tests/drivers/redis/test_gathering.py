"""Pushes of one tick share a round trip, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import NewJob, Unique
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.gathering import MAX_GATHERED, Gathering
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import DriverRefused, DriverUnavailable
from tests.drivers.redis.queue_world import job_id
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.queue_push import Outcome


class Sender:
    """Records what is sent together."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, jobs: Sequence[NewJob]) -> list[Outcome]:
        self.sent.append([job.id for job in jobs])
        await self.gate.wait()
        if any(job.id == "bad" for job in jobs):
            raise DriverUnavailable("away")
        return [job.id for job in jobs]


def job(name: str) -> NewJob:
    return NewJob(name, "q", b"x")


async def test_what_is_pushed_in_one_tick_goes_in_one_call() -> None:
    sender = Sender()
    gathering = Gathering(sender.send)

    found: object = await asyncio.gather(
        gathering.push([job("a")]), gathering.push([job("b"), job("c")]), gathering.push([job("d")])
    )

    assert sender.sent == [["a", "b", "c", "d"]]
    assert found == [["a"], ["b", "c"], ["d"]]


async def test_nobody_waits_for_a_call_that_is_under_way() -> None:
    sender = Sender()
    gathering = Gathering(sender.send)
    sender.gate.clear()
    first = asyncio.create_task(gathering.push([job("a")]))
    await eventually(lambda: sender.sent)

    second = asyncio.create_task(gathering.push([job("b")]))
    await eventually(lambda: len(sender.sent) == 2)
    sender.gate.set()

    assert (await first, await second) == (["a"], ["b"])


async def test_too_much_for_one_call_goes_in_several() -> None:
    sender = Sender()
    gathering = Gathering(sender.send)
    many = [job(str(number)) for number in range(MAX_GATHERED - 1)]

    await asyncio.gather(*(gathering.push(jobs) for jobs in (many, [job("a")], [job("b")])))

    assert [len(call) for call in sender.sent] == [MAX_GATHERED, 1]


async def test_a_cancelled_caller_takes_nobody_with_it() -> None:
    sender = Sender()
    gathering = Gathering(sender.send)
    sender.gate.clear()
    tasks = [asyncio.create_task(gathering.push([job(name)])) for name in "ab"]
    await eventually(lambda: sender.sent)

    tasks[0].cancel()
    sender.gate.set()

    assert await tasks[1] == ["b"]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_everybody_of_a_call_is_told_that_it_failed() -> None:
    gathering = Gathering(Sender().send)

    found = await asyncio.gather(
        gathering.push([job("a")]), gathering.push([job("bad")]), return_exceptions=True
    )

    assert [type(each) for each in found] == [DriverUnavailable, DriverUnavailable]


@pytest.mark.redis
async def test_a_refusal_is_told_to_those_whose_queue_refused(clients: RedisClients) -> None:
    queue = RedisQueue(clients)
    clients.sync.set(clients.keys.queue("broken", "jobs"), "a string")

    fine, refused = await asyncio.gather(
        queue.apush([NewJob("a", "q", b"x")]),
        queue.apush([NewJob("b", "broken", b"x")]),
        return_exceptions=True,
    )

    assert not isinstance(fine, BaseException)
    assert fine.new == ["a"]
    assert isinstance(refused, DriverRefused)


@pytest.mark.redis
async def test_each_caller_is_told_what_became_of_its_own_jobs(clients: RedisClients) -> None:
    queue = RedisQueue(clients)
    unique = Unique("k", 60)
    jobs = [
        NewJob(job_id(1), "q", b"x", unique=unique),
        NewJob(job_id(2), "q", b"x", unique=unique),
        NewJob(job_id(3), "other", b"x"),
        NewJob(job_id(3), "other", b"x"),
    ]

    one, two, three, four = await asyncio.gather(*(queue.apush([each]) for each in jobs))

    assert (one.new, three.new) == ([job_id(1)], [job_id(3)])
    assert two.locked == {job_id(2): job_id(1)}
    assert four.known == [job_id(3)]


@pytest.mark.redis
def test_loops_of_several_threads_push_apart(redis_url: str, prefix: str) -> None:
    clients = RedisClients(redis_url, prefix)
    queue = RedisQueue(clients)

    async def push(first: int) -> int:
        jobs = [NewJob(job_id(first + number), "q", b"x") for number in range(20)]
        pushed = await asyncio.gather(*(queue.apush([each]) for each in jobs))
        await clients.aclose()
        return sum(len(each.new) for each in pushed)

    async def all_of_them() -> list[int]:
        return await asyncio.gather(
            *(asyncio.to_thread(asyncio.run, push(100 * thread)) for thread in range(3))
        )

    assert asyncio.run(all_of_them()) == [20, 20, 20]
