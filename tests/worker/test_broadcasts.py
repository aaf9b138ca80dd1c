"""Queued broadcasts: one lane, in order, each once."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.queue import QueueSizes, StepRequest
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.history import RedisHistory
from broadcaster.drivers.redis.publisher import RedisPublisher
from broadcaster.errors import DriverUnavailable, InvalidChannel, PublishRefused
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.worker.options import LANE_BATCH, ExitReason
from tests.polling import eventually
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Note, Waiting
from tests.worker.worker_world import WorkerWorld, broadcast_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.publisher import Publication
    from broadcaster.contracts.queue import NewJob
    from tests.faults import FaultyServer

pytestmark = pytest.mark.redis


def refusing(name: str, error: Exception) -> Callable[[Sequence[Publication]], None]:
    """A publisher's trouble: `error` for every call in which `name` takes part."""

    def trouble(publications: Sequence[Publication]) -> None:
        if any(publication.name == name for publication in publications):
            raise error

    return trouble


async def push(world: WorkerWorld, *names: str, **data: Any) -> None:
    await world.push(*(broadcast_job(name, **data) for name in names))


async def test_broadcasts_are_published_in_order_and_in_few_calls(world: WorkerWorld) -> None:
    names = [str(number) for number in range(200)]
    await push(world, *names)

    await world.drain()

    assert world.publisher.names == names
    assert [len(call) for call in world.publisher.calls] == [LANE_BATCH, 72]
    assert await world.sizes("broadcasts") == QueueSizes()


async def test_the_publication_is_what_was_queued(world: WorkerWorld) -> None:
    published: list[Publication] = []
    world.publisher.trouble = published.extend
    job = broadcast_job("Shipped", channels=["a", "private-b"], data='{"x":1}', socket_id="1.2")
    await world.push(job)

    await world.drain()

    (publication,) = published
    assert publication.id == job.id
    assert publication.app_id == "1"
    assert publication.channels == ("a", "private-b")
    assert (publication.data, publication.socket_id) == ('{"x":1}', "1.2")


async def test_a_publisher_that_is_away_is_waited_for_without_losing_order_or_tries(
    world: WorkerWorld,
) -> None:
    failures = 4

    def trouble(publications: Sequence[Publication]) -> None:
        nonlocal failures
        del publications
        if failures:
            failures -= 1
            raise DriverUnavailable("Redis is away")

    world.publisher.trouble = trouble
    await push(world, "a", "b", "c")

    async with world.running():
        await eventually(lambda: world.publisher.names)
        await push(world, "d")
        await eventually(lambda: len(world.publisher.names) == 4)

    assert world.publisher.names == ["a", "b", "c", "d"]
    assert await world.sizes("broadcasts") == QueueSizes()


async def test_a_remote_server_in_trouble_is_waited_for_too(world: WorkerWorld) -> None:
    errors = [PublishRefused("later", status=503), PublishRefused("slower", status=429)]

    def trouble(publications: Sequence[Publication]) -> None:
        del publications
        if errors:
            raise errors.pop()

    world.publisher.trouble = trouble
    await push(world, "a", "b")

    await world.drain()

    assert world.publisher.names == ["a", "b"]
    assert await world.failed() == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PublishRefused("no such app", status=404), "publish_refused"),
        (InvalidChannel("channel name is empty"), "invalid_channel"),
        (RuntimeError("a bug"), "exception"),
    ],
)
async def test_one_bad_broadcast_fails_and_the_rest_goes_on(
    world: WorkerWorld, error: Exception, reason: str
) -> None:
    world.publisher.trouble = refusing("bad", error)
    await push(world, "a", "bad", "b")

    await world.drain()

    assert world.publisher.names == ["a", "b"]
    assert [failed.reason for failed in await world.failed()] == [reason]


async def test_a_channel_that_redis_refuses_holds_up_no_other(world: WorkerWorld) -> None:
    """A key of the wrong type stays what it is; it must not stop the lane for ever."""
    world.publisher = RedisPublisher(world.clients)  # type: ignore[assignment]  # the real one
    await world.clients.aio.set(world.clients.keys.channel("1", "poison", "m"), "x")
    await push(world, "a")
    await push(world, "bad", channels=["poison"])
    await push(world, "b")

    await world.drain()

    assert await _history(world.clients, 2) == ["a", "b"]
    (failed,) = await world.failed()
    assert failed.reason == "driver_refused"
    assert "WRONGTYPE" in failed.error


async def test_a_broadcast_without_the_right_shape_fails_and_the_rest_goes_on(
    world: WorkerWorld,
) -> None:
    await push(world, "a")
    await push(world, "bad", channels="orders")
    await push(world, "b", surprise=1)
    await push(world, "c")

    await world.drain()

    assert world.publisher.names == ["a", "c"]
    assert {failed.reason for failed in await world.failed()} == {"invalid_job"}


async def test_stopping_while_the_publisher_is_away_hands_all_back_in_order(
    world: WorkerWorld,
) -> None:
    world.publisher.trouble = refusing("b", DriverUnavailable("away"))
    await push(world, "a", "b", "c")
    worker = world.worker(stop_when_empty=False)
    running = asyncio.create_task(worker.run())
    sizes = QueueSizes()
    while sizes.held == 0:
        sizes = await world.sizes("broadcasts")

    worker.stop()
    assert await running is ExitReason.INTERRUPTED
    assert await world.sizes("broadcasts") == QueueSizes(ready=3)
    world.publisher.trouble = lambda _: None
    await world.drain()

    assert world.publisher.names == ["a", "b", "c"]
    assert await world.failed() == []


