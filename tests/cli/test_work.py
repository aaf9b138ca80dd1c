"""``broadcaster work`` as a process: stopped, and killed in the middle of its work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.queue import NewJob, QueueSizes
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.protocol.ids import uuid7
from broadcaster.protocol.payload import Payload, encode_payload
from tests.cli.worker_process import environment, opened
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients
    from tests.cli.worker_process import Shop

pytestmark = [pytest.mark.redis, pytest.mark.process]

LEASE = 2.0


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, prefix: str) -> Iterator[Shop]:
    with opened(tmp_path, environment(redis_url, prefix)) as made:
        yield made


@pytest.fixture
def queue(clients: RedisClients) -> RedisQueue:
    return RedisQueue(clients)


def new_job(job: str, queue: str = "default", **data: Any) -> NewJob:
    job_id = uuid7(time.time(), os.urandom(10))
    return NewJob(job_id, queue, encode_payload(Payload(id=job_id, job=job, data=data)))


async def test_it_imports_modules_and_runs_their_jobs(shop: Shop, queue: RedisQueue) -> None:
    await queue.apush([new_job("greet", name="Ada")])

    process = await asyncio.to_thread(shop.run, "work", "shop_jobs", "--once")

    assert process.wait() == 0, process.output
    assert shop.notes == ["hello Ada"]


async def test_it_tells_how_long_jobs_took(shop: Shop, clients: RedisClients) -> None:
    await RedisQueue(clients).apush([new_job("greet", name="Ada")])

    process = await asyncio.to_thread(shop.run, "work", "shop_jobs", "--once")

    assert process.wait() == 0, process.output
    (runtime,) = (await asyncio.to_thread(RedisQueueAdmin(clients).stats, "default")).runtimes
    assert (runtime.job, runtime.ended) == ("greet", 1)


async def test_once_on_an_empty_queue_ends_at_once(shop: Shop) -> None:
    process = await asyncio.to_thread(shop.run, "work", "--once")

    assert process.wait() == 0
    assert "worker stopped: empty" in process.output


async def test_a_job_that_exits_in_a_task_does_not_end_the_worker(
    shop: Shop, queue: RedisQueue
) -> None:
    await queue.apush([new_job("Leaver"), new_job("greet", name="Ada")])

    process = await asyncio.to_thread(shop.run, "work", "shop_jobs", "--stop-when-empty")

    assert process.wait() == 0, process.output
    assert shop.notes == ["hello Ada"]
    assert "SystemExit(4) was raised in a task that job" in process.output
    assert await queue.asizes("default") == QueueSizes(failed=1)


async def test_it_logs_what_became_of_each_job(shop: Shop, queue: RedisQueue) -> None:
    (job,) = [new_job("greet", name="Ada")]
    await queue.apush([job])

    process = await asyncio.to_thread(shop.run, "work", "shop_jobs", "--once")

    lines = [json.loads(line) for line in process.lines if line.startswith("{")]
    (done,) = [line for line in lines if line["event"] == "job_done"]
    assert (done["job"], done["job_id"], done["queue"], done["attempt"]) == (
        "greet",
        job.id,
        "default",
        1,
    )
    assert done["dur_ms"] >= 0
    assert "Ada" not in process.output


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("work", "no_such_module"), 78, "no module is called 'no_such_module'"),
        (("work", "--queue", ":3"), 78, "empty name"),
        (("work", "--queue", "mail:0"), 78, "the weight of mail must be from 1 to 1,000"),
        (("work", "--backoff", "soon"), 78, "worker.backoff must be a number"),
        (("work", "--pool", "emials"), 78, "no pool of workers is called 'emials'"),
        (("work", "--concurrency", "0"), 2, "0 is not in the range"),
        (("failed", "show", "nothing"), 1, "no failed job has the id nothing"),
        (("failed", "retry", "nothing"), 1, "is no failed job, or retried before"),
    ],
)
def test_wrong_usage_is_explained(shop: Shop, args: tuple[str, ...], code: int, text: str) -> None:
    process = shop.run(*args)

    assert process.wait() == code, process.output
    assert text in process.output
    assert "Traceback" not in process.output


def test_without_a_server_it_says_what_to_set(shop: Shop) -> None:
    del shop.env["REDIS_URL"]

    process = shop.run("work")

    assert process.wait() == 78
    assert "REDIS_URL" in process.output


async def test_failed_jobs_are_listed_shown_and_queued_again(shop: Shop, queue: RedisQueue) -> None:
    job = NewJob("a" * 32, "default", b"\x1b[2J not a job")
    await queue.apush([job])
    await asyncio.to_thread(shop.run, "work", "--once")

    listed = await asyncio.to_thread(shop.run, "failed", "list")
    as_json = await asyncio.to_thread(shop.run, "failed", "list", "--json")
    shown = await asyncio.to_thread(shop.run, "failed", "show", job.id)
    retried = await asyncio.to_thread(shop.run, "failed", "retry", "all")

    assert job.id in listed.output
    assert "invalid_job" in listed.output
    assert [each["id"] for each in json.loads(as_json.output)] == [job.id]
    assert "not a job" in shown.output
    assert "\x1b" not in shown.output
    assert "queued 1 job again" in retried.output
    assert await queue.asizes("default") == QueueSizes(ready=1)


async def test_term_finishes_what_runs(shop: Shop, queue: RedisQueue) -> None:
    await queue.apush([new_job("Gated", name="a"), new_job("greet", name="Ada")])
    process = shop.start("work", "shop_jobs", "--concurrency", "1")
    await eventually(lambda: shop.notes, within=20)

    process.signal(signal.SIGTERM)
    await eventually(lambda: "worker is stopping" in process.output)
    shop.open_gate()

    assert await asyncio.to_thread(process.wait) == 0
    assert shop.notes == ["begins a", "ends a"]
    assert "worker stopped: interrupted" in process.output
    assert await queue.asizes("default") == QueueSizes(ready=1)


async def test_a_second_term_hands_back_what_runs(shop: Shop, queue: RedisQueue) -> None:
    await queue.apush([new_job("stuck", seconds=60.0)])
    process = shop.start("work", "shop_jobs")
    await eventually(lambda: shop.notes, within=20)

    process.signal(signal.SIGTERM)
    await eventually(lambda: "worker is stopping" in process.output)
    process.signal(signal.SIGTERM)

    assert await asyncio.to_thread(process.wait, 15) == 1
    assert await queue.asizes("default") == QueueSizes(ready=1)


async def test_a_job_whose_worker_was_killed_runs_again(shop: Shop, queue: RedisQueue) -> None:
    await queue.apush([new_job("Slow", name="a")])
    process = shop.start("work", "shop_jobs")
    await eventually(lambda: shop.notes, within=20)

    process.kill()
    shop.start("work", "shop_jobs")
    await eventually(lambda: "ends a" in shop.notes, within=LEASE + 15)

    assert shop.notes == ["begins a", "begins a", "ends a"]


async def test_a_job_that_kills_its_workers_fails_in_the_end(shop: Shop, queue: RedisQueue) -> None:
    await queue.apush([new_job("Killer"), new_job("greet", name="Ada")])
    environ = {"BROADCASTER_QUEUE__MAX_CRASHES": "1", "BROADCASTER_QUEUE__LEASE": "1"}
    deadline = time.monotonic() + 60

    failed = False
    while not failed:
        assert time.monotonic() < deadline
        process = shop.start("work", "shop_jobs", "--concurrency", "1", **environ)
        await eventually(lambda p=process: p.ended or "job_failed" in p.output, within=20)  # type: ignore[misc]  # a default binds the loop's variable
        failed = "job_failed" in process.output
    process.kill()
    await asyncio.to_thread(shop.run, "work", "shop_jobs", "--stop-when-empty")

    assert sorted(shop.notes) == ["hello Ada", "kills", "kills"]
    listed = await asyncio.to_thread(shop.run, "failed", "list", "--json")
    assert [job["reason"] for job in json.loads(listed.output)] == ["crashed"]


# Has the worker die between publishing and settling, when it has published some of what it took.
DYING = """\
import os
from broadcaster.drivers.redis.publisher import RedisPublisher
publish = RedisPublisher.apublish
async def publish_and_die(self, publications):
    await publish(self, publications[: len(publications) // 2 + 1])
    os.kill(os.getpid(), 9)
RedisPublisher.apublish = publish_and_die
"""


async def test_killed_with_200_broadcasts_all_are_published_once_and_in_order(
    shop: Shop, queue: RedisQueue, clients: RedisClients
) -> None:
    (shop.folder / "dying.py").write_text(DYING, encoding="utf-8")
    published: list[int] = []
    data = {"app": "1", "channels": ["orders"], "data": "{}", "socket_id": None}
    jobs = [
        new_job("broadcaster.broadcast", "broadcasts", name=str(number), **data)
        for number in range(200)
    ]
    async with _recorded(clients, "orders", published):
        await queue.apush(jobs)
        first = await asyncio.to_thread(shop.run, "work", "dying")
        assert first.wait() == -signal.SIGKILL, first.output
        await eventually(lambda: published)
        assert len(published) < 200
        second = shop.start("work")
        await eventually(lambda: "worker started" in second.output, within=20)
        await eventually(lambda: len(published) >= 200, within=LEASE + 20)
        second.signal(signal.SIGTERM)
        assert await asyncio.to_thread(second.wait) == 0

    assert published == list(range(200))
    assert await queue.asizes("broadcasts") == QueueSizes()


@contextlib.asynccontextmanager
async def _recorded(
    clients: RedisClients, channel: str, published: list[int]
) -> AsyncIterator[None]:
    """Note the name, a number, of everything that is published on `channel`."""
    subscriber = clients.aio.pubsub()
    await subscriber.subscribe(clients.keys.topic("1", channel))

    async def listen() -> None:
        async for message in subscriber.listen():
            if message["type"] == "message":
                frame = json.loads(decode_envelope(message["data"]).frame)
                published.append(int(frame["event"]))

    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        listening.cancel()
        await subscriber.aclose()  # type: ignore[no-untyped-call]  # not annotated by redis-py
