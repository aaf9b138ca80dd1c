"""
A real queue for tests, on a server of their own, and its jobs run in the test's process.

::

    def test_an_order_is_confirmed_by_mail(live_queue: LiveQueue) -> None:
        place_order(7)

        live_queue.drain()

        assert outbox == [...]
        live_queue.assert_nothing_failed()

The server is the one of ``broadcaster dev``; each test has keys of its own on it. Everything
is as in production: payloads, scripts, leases, workers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from contextlib import ExitStack, contextmanager
from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from broadcaster import current
from broadcaster.drivers.redis.client import RedisClients, translated
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.delay import as_seconds
from broadcaster.jobs.execution import loop_is_running
from broadcaster.jobs.lifecycle import JobAttempted
from broadcaster.jobs.telling import INLINE
from broadcaster.protocol.fact_jobs import WEBHOOK_QUEUE
from broadcaster.protocol.facts import FACT_QUEUE
from broadcaster.protocol.lanes import lane_names, split_lane
from broadcaster.settings import load_settings
from broadcaster.testing.records import listed
from broadcaster.wiring.backend import open_backend
from broadcaster.wiring.worker import open_worker
from broadcaster.wiring.worker_options import worker_options

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Mapping, Sequence

    from broadcaster.contracts.queue import QueueSizes
    from broadcaster.contracts.stores import FailedJob
    from broadcaster.jobs.delay import Duration
    from broadcaster.settings import Settings

_OF_GATEWAYS = frozenset({FACT_QUEUE, WEBHOOK_QUEUE})
_SECONDS = 60.0


class _Runs(NamedTuple):
    """
    What a worker has done.

    Attributes:
        tries: how many there were.
        jobs: those of them that ran a job; broadcasts and facts have no class.
    """

    tries: int
    jobs: int


class LiveQueue:
    """
    The current application, on the server at `url`; use it as a context manager.

    Settings are read as ever, but for the server, the prefix, the credentials and the drivers:
    nothing that a test does reaches another server. Jobs run one after the other, unless
    `overrides` say another ``worker.concurrency``.

    Args:
        url: of a server that tests may write to.
        overrides: further settings by path, as in ``{"queue.default": "jobs"}``.
    """

    def __init__(self, url: str, overrides: Mapping[str, object] | None = None) -> None:
        ours: dict[str, object] = {
            "redis_url": url,
            "prefix": f"test:{uuid.uuid4().hex[:12]}",
            "app.id": "test",
            "app.key": "test-key",
            "app.secret": "test-secret",
            "queue.driver": "redis",
            "broadcast.driver": "redis",
            "failed.driver": "redis",
        }
        wanted = {"worker.concurrency": 1, **(overrides or {}), **ours}
        self.settings = _on_one_server(load_settings(wanted))
        self._clients = RedisClients(url, self.settings.prefix)
        self._queue = RedisQueue(self._clients)
        self._failed = RedisFailedJobs(self._clients)
        self._stack = ExitStack()

    def __repr__(self) -> str:
        """Say where its keys are."""
        return f"<LiveQueue with the prefix {self.settings.prefix!r}>"

    def __enter__(self) -> Self:
        self._stack.callback(self._close)
        application = open_backend(self.settings)
        self._stack.callback(application.close)
        self._stack.enter_context(current.replaced(application))
        self._stack.enter_context(_opened_as_current(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def work_once(self, *queues: str) -> int:
        """
        Run the next job, if one is ready; return the number of runs: 1 or 0.

        Broadcasts that wait before it are published, and count for nothing.

        Args:
            queues: where to look, the most urgent first; without any, everywhere.

        Raises:
            RuntimeError: an event loop is running; await `awork_once`.
        """
        return _blocking("work_once", self.awork_once(*queues))

    async def awork_once(self, *queues: str) -> int:
        """Run the next job; see `work_once`."""
        async with asyncio.timeout(_SECONDS):
            while True:
                runs = await self._work(queues, max_jobs=1)
                if runs.jobs or not runs.tries:
                    return runs.jobs

    def drain(self, *queues: str) -> int:
        """
        Run jobs until none is ready, those included that they dispatch; return how many runs.

        Delayed jobs and retries that wait are left; `travel` makes them ready.

        Args:
            queues: where to look, the most urgent first; without any, everywhere.

        Raises:
            RuntimeError: an event loop is running; await `adrain`.
            TimeoutError: it takes longer than a minute.
        """
        return _blocking("drain", self.adrain(*queues))

    async def adrain(self, *queues: str) -> int:
        """Run jobs until none is ready; see `drain`."""
        total = 0
        async with asyncio.timeout(_SECONDS):
            while (runs := await self._work(queues, max_jobs=None)).tries:
                total += runs.jobs
        return total

    def travel(self, duration: Duration) -> None:
        """Make jobs ready that are due within `duration`, and bring the others closer."""
        passing = as_seconds(duration, "duration") * 1000
        redis = self._clients.sync
        for name in self._names():
            key = self._clients.keys.queue(name, "delayed")
            with translated(redis):
                waiting: Any = redis.zrange(key, 0, -1, withscores=True)
                if waiting:
                    redis.zadd(key, {job_id: due - passing for job_id, due in waiting})

    def sizes(self, queue: str | None = None) -> QueueSizes:
        """Return how many jobs of a queue and its lanes are in which state; of the default one."""
        return self._queue.sizes(queue or self.settings.queue.default)

    def failed(self) -> Sequence[FailedJob]:
        """Return the jobs that were given up, newest first."""
        return self._failed.find()

    def assert_nothing_failed(self) -> None:
        """Fail if a job was given up; the message has its traceback."""
        __tracebackhide__ = True
        found = self.failed()
        if found:
            title = "1 job failed:" if len(found) == 1 else f"{len(found)} jobs failed:"
            raise AssertionError(listed(title, [_told(one) for one in found], ""))

    async def _work(self, queues: Sequence[str], *, max_jobs: int | None) -> _Runs:
        wanted = tuple(queues) or tuple(self._families())
        if not wanted:
            return _Runs(0, 0)
        said = worker_options(self.settings, self.settings.worker)
        options = dataclasses.replace(
            said,
            queues=wanted,
            weights=None,
            max_jobs=max_jobs,
            stop_when_empty=True,
            # Of this process the worker is a guest only.
            memory=None,
            max_time=None,
            hard_timeouts=False,  # a process would not see what a test has patched
        )
        runs: list[JobAttempted] = []
        remove = lifecycle_listeners.add(JobAttempted, runs.append)
        try:
            # The worker makes an application of its own the current one.
            with current.replaced(open_backend(self.settings)):
                opened = open_worker(self.settings, options)
                try:
                    await opened.worker.run()
                finally:
                    await opened.aclose()
        finally:
            remove()
        # What a job runs inline is a part of it.
        tries = [run.job for run in runs if run.connection_name != INLINE]
        return _Runs(len(tries), sum(taken.job is not None for taken in tries))

    def _families(self) -> list[str]:
        names = {split_lane(name)[0] for name in self._queue.queues()}
        return sorted(names - _OF_GATEWAYS)

    def _names(self) -> list[str]:
        lanes = self.settings.queue.lanes
        return [each for name in self._families() for each in (name, *lane_names(name, lanes))]

    def _close(self) -> None:
        redis = self._clients.sync
        cursor = None
        while cursor != 0:
            with translated(redis):
                page: Any = redis.scan(cursor or 0, match=f"{self.settings.prefix}:*", count=1_000)
                cursor, keys = page
                if keys:
                    redis.delete(*keys)
        self._clients.close()


def _told(failed: FailedJob) -> str:
    what = f"{failed.job or failed.id} on {failed.queue}: {failed.error} ({failed.reason})"
    return f"{what}\n{indent(failed.traceback.rstrip(), ' ' * 6)}".rstrip()


_open: list[LiveQueue] = []


def work_once(*queues: str) -> int:
    """Run the next job of the live queue of this test; see `LiveQueue.work_once`."""
    return _live().work_once(*queues)


async def awork_once(*queues: str) -> int:
    """Run the next job of the live queue of this test; see `LiveQueue.work_once`."""
    return await _live().awork_once(*queues)


def drain(*queues: str) -> int:
    """Run the jobs of the live queue of this test; see `LiveQueue.drain`."""
    return _live().drain(*queues)


async def adrain(*queues: str) -> int:
    """Run the jobs of the live queue of this test; see `LiveQueue.drain`."""
    return await _live().adrain(*queues)


def _live() -> LiveQueue:
    if not _open:
        raise RuntimeError(
            "no live queue is open: ask for the fixture live_queue, or use LiveQueue(url)"
        )
    return _open[-1]


@contextmanager
def _opened_as_current(live: LiveQueue) -> Generator[None]:
    _open.append(live)
    try:
        yield
    finally:
        _open.remove(live)


def _blocking(verb: str, work: Coroutine[Any, Any, int]) -> int:
    if loop_is_running():
        work.close()
        raise RuntimeError(f"an event loop is running here: await a{verb}()")
    return asyncio.run(work)


def _on_one_server(settings: Settings) -> Settings:
    """Return `settings` with every queue connection on the server of the test."""
    queue = dataclasses.replace(settings.queue, connections=())
    named = {
        name: dataclasses.replace(said, driver="redis", redis_url=None, connections=())
        for name, said in settings.queues.items()
    }
    return dataclasses.replace(settings, queue=queue, queues=named)
