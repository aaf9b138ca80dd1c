"""``broadcaster work`` under signals, and as several processes (rows 41, 42)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from broadcaster.cli.work_processes import Health
from broadcaster.drivers.redis.fleet import RedisFleet
from broadcaster.drivers.redis.queue import RedisQueue
from tests.cli.test_work import new_job
from tests.cli.worker_process import environment, opened
from tests.polling import eventually, eventually_async
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.drivers.redis.client import RedisClients
    from tests.cli.worker_process import Process, Shop

pytestmark = [pytest.mark.redis, pytest.mark.process]


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, prefix: str) -> Iterator[Shop]:
    with opened(tmp_path, environment(redis_url, prefix)) as made:
        yield made


@pytest.fixture
def queue(clients: RedisClients) -> RedisQueue:
    return RedisQueue(clients)


def is_gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


async def started(process: Process, count: int = 1) -> None:
    def ready() -> bool:
        assert not process.ended, process.output
        return process.output.count("worker started") >= count

    await eventually(ready, within=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_each_signal_to_stop_ends_it_in_good_order_row_42(
    shop: Shop, number: signal.Signals
) -> None:
    process = shop.start("work", "shop_jobs")
    await started(process)

    process.signal(number)

    assert await asyncio.to_thread(process.wait, 20) == 0
    assert "worker stopped: interrupted" in process.output


async def test_usr2_pauses_and_cont_resumes_row_42(shop: Shop, queue: RedisQueue) -> None:
    process = shop.start("work", "shop_jobs")
    await started(process)

    process.signal(signal.SIGUSR2)
    await eventually(lambda: "takes no new jobs" in process.output)
    await queue.apush([new_job("greet", name="Ada")])
    await asyncio.sleep(0.5)  # it would have been taken by now
    assert shop.notes == []
    process.signal(signal.SIGCONT)
    await eventually(lambda: shop.notes == ["hello Ada"], within=20)

    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 20) == 0


SLOW_TO_START = """\
import pathlib, time
pathlib.Path("starting").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.01)
"""


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_usr2_pauses_one_that_is_starting_row_42(
    shop: Shop, queue: RedisQueue, processes: str
) -> None:
    """Its answer would be to end."""
    (shop.folder / "slow_to_start.py").write_text(SLOW_TO_START, encoding="utf-8")
    process = shop.start("work", "slow_to_start", "shop_jobs", "--processes", processes)
    await eventually((shop.folder / "starting").exists, within=30)

    process.signal(signal.SIGUSR2)
    (shop.folder / "go").touch()
    await started(process, int(processes))

    await eventually(lambda: process.output.count("takes no new jobs") == int(processes))
    await queue.apush([new_job("greet", name="Ada")])
    process.signal(signal.SIGCONT)
    await eventually(lambda: shop.notes == ["hello Ada"], within=20)
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 20) == 0


LATE = """\
import os, signal
from broadcaster.wiring.worker import OpenWorker
aclose = OpenWorker.aclose
async def signalled(self):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    await aclose(self)
OpenWorker.aclose = signalled
"""


async def test_signals_do_not_change_how_one_ends_that_is_done_row_42(shop: Shop) -> None:
    """As of somebody impatient, who asks twice."""
    (shop.folder / "late.py").write_text(LATE, encoding="utf-8")

    process = await asyncio.to_thread(shop.run, "work", "late", "--once")

    assert process.wait() == 0, process.output
    assert "worker stopped: empty" in process.output


async def test_over_its_memory_it_ends_with_12_row_41(shop: Shop) -> None:
    process = await asyncio.to_thread(shop.run, "work", "--memory", "5")

    assert process.wait() == 12
    assert "worker stopped: memory" in process.output


async def test_it_ends_when_all_are_asked_to_restart_row_42(
    shop: Shop, clients: RedisClients
) -> None:
    fleet = RedisFleet(clients)
    process = shop.start("work", "--name", "mailer")
    await eventually_async(lambda: _known(fleet), within=30)

    await asyncio.to_thread(fleet.restart)

    assert await asyncio.to_thread(process.wait, 20) == 0
    assert "worker stopped: restart_signal" in process.output
    assert await asyncio.to_thread(fleet.workers) == []


async def _known(fleet: RedisFleet) -> bool:
    return [each.name for each in await asyncio.to_thread(fleet.workers)] == ["mailer"]


async def test_it_logs_json_and_answers_for_its_health(shop: Shop) -> None:
    port = free_port()
    process = shop.start("work", "--json", "--health-port", str(port))
    await started(process)

    async with httpx.AsyncClient() as client:
        response = await client.get(f"http://127.0.0.1:{port}/healthz")

    assert response.json()["ok"] is True
    assert process.lines[0].startswith("{")
    process.signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 20)


async def test_several_processes_work_and_stop_together(
    shop: Shop, queue: RedisQueue, clients: RedisClients
) -> None:
    process = shop.start("work", "shop_jobs", "--processes", "2")
    await started(process, 2)
    fleet = RedisFleet(clients)
    await eventually_async(lambda: _count(fleet, 2), within=20)
    first, second = [each.pid for each in await asyncio.to_thread(fleet.workers)]

    os.kill(first, signal.SIGKILL)
    await started(process, 3)
    assert "ended with -9; it starts again" in process.output
    await queue.apush([new_job("greet", name="Ada")])
    await eventually(lambda: shop.notes == ["hello Ada"], within=20)

    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 30) == 0
    assert process.output.count("worker stopped: interrupted") == 2
    await eventually(lambda: is_gone(second))


async def _count(fleet: RedisFleet, count: int) -> bool:
    return len(await asyncio.to_thread(fleet.workers)) == count


async def test_workers_end_when_their_parent_is_killed(shop: Shop, clients: RedisClients) -> None:
    process = shop.start("work", "shop_jobs", "--processes", "2")
    await started(process, 2)
    fleet = RedisFleet(clients)
    await eventually_async(lambda: _count(fleet, 2), within=20)
    pids = [each.pid for each in await asyncio.to_thread(fleet.workers)]

    process.signal(signal.SIGKILL)

    await eventually(lambda: all(is_gone(pid) for pid in pids), within=20)
    process.wait()


async def test_processes_that_are_done_are_not_started_again(shop: Shop, queue: RedisQueue) -> None:
    await queue.apush([new_job("greet", name="Ada")])

    process = await asyncio.to_thread(
        shop.run, "work", "shop_jobs", "--processes", "2", "--stop-when-empty"
    )

    assert process.wait() == 0
    assert len(re.findall("worker started", process.output)) == 2
    assert shop.notes == ["hello Ada"]


async def test_processes_that_can_never_run_end_the_command(shop: Shop) -> None:
    process = await asyncio.to_thread(shop.run, "work", "no_such_module", "--processes", "2")

    assert process.wait() == 78
    assert "no module is called 'no_such_module'" in process.output


async def test_of_modules_that_cannot_be_imported_each_process_says_so_in_one_record(
    shop: Shop,
) -> None:
    (shop.folder / "half_done.py").write_text("import nothing_like_it\n", encoding="utf-8")
    process = shop.start("work", "half_done", "--processes", "2", "--json")

    await eventually(lambda: "import_failed" in process.output, within=30)

    process.signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait)
    records = [json.loads(line) for line in process.lines]
    failed = next(each for each in records if each["event"] == "import_failed")
    assert "No module named 'nothing_like_it'" in failed["msg"]
    assert "half_done.py, line 1" in failed["msg"]
    assert "importlib" not in failed["traceback"]


def test_each_process_answers_for_its_health_at_a_place_of_its_own() -> None:
    assert Health().options(0) == []
    assert Health(port=9_000).options(1) == ["--health-port", "9001"]
    both = Health(9_000, "/run/worker")
    assert both.options(0) == ["--health-port", "9000", "--health-socket", "/run/worker"]
    assert both.options(2)[-1] == "/run/worker.2"
