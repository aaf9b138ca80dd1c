from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from broadcaster.cli.queue import queue
from broadcaster.contracts.fleet import CurrentJob, WorkerRecord
from broadcaster.contracts.queue import NewJob, StepRequest
from broadcaster.contracts.queue_admin import bin_of
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.fleet import RedisFleet
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.jobs.lifecycle import LifecycleEvent, QueueBusy, QueuePaused, QueueResumed
from tests.cli.surroundings import surround

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.redis


@pytest.fixture(autouse=True)
def configured(
    redis_url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BROADCASTER_PREFIX", prefix)


@pytest.fixture
def store(redis_url: str, prefix: str) -> Iterator[RedisClients]:
    made = RedisClients(redis_url, prefix)
    yield made
    made.close()


def run(*args: str, code: int = 0, given: str | None = None) -> str:
    result = CliRunner().invoke(queue, list(args), input=given)
    assert result.exit_code == code, result.output
    return result.output


def loaded(*args: str, code: int = 0) -> Any:
    return json.loads(run(*args, code=code))


def push(store: RedisClients, *queues: str, delay: float = 0.0) -> None:
    jobs = [
        NewJob(id=f"{number:032x}", queue=name, body=b"{}", delay=delay)
        for number, name in enumerate(queues)
    ]
    RedisQueue(store).push(jobs)


def reserved(redis_url: str, prefix: str, name: str) -> int:
    async def step() -> int:
        clients = RedisClients(redis_url, prefix)
        try:
            request = StepRequest(queue=name, reserve=10, worker="w")
            return len((await RedisQueue(clients).step(request)).reserved)
        finally:
            await clients.aclose()

    return asyncio.run(step())


def beat(redis_url: str, prefix: str, record: WorkerRecord) -> None:
    async def tell() -> None:
        clients = RedisClients(redis_url, prefix)
        try:
            await RedisFleet(clients).beat(record)
        finally:
            await clients.aclose()

    asyncio.run(tell())


def took(redis_url: str, prefix: str, queue: str, seconds: float) -> None:
    """Tell that jobs of `queue` take so long."""

    async def tell() -> None:
        clients = RedisClients(redis_url, prefix)
        try:
            await RedisQueueAdmin(clients).tell(queue, {("shop.Mail", bin_of(seconds)): 1})
        finally:
            await clients.aclose()

    asyncio.run(tell())


def test_row_44_status_shows_queues_with_their_lanes_and_workers_with_their_jobs(
    store: RedisClients, redis_url: str, prefix: str
) -> None:
    push(store, "mail", "mail", "orders#0", "orders#3")
    current = CurrentJob("a" * 32, "shop.Ship", "orders", 2.0)
    record = WorkerRecord(
        id="w1", host="box", pid=77, queues=("orders",), slots=4, running=1, current=(current,)
    )
    beat(redis_url, prefix, record)

    shown = loaded("status", "--json")
    text = run("status")

    assert {each["queue"]: each["ready"] for each in shown["queues"]} == {"mail": 2, "orders": 2}
    (worker,) = shown["workers"]
    assert (worker["host"], worker["pid"], worker["running"]) == ("box", 77, 1)
    assert worker["current"][0]["job"] == "shop.Ship"
    assert "shop.Ship of orders for 2s" in text
    assert "no worker" in text


def test_status_of_some_queues_leaves_out_the_others(store: RedisClients) -> None:
    push(store, "mail", "other")

    assert [each["queue"] for each in loaded("status", "mail", "--json")["queues"]] == ["mail"]


def test_status_says_that_nothing_is_there() -> None:
    assert "no queues yet" in run("status")
    assert "no workers" in run("status")


def test_row_44_a_busy_queue_is_told_and_ends_the_monitor_with_1(
    store: RedisClients, heard: list[LifecycleEvent]
) -> None:
    push(store, "mail", "mail", "mail", "calm")

    text = run("monitor", "mail,calm", "--max", "3", code=1)

    assert "mail: BUSY: 3 jobs" in text
    assert "calm: ok: 1 job\n" in text
    assert heard == [QueueBusy(connection_name="default", queue="mail", size=3)]
    assert loaded("monitor", "calm", "--max", "3", "--json")[0]["busy"] == []


def test_row_44_a_queue_is_busy_when_a_new_job_would_wait_too_long(
    store: RedisClients, redis_url: str, prefix: str
) -> None:
    push(store, "mail", "mail", "mail")
    beat(redis_url, prefix, WorkerRecord(id="w", queues=("mail",), slots=1))
    took(redis_url, prefix, "mail", 100.0)

    assert "mail: ok" in run("monitor", "mail", "--max-wait", "1000")
    assert "mail: BUSY: a new job would wait" in run("monitor", "mail", "--max-wait", "60", code=1)
    (mail,) = loaded("monitor", "mail", "--max-wait", "60", "--json", code=1)
    assert mail["expected_wait"] == pytest.approx(300, rel=0.25)


def test_a_monitor_of_a_queue_that_there_never_was_says_so(store: RedisClients) -> None:
    push(store, "mail")

    text = run("monitor", "mial")

    assert "nothing was ever pushed to a queue mial - did you mean 'mail'?" in text


def test_a_monitor_needs_a_queue() -> None:
    assert "at least one queue" in run("monitor", ",", code=2)


def test_row_45_a_paused_queue_reserves_nothing_until_it_is_resumed(
    store: RedisClients, redis_url: str, prefix: str, heard: list[LifecycleEvent]
) -> None:
    push(store, "mail", "mail#2")

    assert "paused until" in run("pause", "mail", "--by", "ada")

    assert (reserved(redis_url, prefix, "mail"), reserved(redis_url, prefix, "mail#2")) == (0, 0)
    assert loaded("status", "--json")["queues"][0]["paused"]["by"] == "ada"
    assert "paused by ada" in run("status")
    assert "goes on" in run("resume", "mail")
    assert (reserved(redis_url, prefix, "mail"), reserved(redis_url, prefix, "mail#2")) == (1, 1)
    assert "was not paused" in run("resume", "mail")
    assert heard == [
        QueuePaused(connection_name="default", queue="mail"),
        QueueResumed(connection_name="default", queue="mail"),
    ]


def test_a_queue_that_is_paused_by_a_name_that_was_never_used_gets_a_note(
    store: RedisClients,
) -> None:
    push(store, "mail")

    text = run("pause", "mial")

    assert "nothing was ever pushed to a queue mial - did you mean 'mail'?" in text
    assert "mial is paused until" in text
    assert "note" not in run("pause", "mail")


def test_jobs_are_cancelled_by_their_ids(store: RedisClients) -> None:
    waiting = [NewJob(f"{number:032x}", "mail", b"{}") for number in range(3)]
    RedisQueue(store).push([*waiting, NewJob("f" * 32, "other#2", b"{}")])

    assert run("cancel", waiting[0].id, "f" * 32) == "cancelled 2 jobs\n"
    again = run("cancel", waiting[0].id, waiting[1].id, "\x1b[2J", code=1)

    assert f"no job {waiting[0].id} waits or runs" in again
    assert "cancelled 1 job\n" in again
    assert "\x1b" not in again
    assert RedisQueue(store).sizes("mail").ready == 1


def test_row_45_a_pause_may_end_by_itself(store: RedisClients) -> None:
    push(store, "mail")

    run("pause", "mail", "--for", "600")

    pause = loaded("status", "--json")["queues"][0]["paused"]
    assert pause["until"] - pause["since"] == pytest.approx(600, abs=1)
    assert "left" in run("status")


def test_row_45_a_pause_holds_lanes_that_the_queue_had_once(
    store: RedisClients, redis_url: str, prefix: str
) -> None:
    push(store, "mail#200")

    run("pause", "mail")

    assert reserved(redis_url, prefix, "mail#200") == 0
    run("resume", "mail")
    assert reserved(redis_url, prefix, "mail#200") == 1


def test_a_paused_lane_is_not_a_paused_queue(store: RedisClients) -> None:
    push(store, "mail#2", "mail")

    run("pause", "mail#2")

    (mail,) = loaded("status", "--json")["queues"]
    assert (mail["paused"], mail["paused_lanes"]) == (None, 1)


def test_clearing_asks_first_and_forgets_lanes_and_delayed_jobs(store: RedisClients) -> None:
    push(store, "mail", "mail#1", "other")
    RedisQueue(store).push([NewJob(id="f" * 32, queue="mail", body=b"{}", delay=60)])

    assert "forget 3 jobs" in run("clear", "mail", code=1, given="n\n")
    assert "forgot 3 jobs" in run("clear", "mail", "--yes")

    assert RedisQueue(store).sizes("other").ready == 1


def test_a_restart_is_told_to_all_workers(redis_url: str, prefix: str) -> None:
    beat(redis_url, prefix, WorkerRecord(id="w1"))

    assert "asked 1 worker to stop when its jobs are done" in run("restart")
