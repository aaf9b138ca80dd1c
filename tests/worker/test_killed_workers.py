"""``kill -9`` of a worker in the middle of its jobs: all of them run again, soon, and use no try."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.failed import RedisFailedJobs
from tests.cli.worker_process import environment, opened
from tests.e2e.chain import backend
from tests.polling import eventually
from tests.worker.noting_jobs import Lasting

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.process

LEASE = 2.0  # of the workers' environment
NAMES = {"a", "b", "c", "d"}


async def test_all_jobs_of_a_killed_worker_run_again_within_the_lease_and_use_no_try(
    redis_url: str, prefix: str, clients: RedisClients, tmp_path: Path
) -> None:
    """They may run once only (``tries=1``), and come back one at a time: one may be the killer."""
    with opened(tmp_path, environment(redis_url, prefix)) as shop:
        async with backend(redis_url, prefix):
            victim = shop.start("work", "tests.worker.noting_jobs", "--concurrency", "4")
            await asyncio.gather(*(Lasting(name).adispatch() for name in NAMES))
            await eventually(lambda: len(shop.notes) == len(NAMES), within=30)
            options = ("--concurrency", "4", "--json")
            other = shop.start("work", "tests.worker.noting_jobs", *options)
            await eventually(lambda: "worker_started" in other.output, within=30)

            victim.kill()
            killed = time.monotonic()
            await eventually(lambda: len(shop.notes) > len(NAMES), within=LEASE + 15)
            took = time.monotonic() - killed
            (tmp_path / "enough").touch()
            await eventually(lambda: other.output.count("job_done") == len(NAMES), within=20)
        runs = Counter(line.split()[0] for line in shop.notes)
        done = [json.loads(line) for line in other.lines if "job_done" in line]
    failed = await asyncio.to_thread(RedisFailedJobs(clients).find)

    assert runs == dict.fromkeys(NAMES, 2)
    assert {each["attempt"] for each in done} == {1}
    assert list(failed) == []
    # The lease and a third of it more, should it have been an outage; three for a busy machine.
    assert took < LEASE * 4 / 3 + 3
