"""
The queue by itself: ``python -m benchmarks.queue.ours``.

Every figure is printed with its goal; see README.md in this folder.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.drivers.redis.batches import RedisBatches
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.embedded import EmbeddedServer
from broadcaster.drivers.redis.publisher import RedisPublisher
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.jobs.bus import new_job
from broadcaster.jobs.job import Job
from broadcaster.jobs.registry import registry
from broadcaster.protocol.ids import uuid7
from broadcaster.protocol.lanes import ordered_queue
from broadcaster.protocol.payload import BROADCAST_JOB, Payload, encode_payload
from broadcaster.worker.broadcasts import BroadcastPublisher
from broadcaster.worker.heartbeat import Heartbeat
from broadcaster.worker.memory import collect_seldom
from broadcaster.worker.options import WorkerOptions
from broadcaster.worker.runner import JobRunner
from broadcaster.worker.stores import QueueStores
from broadcaster.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.contracts.queue import NewJob

late: list[float] = []
begun: asyncio.Queue[float] = asyncio.Queue()


class Nothing(Job):
    """A job that does nothing."""

    number: int

    async def handle(self) -> None:
        """Do nothing."""


class Due(Job):
    """A job that notes how late it is."""

    at: float

    async def handle(self) -> None:
        """Note it."""
        late.append(time.time() - self.at)


class Started(Job):
    """A job that notes when it began."""

    number: int

    async def handle(self) -> None:
        """Note it."""
        begun.put_nowait(time.perf_counter())


class Figure(NamedTuple):
    """One line of the table."""

    name: str
    value: float
    unit: str
    goal: float
    more_is_better: bool = True
    lowest: float | None = None
    highest: float | None = None

    @property
    def met(self) -> bool:
        """Whether it reaches its goal."""
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


class Bench:
    """One server, and what is measured on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clients = RedisClients(url, "bench")
        self.queue = RedisQueue(self.clients)

    def worker(self, **options: object) -> Worker:
        """Return a worker in this process."""
        given = WorkerOptions(**{"queues": ("default",), "stop_when_empty": True, **options})  # type: ignore[arg-type]
        stopping = asyncio.Event()
        publisher = RedisPublisher(self.clients)
        stores = QueueStores(self.queue, RedisBatches(self.clients))
        broadcasts = BroadcastPublisher(publisher, stopping)
        runner = JobRunner(registry, given, broadcasts, stores=stores)
        heartbeat = Heartbeat(RedisQueue(RedisClients(self.url, "bench")), given.lease)
        return Worker(
            "bench",
            queue=self.queue,
            heartbeat=heartbeat,
            runner=runner,
            options=given,
            stopping=stopping,
        )

    async def fresh(self, run: Callable[[], Awaitable[float]]) -> float:
        """Measure on an empty server; nothing but these benchmarks is on it."""
        await self.clients.aio.flushdb()
        return await run()

    async def drain(self, concurrency: int, count: int) -> float:
        """Return the jobs a second that a worker runs."""
        await self.queue.apush([made(Nothing(number)) for number in range(count)])
        worker = self.worker(concurrency=concurrency)
        started = time.perf_counter()
        await worker.run()
        taken = time.perf_counter() - started
        await self.all_done("default")
        return count / taken

    async def all_done(self, queue: str) -> None:
        """End the benchmark if a job was left, or failed: such figures say nothing."""
        left = await self.queue.asizes(queue)
        if left.ready or left.delayed or left.held or left.failed:
            sys.exit(f"not all jobs of {queue} were done: {left}")

    async def enqueue(self, count: int, coroutines: int = 50) -> float:
        """Return the jobs a second that are pushed one by one."""
        jobs = iter([made(Nothing(number)) for number in range(count)])

        async def push() -> None:
            for job in jobs:
                await self.queue.apush([job])

        started = time.perf_counter()
        await asyncio.gather(*(push() for _ in range(coroutines)))
        return count / (time.perf_counter() - started)

    async def bulk(self, count: int) -> float:
        """Return the jobs a second that are pushed in one call."""
        jobs = [made(Nothing(number)) for number in range(count)]
        started = time.perf_counter()
        await self.queue.apush(jobs)
        return count / (time.perf_counter() - started)

    async def lateness(self, count: int) -> float:
        """Return by how many ms delayed jobs are late."""
        worker = self.worker(stop_when_empty=False, queues=("due",))
        running = asyncio.create_task(worker.run())
        first = len(late)
        for number in range(count):
            delay = 0.5 + number * 0.01
            await self.queue.apush([made(Due(time.time() + delay), queue="due", delay=delay)])
        while len(late) < first + count:  # noqa: ASYNC110 - the jobs are not to do more
            await asyncio.sleep(0.02)
        worker.stop()
        await running
        return statistics.median(late[first:]) * 1000

    async def idle_start(self, count: int) -> float:
        """Return the ms from a push to the start of the job in a worker without work."""
        worker = self.worker(stop_when_empty=False, queues=("idle",))
        running = asyncio.create_task(worker.run())
        waits: list[float] = []
        for number in range(count):
            await asyncio.sleep(0.02)
            pushed = time.perf_counter()
            await self.queue.apush([made(Started(number), queue="idle")])
            waits.append(await begun.get() - pushed)
        worker.stop()
        await running
        return statistics.median(waits) * 1000

    async def broadcasts(self, count: int) -> float:
        """Return the events a second that a worker publishes."""
        await self.queue.apush([broadcast(f"c{number % 200}") for number in range(count)])
        worker = self.worker(queues=("broadcasts",), ordered=frozenset({"broadcasts"}))
        started = time.perf_counter()
        await worker.run()
        taken = time.perf_counter() - started
        await self.all_done("broadcasts")
        return count / taken