async def test_another_worker_carries_on_where_a_dead_one_stopped(world: WorkerWorld) -> None:
    names = [str(number) for number in range(100)]
    await push(world, *names)
    dead = StepRequest(queue="broadcasts", reserve=64, lease=0.2, ordered=True)
    assert len((await world.queue.step(dead)).reserved) == 64

    async with world.running(lease=0.6):
        await eventually(lambda: len(world.publisher.names) == 100)

    assert world.publisher.names == names


async def test_two_workers_keep_one_order(world: WorkerWorld) -> None:
    names = [str(number) for number in range(500)]

    async with world.running(batch=7), world.running(batch=5):
        for first in range(0, 500, 50):
            await push(world, *names[first : first + 50])
        await eventually(lambda: len(world.publisher.names) == 500)

    assert world.publisher.names == names


async def test_broadcasts_do_not_wait_for_slow_jobs(world: WorkerWorld, seen: list[str]) -> None:
    gate = sample_jobs.gates.setdefault("a", asyncio.Event())
    await world.push(Waiting("a"))

    async with world.running(concurrency=1):
        await eventually(lambda: seen)
        await push(world, "x")
        await eventually(lambda: world.publisher.names)
        gate.set()


async def test_broadcasts_go_on_while_a_suspect_runs_alone(
    world: WorkerWorld, seen: list[str]
) -> None:
    gate = sample_jobs.gates.setdefault("a", asyncio.Event())
    await world.push(Waiting("a"))
    await world.queue.step(StepRequest(queue="default", reserve=1, lease=0.05))

    async with world.running(lease=0.6):
        await eventually(lambda: seen)
        await push(world, "x")
        await eventually(lambda: world.publisher.names)
        gate.set()


async def test_other_jobs_in_a_lane_keep_their_place(world: WorkerWorld, seen: list[str]) -> None:
    order: list[str] = []
    world.publisher.trouble = lambda publications: order.extend(
        [
            *seen[len([each for each in order if each in seen]) :],
            *(one.name for one in publications),
        ]
    )
    await push(world, "a", "b")
    await world.push(Note("job"), queue="broadcasts")
    await push(world, "c")

    await world.drain()

    assert order == ["a", "b", "job", "c"]


async def test_a_broadcast_on_a_plain_queue_is_published_too(world: WorkerWorld) -> None:
    await push(world, "a", queue="default")

    await world.drain()

    assert world.publisher.names == ["a"]


async def test_each_broadcast_is_logged_in_a_line_without_its_data(
    world: WorkerWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "broadcaster.worker")
    await push(world, "Shipped", data='{"card":"4242"}')

    await world.drain()

    (record,) = [each for each in caplog.records if vars(each).get("event") == "published"]
    assert record.getMessage() == "Shipped on orders"
    assert vars(record)["channel"] == "orders"
    assert vars(record)["dur_ms"] >= 0
    assert "4242" not in caplog.text


async def test_the_lane_goes_on_after_a_lost_lease(world: WorkerWorld) -> None:
    """A worker that was suspended too long stops its batch; the new holder publishes it all."""
    blocked = asyncio.Event()

    async def away(publications: Sequence[Publication]) -> None:
        blocked.set()
        await asyncio.sleep(30)

    world.publisher.apublish = away  # type: ignore[method-assign]  # a publisher that hangs
    await push(world, "a", "b")
    async with world.running(lease=0.6):
        await blocked.wait()
        key = world.clients.keys.queue("broadcasts", "held")
        for job_id in await world.clients.aio.hkeys(key):
            await world.clients.aio.hset(key, job_id, "99")
        await eventually(_no_batch_runs)


def _no_batch_runs() -> bool:
    return not any("run_in_order" in repr(task) for task in asyncio.all_tasks())


@pytest.mark.parametrize("fault", ["freeze", "restart"])
async def test_an_outage_in_the_middle_costs_neither_broadcasts_nor_their_order(
    redis_server: FaultyServer, fault: str
) -> None:
    """The lease is far longer than the wait, so nothing here waits for a lease."""
    clients = RedisClients(redis_server.url)
    listener = RedisClients(redis_server.url)
    world = WorkerWorld(clients)
    world.publisher = RedisPublisher(clients)  # type: ignore[assignment]  # the real one
    timers: list[threading.Timer] = []
    try:
        async with world.running(lease=60, batch=10):
            for number in range(300):
                if number == 150:
                    await asyncio.to_thread(_disturb, redis_server, fault, timers)
                await _push_when_back(world, broadcast_job(str(number)))
            names = await _history(listener, 300)
    finally:
        for timer in timers:  # it would thaw a server that is no more
            timer.cancel()
            await asyncio.to_thread(timer.join)
        redis_server.thaw()
        await clients.aclose()
        await listener.aclose()

    assert names == [str(number) for number in range(300)]


def _disturb(server: FaultyServer, fault: str, timers: list[threading.Timer]) -> None:
    if fault == "restart":
        server.restart(keep_data=True)
        return
    server.freeze()
    timer = threading.Timer(2.5, server.thaw)
    timer.start()
    timers.append(timer)


async def _push_when_back(world: WorkerWorld, job: NewJob) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            await world.push(job)
        except DriverUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return


async def _history(clients: RedisClients, count: int) -> list[str]:
    """Return the names of what was published on the channel, when they are `count`."""
    history = RedisHistory(clients)
    deadline = time.monotonic() + 20
    while True:
        envelopes = [decode_envelope(each) for each in await history.read("1", "orders")]
        if len(envelopes) >= count or time.monotonic() > deadline:
            return [json.loads(each.frame)["event"] for each in envelopes]
        await asyncio.sleep(0.05)
