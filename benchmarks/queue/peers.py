# ruff: noqa: PLC0415 - each run imports one library
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator,unused-ignore"
"""
One library: ``python peers.py LIBRARY REDIS_URL JOBS CONCURRENCY``.

It pushes jobs that do nothing, runs a worker of the library until all are done, and prints
one JSON object: the seconds from the first job to the last, and what the jobs have cost
Redis. Every library runs in a process of its own like this one, ours too, and logs nothing
about single jobs. It runs under an interpreter that has the library; only `broadcaster`
imports anything of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from typing import Any

begun = 0.0
done = 0
lock = threading.Lock()
server: Any = None
before: tuple[float, float] = (0.0, 0.0)


def spent() -> tuple[float, float]:
    """Return the commands that Redis has run, those of scripts too, and its CPU seconds."""
    stats, cpu = server.info("commandstats"), server.info("cpu")
    calls = sum(one["calls"] for name, one in stats.items() if name != "cmdstat_info")
    return calls, cpu["used_cpu_sys"] + cpu["used_cpu_user"]


def pushed() -> None:
    """Note what Redis has spent before the first job runs."""
    global before  # noqa: PLW0603 - one run per process
    before = spent()


def count(total: int) -> None:
    """Count a job; print and leave at the last one."""
    global begun, done  # noqa: PLW0603 - one run per process
    with lock:
        done += 1
        begun = begun or time.perf_counter()
        if done == total:
            seconds = time.perf_counter() - begun
            commands, cpu = (now - then for now, then in zip(spent(), before, strict=True))
            costs = {"commands": commands / total, "microseconds": cpu / total * 1e6}
            line = json.dumps({"seconds": seconds, **costs})
            os.write(1, f"{line}\n".encode())  # print may have been redirected
            os._exit(0)


def broadcaster(url: str, total: int, concurrency: int) -> None:
    """Ours: async jobs, in order, from one worker."""
    from benchmarks.queue.ours import Bench, made
    from broadcaster.jobs.job import Job
    from broadcaster.worker.memory import collect_seldom

    class Counted(Job):
        number: int

        async def handle(self) -> None:
            count(total)

    async def main() -> None:
        bench = Bench(url)
        await bench.queue.apush([made(Counted(number)) for number in range(total)])
        collect_seldom()  # as the worker's command does
        pushed()
        await bench.worker(concurrency=concurrency).run()

    _run(main())


def celery(url: str, total: int, concurrency: int) -> None:
    """Celery with threads."""
    from celery import Celery

    url = url.replace("unix://", "redis+socket://").replace("?db=0", "")
    app: Any = Celery("bench", broker=url)
    app.conf.update(
        worker_prefetch_multiplier=4, task_ignore_result=True, worker_hijack_root_logger=False
    )

    @app.task
    def nothing() -> None:
        count(total)

    app.task(nothing, name="nothing")
    for _ in range(total):
        nothing.delay()
    pushed()
    pool = ["--pool=threads", f"--concurrency={concurrency}", "--loglevel=ERROR"]
    app.worker_main(["worker", *pool, "--without-gossip", "--without-mingle"])


def dramatiq(url: str, total: int, concurrency: int) -> None:
    """Dramatiq, which has threads."""
    import dramatiq as library
    from dramatiq.brokers.redis import RedisBroker

    broker: Any = RedisBroker(url=url)
    library.set_broker(broker)

    @library.actor
    def nothing() -> None:
        count(total)

    for _ in range(total):
        nothing.send()
    pushed()
    library.Worker(broker, worker_threads=concurrency).start()
    threading.Event().wait()


def taskiq(url: str, total: int, concurrency: int) -> None:
    from taskiq.api import run_receiver_task
    from taskiq_redis import ListQueueBroker

    async def main() -> None:
        broker: Any = ListQueueBroker(url)

        @broker.task
        async def nothing() -> None:
            count(total)

        await broker.startup()
        for _ in range(total):
            await nothing.kiq()
        pushed()
        await run_receiver_task(broker, max_async_tasks=concurrency, run_startup=True)

    _run(main())


def saq(url: str, total: int, concurrency: int) -> None:
    from redis.asyncio import Redis
    from saq import Worker
    from saq.queue.redis import RedisQueue

    async def main() -> None:
        queue: Any = RedisQueue(Redis.from_url(url))

        async def nothing(_context: Any) -> None:
            count(total)

        await queue.connect()
        for _ in range(total):
            await queue.enqueue("nothing")
        pushed()
        await Worker(queue, functions=[("nothing", nothing)], concurrency=concurrency).start()

    _run(main())


def _run(coroutine: Any) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)


LIBRARIES = {
    "broadcaster": broadcaster,
    "celery": celery,
    "dramatiq": dramatiq,
    "taskiq": taskiq,
    "saq": saq,
}

if __name__ == "__main__":
    import logging

    import redis

    logging.disable(logging.WARNING)
    server = redis.Redis.from_url(sys.argv[2])
    LIBRARIES[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