def made(job: Job, *, queue: str = "default", delay: float = 0.0) -> NewJob:
    return new_job(
        job, now=time.time(), randomness=os.urandom(10), default_queue=queue, delay=delay
    )


def broadcast(channel: str) -> NewJob:
    job_id = uuid7(time.time(), os.urandom(10))
    fields = {"app": "1", "channels": [channel], "name": "App\\Events\\Tick", "data": "{}"}
    body = encode_payload(Payload(id=job_id, job=BROADCAST_JOB, data=fields))
    job = made(Nothing(0))
    return type(job)(job_id, ordered_queue("broadcasts", channel), body)


async def measure(url: str, *, quick: bool = False, rounds: int = 3) -> list[Figure]:
    """
    Return every figure, the middle of some rounds on the server at `url`.

    Args:
        quick: with a quarter of the jobs.
    """
    bench = Bench(url)
    collect_seldom()  # as the worker's command does
    part = 4 if quick else 1
    plan: list[tuple[str, Callable[[], Awaitable[float]], str, float, bool]] = [
        (
            "drain at concurrency 100",
            lambda: bench.drain(100, 40_000 // part),
            "jobs/s",
            15e3,
            True,
        ),
        ("drain at concurrency 1", lambda: bench.drain(1, 10_000 // part), "jobs/s", 3_000, True),
        ("enqueue from 50 coroutines", lambda: bench.enqueue(30_000 // part), "jobs/s", 25e3, True),
        ("enqueue in bulk", lambda: bench.bulk(40_000 // part), "jobs/s", 40_000, True),
        ("delayed job, median lateness", lambda: bench.lateness(200 // part), "ms", 5, False),
        ("idle worker, median start", lambda: bench.idle_start(200 // part), "ms", 2, False),
        ("queued broadcasts", lambda: bench.broadcasts(40_000 // part), "events/s", 20_000, True),
    ]
    figures: list[Figure] = []
    for name, run, unit, goal, more_is_better in plan:
        values = sorted([await bench.fresh(run) for _ in range(rounds)])
        middle = statistics.median(values)
        figures.append(Figure(name, middle, unit, goal, more_is_better, values[0], values[-1]))
    if min(late) < 0:
        print(f"a delayed job was {-min(late) * 1000:.1f} ms early")
    await bench.clients.aclose()
    return figures


def table(figures: list[Figure]) -> str:
    """Return the figures as lines; what falls short is named."""
    return "\n".join(
        f"{each.name:<30} {each.value:>12,.1f} {each.unit:<9}"
        f" goal {'>=' if each.more_is_better else '<='} {each.goal:,g}"
        f"{_spread(each)}{'' if each.met else '   FALLS SHORT'}"
        for each in figures
    )


def _spread(figure: Figure) -> str:
    if figure.lowest is None or figure.highest is None:
        return ""
    return f"   ({figure.lowest:,.1f} to {figure.highest:,.1f})"


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes event loops, as for the worker's command."""
    try:
        import uvloop  # noqa: PLC0415 - of the extra [fast]
    except ImportError:
        return None
    return uvloop.new_event_loop


def main() -> None:
    logging.getLogger("broadcaster").setLevel(logging.ERROR)
    with EmbeddedServer() as server, asyncio.Runner(loop_factory=loop_factory()) as runner:
        print(table(runner.run(measure(server.url))))


if __name__ == "__main__":
    main()
