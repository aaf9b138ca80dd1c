"""Failed jobs over all queues."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.queue import Fail, NewJob, StepRequest
from broadcaster.contracts.settlements import MAX_TRACEBACK
from broadcaster.contracts.stores import FailedFilter
from broadcaster.drivers.redis import failed, scripts_loader
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_push import ROUND_BYTES
from broadcaster.protocol.payload import (
    MAX_PAYLOAD_BYTES,
    Payload,
    decode_payload,
    encode_payload,
)
from tests.drivers.redis.queue_world import job_id, numbers

if TYPE_CHECKING:
    from broadcaster.contracts.stores import FailedJob
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis


class FailedWorld:
    def __init__(self, clients: RedisClients) -> None:
        self.queue = RedisQueue(clients)
        self.store = RedisFailedJobs(clients)

    async def fail(self, queue: str, *ids: int, reason: str = "exception", **said: Any) -> None:
        await self.queue.apush([NewJob(job_id(each), queue, b"body %d" % each) for each in ids])
        for _ in ids:
            reply = await self.queue.step(StepRequest(queue=queue, reserve=1))
            (job,) = reply.reserved
            fail = Fail(job.id, job.token, reason, "ValueError: ü", 2, **said)
            await self.queue.step(StepRequest(queue=queue, settlements=[fail]))

    async def found(self, queue: str | None = None, limit: int = 100) -> list[int]:
        jobs = await asyncio.to_thread(self.store.find, queue=queue, limit=limit)
        return [int(job.id, 16) for job in jobs]


@pytest.fixture
def world(clients: RedisClients) -> FailedWorld:
    return FailedWorld(clients)


async def test_a_failed_job_keeps_its_body_and_its_story(world: FailedWorld) -> None:
    await world.fail("q", 1)

    job = await asyncio.to_thread(world.store.get, job_id(1))

    assert job is not None
    assert (job.id, job.queue, job.body) == (job_id(1), "q", b"body 1")
    assert (job.reason, job.error, job.attempts) == ("exception", "ValueError: ü", 2)
    assert job.failed_at > 1_700_000_000


async def test_the_latest_of_all_queues_come_first(world: FailedWorld) -> None:
    await world.fail("q", 1, 2)
    await asyncio.sleep(0.002)
    await world.fail("other", 3)

    assert (await world.found())[0] == 3
    assert sorted(await world.found()) == [1, 2, 3]
    assert sorted(await world.found(queue="q")) == [1, 2]
    assert await world.found(limit=1) == [3]


async def test_a_retried_job_is_queued_with_all_its_tries(world: FailedWorld) -> None:
    await world.fail("q", 1, 2)

    assert await asyncio.to_thread(world.store.retry, [job_id(1), job_id(9)]) == [job_id(1)]

    reply = await world.queue.step(StepRequest(queue="q", reserve=5))
    assert numbers(reply.reserved) == [1]
    assert reply.reserved[0].attempts == 0
    assert await world.found() == [2, 1]
    assert (await world.queue.asizes("q")).failed == 1


async def test_all_can_be_retried_at_once_or_queue_by_queue(world: FailedWorld) -> None:
    await world.fail("q", 1, 2)
    await world.fail("other", 3)

    assert await asyncio.to_thread(world.store.retry_all, "other") == [job_id(3)]
    assert len(await asyncio.to_thread(world.store.retry_all)) == 2

    assert (await world.queue.asizes("q")).ready == 2
    assert (await world.queue.asizes("q")).failed == 0


async def test_a_retry_wakes_a_waiting_worker(world: FailedWorld) -> None:
    await world.fail("q", 1)
    while await world.queue.wait("q", 0.01):
        pass

    await asyncio.to_thread(world.store.retry_all)

    assert await world.queue.wait("q", 1.0)


async def test_failed_jobs_can_be_forgotten(world: FailedWorld) -> None:
    await world.fail("q", 1, 2)

    assert await asyncio.to_thread(world.store.forget, [job_id(1), job_id(9)]) == 1

    assert await world.found() == [2]
    assert await asyncio.to_thread(world.store.get, job_id(1)) is None


@pytest.mark.parametrize("note", [b"", b"\xff", b"[" * 5_000, b'{"reason":1}'])
async def test_a_note_and_an_id_that_are_none_of_ours_can_be_listed_and_retried(
    world: FailedWorld, clients: RedisClients, note: bytes
) -> None:
    await world.fail("q", 1)
    keys = clients.keys
    clients.sync.zadd(keys.queue("q", "failed"), {b"\xff": 1})
    for part, value in (("failed_jobs", b"body"), ("failed_notes", note)):
        clients.sync.hset(keys.queue("q", part), b"\xff", value)

    jobs = await asyncio.to_thread(world.store.find)
    retried = await asyncio.to_thread(world.store.retry_all)

    assert {job.reason for job in jobs} == {"unknown", "exception"}
    assert len(retried) == 2


async def test_row_43_what_failed_can_be_searched(world: FailedWorld) -> None:
    await world.fail("q", 1)
    since = time.time()
    await world.fail("other", 2, job="Mail", exception="KeyError", traceback="File mail.py")
    await world.fail("q", 3, job="Mail", reason="timeout")

    async def those(**where: Any) -> list[int]:
        jobs = await asyncio.to_thread(world.store.find, where=FailedFilter(**where))
        return [int(job.id, 16) for job in jobs]

    assert sorted(await those(job="Mail")) == [2, 3]  # maybe of one millisecond
    assert await those(job="Mail", queue="other") == [2]
    assert await those(exception="KeyError") == [2]
    assert await those(exception="timeout") == [3]
    assert sorted(await those(since=since - 0.5, until=since + 60, job="Mail")) == [2, 3]
    assert await those(until=since - 60) == []
    job = await asyncio.to_thread(world.store.get, job_id(2))
    assert job is not None
    assert job.traceback == "File mail.py"


async def test_those_that_failed_at_once_have_an_order(
    world: FailedWorld, clients: RedisClients
) -> None:
    await world.fail("b", 1, 4)
    await world.fail("a", 2, 3)
    for queue, numbered in (("b", (1, 4)), ("a", (2, 3))):
        at_once = {job_id(each): 1_000.0 for each in numbered}
        clients.sync.zadd(clients.keys.queue(queue, "failed"), at_once)

    assert await world.found() == [4, 3, 2, 1]
    assert await world.found(limit=2) == [4, 3]


async def test_of_a_long_traceback_both_ends_are_kept(world: FailedWorld) -> None:
    await world.fail("q", 1, traceback="File mail.py" + "x" * 100_000 + "\ud800 KeyError: 'a'")

    job = await asyncio.to_thread(world.store.get, job_id(1))

    assert job is not None
    assert job.traceback.startswith("File mail.py")
    assert job.traceback.endswith("? KeyError: 'a'")
    assert len(job.traceback) == MAX_TRACEBACK


async def test_row_43_a_retried_job_stays_listed_with_a_mark(world: FailedWorld) -> None:
    await world.fail("q", 1, 2)
    retried = FailedFilter(retried=True)

    await asyncio.to_thread(world.store.retry, [job_id(1)])

    (job,) = await asyncio.to_thread(lambda: world.store.find(where=retried))
    assert (job.id, job.body) == (job_id(1), b"")
    assert job.retried_at is not None
    assert job.retried_at > 1_700_000_000
    assert list(await asyncio.to_thread(world.store.retry, [job_id(1)])) == []
    reply = await world.queue.step(StepRequest(queue="q", reserve=1))
    again = Fail(reply.reserved[0].id, reply.reserved[0].token, "exception", "again", 1)
    await world.queue.step(StepRequest(queue="q", settlements=[again]))
    assert await asyncio.to_thread(lambda: world.store.find(where=retried)) == []


@pytest.mark.parametrize("all_of_them", [True, False])
async def test_row_43_the_time_for_tries_begins_anew_whoever_retries(
    world: FailedWorld, *, all_of_them: bool
) -> None:
    payload = Payload(id=job_id(1), job="Mail", retry_for=3600.0, retry_until=1.0)
    await world.queue.apush([NewJob(job_id(1), "q", encode_payload(payload))])
    (job,) = (await world.queue.step(StepRequest(queue="q", reserve=1))).reserved
    late = Fail(job.id, job.token, "retry_until", "too late", 1)
    await world.queue.step(StepRequest(queue="q", settlements=[late]))

    if all_of_them:
        await asyncio.to_thread(world.store.retry_all)
    else:
        await asyncio.to_thread(world.store.retry, [job_id(1)])

    (job,) = (await world.queue.step(StepRequest(queue="q", reserve=1))).reserved
    until = decode_payload(job.body).retry_until
    assert until is not None
    assert until > 1_700_000_000


async def test_failed_jobs_are_flushed_and_pruned(world: FailedWorld) -> None:
    await world.fail("q", *range(5))
    await world.fail("other", 9, job="Mail")

    assert await asyncio.to_thread(world.store.prune, 60) == 0
    assert await asyncio.to_thread(lambda: world.store.flush(where=FailedFilter(job="Mail"))) == 1
    assert len(await world.found()) == 5
    assert await asyncio.to_thread(world.store.prune, -60) == 5
    assert await world.found() == []
    assert await asyncio.to_thread(world.store.flush) == 0


async def test_many_failed_jobs_are_paged(world: FailedWorld, clients: RedisClients) -> None:
    for number in range(1_200):
        clients.sync.zadd(clients.keys.queue("q", "failed"), {job_id(number): number})
        clients.sync.hset(clients.keys.queue("q", "failed_jobs"), job_id(number), b"x")
    clients.sync.sadd(clients.keys.queues("names"), "q")

    assert await world.found(limit=1_100) == list(range(1_199, 99, -1))
    assert len(await asyncio.to_thread(world.store.retry_all)) == 1_200
    assert (await world.queue.asizes("q")).ready == 1_200


@pytest.mark.parametrize(
    "meanwhile", ["one more fails", "the first is forgotten", "the last is forgotten"]
)
async def test_each_failed_job_is_found_once_whatever_happens_between_two_pages(
    world: FailedWorld, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    monkeypatch.setattr(failed, "_PAGE", 2)
    await world.fail("q", *range(1, 7))
    load = world.store._load
    pages: list[list[FailedJob]] = []

    def loading(queue: str, scored: Any) -> Any:
        entries = load(queue, scored)
        pages.append([entry.job for entry in entries])
        if len(pages) == 1 and meanwhile == "one more fails":
            asyncio.run_coroutine_threadsafe(world.fail("q", 9), loop).result(10)
        elif len(pages) == 1:
            world.store.forget([pages[0][0 if "first" in meanwhile else -1].id])
        return entries

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(world.store, "_load", loading)

    assert sorted(await world.found()) == [1, 2, 3, 4, 5, 6]


async def test_jobs_that_failed_in_one_moment_are_found_on_several_pages(
    world: FailedWorld, clients: RedisClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed, "_PAGE", 2)
    await world.fail("q", *range(1, 8))
    key = clients.keys.queue("q", "failed")
    together: Any = await clients.aio.zrange(key, 1, 5)
    await clients.aio.zadd(key, dict.fromkeys(together, 1_800_000_000_000))

    assert sorted(await world.found()) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_queue_means_its_lanes_too(world: FailedWorld) -> None:
    await world.fail("q", 1)
    await world.fail("q#3", 2)
    await world.fail("q2#3", 3)

    assert sorted(await world.found(queue="q")) == [1, 2]
    assert await world.found(queue="q#3") == [2]
    assert set(await asyncio.to_thread(world.store.retry_all, "q")) == {job_id(1), job_id(2)}
    where = FailedFilter(queue="q2")
    assert await asyncio.to_thread(lambda: world.store.flush(where=where)) == 1


async def test_any_number_of_jobs_is_forgotten(world: FailedWorld) -> None:
    """Lua takes no more than some thousand arguments at once."""
    await world.fail("q", 1, 2)
    many = [job_id(number) for number in range(2, 20_000)]

    assert await asyncio.to_thread(world.store.forget, many) == 1
    assert await world.found() == [1]


async def test_many_jobs_are_looked_for_page_by_page(
    world: FailedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.fail("q", 1, 2, 3)
    await world.fail("other", 4)
    trips: list[int] = []

    def counting(client: Any, commands: Any) -> list[Any]:
        trips.append(len(commands))
        return scripts_loader.read(client, commands)

    monkeypatch.setattr(failed, "read", counting)
    wanted = [job_id(each) for each in (4, 9, 2, 1, 2)]
    found = await asyncio.to_thread(world.store.get_many, wanted)

    assert [(int(job.id, 16), job.queue, job.body) for job in found] == [
        (4, "other", b"body 4"),
        (2, "q", b"body 2"),
        (1, "q", b"body 1"),
    ]
    assert len(trips) == 1 + 1 + 2  # which queues have any, which have these, and those
    monkeypatch.setattr(failed, "_PAGE", 2)
    assert await asyncio.to_thread(world.store.get_many, wanted) == found
    assert await asyncio.to_thread(world.store.get_many, []) == []


def test_a_page_of_the_largest_jobs_is_no_more_than_a_few_large_pushes() -> None:
    """Reading or writing one is a call, which is given up after two seconds."""
    assert failed._PAGE * MAX_PAYLOAD_BYTES < 4 * ROUND_BYTES
