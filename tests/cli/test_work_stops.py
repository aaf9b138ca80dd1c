"""Why real worker processes stop, what they end with, and what listeners hear (rows 41, 42, 47)."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.queue import RedisQueue
from tests.cli.test_work import new_job
from tests.cli.worker_process import environment, opened
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients
    from tests.cli.worker_process import Process, Shop
    from tests.faults import FaultyServer

pytestmark = [pytest.mark.redis, pytest.mark.process]

LISTENING = """\
from broadcaster import Job, listen
from broadcaster.jobs.lifecycle import JobProcessing, LifecycleEvent, WorkerStopping
from shop_jobs import note

class Broken(Job):
    def handle(self):
        raise OSError("no way")

@listen(JobProcessing)
def broken(event: JobProcessing) -> None:
    raise SystemExit("a listener that is broken")

@listen(LifecycleEvent)
def heard(event: LifecycleEvent) -> None:
    name = type(event).__name__
    if name not in ("Looping", "JobPopping"):
        more = f" {event.status} {event.reason}" if isinstance(event, WorkerStopping) else ""
        more = f" {event.backoff:g}" if hasattr(event, "backoff") else more
        note(name + more)
"""


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, prefix: str) -> Iterator[Shop]:
    with opened(tmp_path, environment(redis_url, prefix)) as made:
        (tmp_path / "shop_listening.py").write_text(LISTENING, encoding="utf-8")
        yield made


@pytest.fixture
def queue(clients: RedisClients) -> RedisQueue:
    return RedisQueue(clients)


async def greet(queue: RedisQueue, *names: str) -> None:
    await queue.apush([new_job("greet", name=name) for name in names])


async def work(shop: Shop, *args: str) -> Process:
    return await asyncio.to_thread(shop.run, "work", "shop_jobs", *args)


async def test_it_stops_after_so_many_jobs_row_41(shop: Shop, queue: RedisQueue) -> None:
    await greet(queue, "a", "b", "c")

    process = await work(shop, "--max-jobs", "2", "--concurrency", "5")

    assert process.wait() == 0
    assert "worker stopped: max_jobs" in process.output
    assert sorted(shop.notes) == ["hello a", "hello b"]
    assert (await queue.asizes("default")).ready == 1


async def test_once_runs_one_job_row_41(shop: Shop, queue: RedisQueue) -> None:
    await greet(queue, "a", "b")

    process = await work(shop, "--once")

    assert process.wait() == 0
    assert shop.notes == ["hello a"]
    assert (await queue.asizes("default")).ready == 1


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("--max-time", "0.3"), "max_time"),
        (("--stop-when-empty-for", "0.3"), "empty"),
        (("--stop-when-empty", "--memory", "0", "--max-jobs", "0"), "empty"),
    ],
)
async def test_it_finishes_and_stops_by_itself_row_41(
    shop: Shop, queue: RedisQueue, args: tuple[str, ...], reason: str
) -> None:
    await greet(queue, "a")

    process = await work(shop, *args)

    assert process.wait() == 0
    assert f"worker stopped: {reason}" in process.output
    assert shop.notes == ["hello a"]


async def test_it_ends_with_69_when_its_queue_is_away_for_too_long_row_41(
    tmp_path: Path, redis_server: FaultyServer, prefix: str
) -> None:
    with opened(tmp_path, environment(redis_server.url, prefix)) as shop:
        process = shop.start("work", "--max-away", "0.5")
        await eventually(lambda: "worker started" in process.output, within=30)

        redis_server.stop()

        assert await asyncio.to_thread(process.wait, 30) == 69
        assert "worker stopped: lost_connection" in process.output
        assert "Traceback" not in process.output


async def test_what_outlives_the_grace_is_handed_back_and_ends_it_with_1_row_42(
    shop: Shop, queue: RedisQueue
) -> None:
    await queue.apush([new_job("Slow", name="x")])
    process = shop.start("work", "shop_jobs", "--grace", "0.5")
    await eventually(lambda: shop.notes == ["begins x"], within=30)

    process.signal(signal.SIGTERM)

    assert await asyncio.to_thread(process.wait, 20) == 1
    assert "what runs gets 0.5 s to finish" in process.output
    assert "worker stopped: forced" in process.output
    assert (await queue.asizes("default")).ready == 1
    assert (await work(shop, "--once")).wait() == 0
    assert shop.notes[-1] == "ends x"


async def test_tries_and_backoff_of_the_command_hold_for_jobs_that_do_not_say_row_41(
    shop: Shop, queue: RedisQueue, clients: RedisClients
) -> None:
    await queue.apush([new_job("Broken")])

    args = ("--tries", "2", "--backoff", "0.2", "--stop-when-empty-for", "1")
    process = await work(shop, "shop_listening", *args)

    assert process.wait() == 0
    assert shop.notes == [
        "WorkerStarting",
        "JobPopped",
        "JobProcessing",
        "JobExceptionOccurred",
        "JobReleasedAfterException 0.2",
        "JobAttempted",
        "JobPopped",
        "JobProcessing",
        "JobExceptionOccurred",
        "JobFailed",
        "JobAttempted",
        "WorkerStopping 0 empty",
    ]
    assert "a listener of JobProcessing failed" in process.output
    [kept] = await asyncio.to_thread(RedisFailedJobs(clients).find)
    assert (kept.attempts, kept.exception) == (2, "OSError")


async def test_several_processes_go_on_at_once_after_their_jobs_and_pause_together_rows_41_42(
    shop: Shop, queue: RedisQueue
) -> None:
    process = shop.start("work", "shop_jobs", "--processes", "2", "--max-jobs", "1")
    await eventually(lambda: process.output.count("worker started") == 2, within=30)

    process.signal(signal.SIGUSR2)
    await eventually(lambda: process.output.count("takes no new jobs") == 2)
    await greet(queue, "a")
    process.signal(signal.SIGCONT)
    await eventually(lambda: shop.notes == ["hello a"], within=20)

    await eventually(lambda: process.output.count("worker started") == 3, within=20)
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 30) == 0


async def test_a_port_that_is_taken_is_named(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await work(shop, "--health-port", str(port))

    assert process.wait() == 78
    assert f"worker.health_port {port} cannot be listened on" in process.output
    assert "Traceback" not in process.output


async def test_processes_over_their_memory_are_started_again_row_41(shop: Shop) -> None:
    process = shop.start("work", "--processes", "2", "--memory", "5")

    again = "ended with 12; it starts again in 0.5 s"
    await eventually(lambda: process.output.count(again) >= 2, within=30)

    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 20) in (0, 12)
