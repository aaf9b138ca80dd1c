"""A worker inside the test, on a real queue, with a publisher that records."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue import NewJob, QueueSizes
from broadcaster.drivers.redis.batches import RedisBatches
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.locks import RedisLocks
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.jobs.bus import new_job
from broadcaster.jobs.registry import registry
from broadcaster.protocol.ids import uuid7
from broadcaster.protocol.payload import BROADCAST_JOB, Payload, encode_payload
from broadcaster.worker.broadcasts import BroadcastPublisher
from broadcaster.worker.heartbeat import Heartbeat
from broadcaster.worker.options import WorkerOptions
from broadcaster.worker.runner import JobRunner
from broadcaster.worker.stores import QueueStores
from broadcaster.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from broadcaster.contracts.publisher import Publication
    from broadcaster.contracts.stores import FailedJob
    from broadcaster.jobs.job import Job
    from broadcaster.worker.options import ExitReason


class RecordingPublisher:
    """Keeps what is published; `trouble` may raise first."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.trouble: Callable[[Sequence[Publication]], None] = lambda _: None

    @property
    def names(self) -> list[str]:
        return [name for call in self.calls for name in call]

    def publish(self, publications: Sequence[Publication]) -> None:
        raise AssertionError("a worker publishes from its event loop")

    async def apublish(self, publications: Sequence[Publication]) -> None:
        self.trouble(publications)
        await asyncio.sleep(0)
        self.calls.append([publication.name for publication in publications])


def broadcast_job(name: str, *, queue: str = "broadcasts", **data: Any) -> NewJob:
    fields = {"app": "1", "channels": ["orders"], "name": name, "data": "{}", "socket_id": None}
    job_id = uuid7(time.time(), os.urandom(10))
    payload = Payload(id=job_id, job=BROADCAST_JOB, data=fields | data)
    return NewJob(job_id, queue, encode_payload(payload))


class WorkerWorld:
    """Pushes jobs and runs workers on one Redis prefix."""

    def __init__(self, clients: RedisClients) -> None:
        self.clients = clients
        self.queue = RedisQueue(clients)
        self.publisher = RecordingPublisher()
        self.workers: list[Worker] = []

    async def push(self, *jobs: Job | NewJob, **options: Any) -> list[NewJob]:
        made = [job if isinstance(job, NewJob) else self.made(job, **options) for job in jobs]
        await self.queue.apush(made)
        return made

    def made(self, job: Job, **options: Any) -> NewJob:
        given: dict[str, Any] = {"default_queue": "default"} | options
        return new_job(job, now=time.time(), randomness=os.urandom(10), **given)

    def worker(self, **options: Any) -> Worker:
        """Return a worker; by default it stops when nothing is ready."""
        given = WorkerOptions(**({"stop_when_empty": True} | options))
        stopping = asyncio.Event()
        broadcasts = BroadcastPublisher(self.publisher, stopping)
        stores = QueueStores(self.queue, RedisBatches(self.clients))
        runner = JobRunner(registry, given, broadcasts, stores=stores)
        heartbeat_queue = RedisQueue(RedisClients(self.clients.url, self.clients.prefix))
        worker = Worker(
            f"w{len(self.workers)}",
            queue=self.queue,
            heartbeat=Heartbeat(heartbeat_queue, given.lease, locks=RedisLocks(self.clients)),
            runner=runner,
            options=given,
            stopping=stopping,
            after_crash=runner.after_crash,
        )
        self.workers.append(worker)
        return worker

    async def drain(self, **options: Any) -> ExitReason:
        """Run a worker until nothing is ready."""
        async with asyncio.timeout(30):
            return await self.worker(**options).run()

    @contextlib.asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[Worker]:
        """Run a worker beside the test; it is asked to stop at the end."""
        worker = self.worker(stop_when_empty=False, **options)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            async with asyncio.timeout(30):
                await task

    async def sizes(self, queue: str = "default") -> QueueSizes:
        return await self.queue.asizes(queue)

    async def failed(self) -> Sequence[FailedJob]:
        return await asyncio.to_thread(RedisFailedJobs(self.clients).find)
