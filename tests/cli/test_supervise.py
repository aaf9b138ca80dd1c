"""``broadcaster supervise`` with real workers: started, killed, replaced, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from click.testing import CliRunner

from broadcaster.cli.queue import queue
from broadcaster.cli.supervise import supervise
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.supervisors import RedisSupervisorBoard
from broadcaster.errors import ConfigurationError
from broadcaster.settings import load_settings
from broadcaster.wiring.supervise import open_supervisor, worker_command
from tests.cli.surroundings import surround
from tests.cli.test_work import new_job
from tests.cli.worker_process import environment, opened
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.contracts.supervision import GroupStatus
    from broadcaster.drivers.redis.client import RedisClients
    from tests.cli.worker_process import Shop

pytestmark = pytest.mark.redis

FILE = """
[supervisors.main]
queue = ["default"]
max_processes = 2
timeout = 9
memory = 512
backoff = [1, 5]
grace = 5
"""


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, prefix: str) -> Iterator[Shop]:
    (tmp_path / "broadcaster.toml").write_text(FILE, encoding="utf-8")
    with opened(tmp_path, environment(redis_url, prefix)) as made:
        yield made


async def group(clients: RedisClients) -> GroupStatus | None:
    found = await asyncio.to_thread(RedisSupervisorBoard(clients).read)
    return found[0].pools[0].groups[0] if found else None


async def pids(clients: RedisClients) -> tuple[int, ...]:
    found = await group(clients)
    return found.pids if found else ()


@pytest.mark.process
async def test_row_56_a_worker_that_is_killed_is_started_again_and_a_stop_ends_all(
    shop: Shop, clients: RedisClients
) -> None:
    process = shop.start("supervise", "shop_jobs")
    await eventually_async(lambda: pids(clients), within=30)
    (first,) = await pids(clients)
    await RedisQueue(clients).apush([new_job("greet", name="Ada")])
    await eventually(lambda: shop.notes == ["hello Ada"], within=30)

    os.kill(first, signal.SIGKILL)

    async def is_replaced() -> bool:
        return (await pids(clients)) not in ((), (first,))

    await eventually_async(is_replaced, within=30)
    await RedisQueue(clients).apush([new_job("greet", name="Bob")])
    await eventually(lambda: "hello Bob" in shop.notes, within=30)

    process.signal(signal.SIGTERM)

    assert await asyncio.to_thread(process.wait) == 0, process.output
    found = await group(clients)
    assert found is not None
    assert (found.wanted, found.pids, found.deaths) == (0, (), 1)


@pytest.mark.process
async def test_row_56_hup_replaces_every_worker(shop: Shop, clients: RedisClients) -> None:
    process = shop.start("supervise", "shop_jobs")
    await eventually_async(lambda: pids(clients), within=30)
    (first,) = await pids(clients)

    process.signal(signal.SIGHUP)

    async def is_replaced() -> bool:
        running = await pids(clients)
        return len(running) == 1 and first not in running

    await eventually_async(is_replaced, within=60)
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0, process.output


@pytest.mark.process
async def test_workers_do_not_outlive_a_supervisor_that_is_killed(
    shop: Shop, clients: RedisClients
) -> None:
    process = shop.start("supervise", "shop_jobs")
    await eventually_async(lambda: pids(clients), within=30)
    (first,) = await pids(clients)
    await RedisQueue(clients).apush([new_job("greet", name="Ada")])
    await eventually(lambda: shop.notes == ["hello Ada"], within=30)

    process.kill()

    await eventually(lambda: not is_alive(first), within=30)


GROWING = """
[supervisors.main]
queue = ["default"]
max_processes = 2
concurrency = 1
clear_within = 0.5
cooldown = 0.5
memory = 0
grace = 5
"""


@pytest.mark.process
async def test_row_56_workers_are_added_while_jobs_wait_and_taken_away_when_none_do(
    shop: Shop, clients: RedisClients
) -> None:
    (shop.folder / "broadcaster.toml").write_text(GROWING, encoding="utf-8")
    process = shop.start("supervise", "shop_jobs")
    await eventually_async(lambda: pids(clients), within=30)
    names = [str(number) for number in range(20)]
    await RedisQueue(clients).apush([new_job("Gated", name=name) for name in names])

    async def are(count: int) -> bool:
        return len(await pids(clients)) == count

    await eventually_async(lambda: are(2), within=30)
    shop.open_gate()
    await eventually_async(lambda: are(1), within=30)

    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0, process.output
    assert sorted(shop.notes) == sorted(
        f"{what} {name}" for what in ("begins", "ends") for name in names
    )
    found = await group(clients)
    assert found is not None
    assert found.deaths == 0


@pytest.mark.process
async def test_workers_that_cannot_import_their_jobs_are_not_started_again_and_again(
    shop: Shop, clients: RedisClients
) -> None:
    process = shop.start("supervise", "shop_jbos")

    async def has_ended() -> bool:
        found = await group(clients)
        return found is not None and found.last_code == ConfigurationError.exit_code

    await eventually_async(has_ended, within=30)
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0, process.output
    assert "no module is called 'shop_jbos'" in process.output
    assert "another starts in 60 s" in process.output


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def configured(
    redis_url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BROADCASTER_PREFIX", prefix)
    (tmp_path / "broadcaster.toml").write_text(FILE, encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("configured")
def test_a_worker_is_told_everything_that_its_table_says() -> None:
    said = load_settings().supervisors["main"]

    command = worker_command("main/default-0", said, ["shop.jobs"], ["default"])

    assert command[-1] == "shop.jobs"
    assert {"--queue=default", "--timeout=9.0", "--memory=512", "--backoff=1.0,5.0"} <= set(command)
    assert {"--concurrency=10", "--grace=5.0", "--processes=1", "--tethered"} <= set(command)


def test_a_worker_is_told_what_its_table_takes_back(configured: Path) -> None:
    (configured / "broadcaster.toml").write_text(
        "[worker]\nmemory = 128\nforce = true\n[supervisors.main]\nqueue = ['default']\n"
        "memory = 0\nforce = false\n",
        encoding="utf-8",
    )

    command = worker_command("main/default-0", load_settings().supervisors["main"], [], ["default"])

    assert {"--memory=0", "--max-jobs=0", "--no-force"} <= set(command)


@pytest.mark.usefixtures("configured")
def test_a_table_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no \[supervisors.mian\].*'main'"):
        open_supervisor(load_settings(), only=["mian"])


def test_without_a_table_there_is_nothing_to_supervise(configured: Path) -> None:
    (configured / "broadcaster.toml").write_text("", encoding="utf-8")

    with pytest.raises(ConfigurationError, match="nothing is to be supervised"):
        open_supervisor(load_settings())


@pytest.mark.usefixtures("configured")
def test_what_supervisors_do_is_shown(clients: RedisClients) -> None:
    supervisor, tables = open_supervisor(load_settings())
    tables.close()
    nobody = CliRunner().invoke(supervise, ["--status"]).output
    RedisSupervisorBoard(clients).tell(supervisor.status())

    text = CliRunner().invoke(supervise, ["--status"]).output
    shown: Any = json.loads(CliRunner().invoke(supervise, ["--status", "--json"]).output)

    status = CliRunner().invoke(queue, ["status"]).output
    document: Any = json.loads(CliRunner().invoke(queue, ["status", "--json"]).output)

    row = r"main +default +0 of 0 "
    assert re.search(row, status)
    assert document["supervisors"] == shown
    assert nobody == "no supervisor is running\n"
    assert re.search(row, text)
    assert shown[0]["pools"][0]["groups"][0]["queue"] == "default"


def test_supervisors_of_all_connections_are_shown_wherever_their_jobs_wait(
    configured: Path, redis_url: str
) -> None:
    """The status had gone to the server of one connection, picked by the order of a set."""
    far = redis_url.replace("db=0", "db=1")
    (configured / "broadcaster.toml").write_text(
        f"[queue]\ndriver = 'sync'\n[queues.far]\nredis_url = '{far}'\n[queues.near]\n"
        "[supervisors.main]\nconnection = 'far'\nqueue = ['default']\n"
        "[supervisors.other]\nconnection = 'near'\nqueue = ['default']\n",
        encoding="utf-8",
    )
    supervisor, tables = open_supervisor(load_settings())
    supervisor.stop()  # so that a turn starts nothing
    asyncio.run(supervisor.turn())
    tables.close()

    (shown,) = json.loads(CliRunner().invoke(supervise, ["--status", "--json"]).output)
    assert [pool["name"] for pool in shown["pools"]] == ["main", "other"]
    for name in ("far", "near"):
        status = CliRunner().invoke(queue, ["status", "--json", "--connection", name])
        assert json.loads(status.output)["supervisors"] == [shown]
