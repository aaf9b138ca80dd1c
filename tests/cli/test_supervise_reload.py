"""``broadcaster supervise`` that reads its settings again, with real workers."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from click.testing import CliRunner

from broadcaster.cli.supervise import supervise
from broadcaster.contracts.supervision import GroupStatus, PoolStatus, SupervisorStatus
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.supervisors import RedisSupervisorBoard
from tests.cli.surroundings import surround
from tests.cli.test_work import new_job
from tests.cli.worker_process import environment, opened
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients
    from tests.cli.worker_process import Shop

pytestmark = pytest.mark.redis


def table(name: str, queue: str, *, timeout: int = 9) -> str:
    return f"[supervisors.{name}]\nqueue = ['{queue}']\ntimeout = {timeout}\ngrace = 5\n"


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, prefix: str) -> Iterator[Shop]:
    (tmp_path / "broadcaster.toml").write_text(table("main", "default"), encoding="utf-8")
    with opened(tmp_path, environment(redis_url, prefix)) as made:
        yield made


class Told:
    """What the supervisor last told of itself."""

    def __init__(self, clients: RedisClients) -> None:
        self.clients = clients

    async def status(self) -> SupervisorStatus:
        found = await asyncio.to_thread(RedisSupervisorBoard(self.clients).read)
        return found[0] if found else SupervisorStatus(name="")

    async def pids(self, pool: str) -> tuple[int, ...]:
        pools = [each for each in (await self.status()).pools if each.name == pool]
        return tuple(pid for each in pools for group in each.groups for pid in group.pids)

    async def refused(self) -> str:
        return (await self.status()).refused


@pytest.mark.process
async def test_row_56_tables_change_while_workers_run(shop: Shop, clients: RedisClients) -> None:
    told = Told(clients)
    settings = shop.folder / "broadcaster.toml"
    process = shop.start("supervise", "shop_jobs")
    await eventually_async(lambda: told.pids("main"), within=30)
    (first,) = await told.pids("main")

    main, mail = table("main", "default"), table("mail", "mail")
    settings.write_text(main + mail, encoding="utf-8")
    process.signal(signal.SIGUSR1)
    await RedisQueue(clients).apush([replace(new_job("greet", name="Bob"), queue="mail")])
    await eventually(lambda: shop.notes == ["hello Bob"], within=30)
    assert await told.pids("main") == (first,), "its table has not changed"

    settings.write_text(main + mail.replace("timeout", "time_out"), encoding="utf-8")
    process.signal(signal.SIGHUP)
    await eventually_async(told.refused, within=30)
    assert "time_out" in await told.refused()
    assert (len(await told.pids("main")), len(await told.pids("mail"))) == (1, 1)

    settings.write_text(table("main", "default", timeout=11), encoding="utf-8")
    process.signal(signal.SIGUSR1)

    async def has_changed() -> bool:
        status, running = await told.status(), await told.pids("main")
        return len(status.pools) == 1 and len(running) == 1 and first not in running

    await eventually_async(has_changed, within=60)
    (second,) = await told.pids("main")
    assert "--timeout=11.0" in psutil.Process(second).cmdline()
    assert await told.refused() == ""
    await RedisQueue(clients).apush([new_job("greet", name="Ada")])
    await eventually(lambda: shop.notes[1:] == ["hello Ada"], within=30)
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0, process.output
    assert "everything goes on as it was" in process.output
    assert "started: mail; unchanged: main" in process.output
    assert "replaced one by one: main; drained: mail" in process.output


class Signalled:
    """A supervisor and its tables, to whom signals come at all times."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def open(self, *_: object) -> tuple[Signalled, Signalled]:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGUSR1)
        return self, self

    def reload(self, *, renew: bool) -> None:
        self.asked.append(renew)

    def stop(self) -> None:
        raise AssertionError("nobody asked for it")

    async def run(self) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    def close(self) -> None:
        os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.usefixtures("handlers")
def test_asking_to_read_again_ends_no_supervisor_that_starts_or_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    signalled = Signalled()
    monkeypatch.setattr("broadcaster.wiring.supervise.open_supervisor", signalled.open)
    monkeypatch.setattr("broadcaster.cli.logs.configure", lambda *_: None)

    ended = CliRunner().invoke(supervise, [])

    assert (ended.exit_code, signalled.asked) == (0, [True, False, False, True])
    for number in (signal.SIGHUP, signal.SIGUSR1):
        assert signal.getsignal(number) is signal.SIG_IGN, "until there is no process"


def test_what_is_wrong_and_what_drains_is_shown(
    clients: RedisClients,
    redis_url: str,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BROADCASTER_PREFIX", prefix)
    leaving = GroupStatus(queue="mail", wanted=0, slots=1, stopping=(7,))
    pool = PoolStatus(name="old", balance="auto", groups=(leaving,), draining=True)
    status = SupervisorStatus(name="box:1", pools=(pool,), refused="broadcaster.toml: no \x1b[0m")
    RedisSupervisorBoard(clients).tell(status)

    shown = CliRunner().invoke(supervise, ["--status"]).output

    title, wrong, _, row = shown.splitlines()
    assert title == "box:1  running"
    assert "goes on as it was, for its settings are wrong: broadcaster.toml: no" in wrong
    assert "\x1b" not in wrong
    assert row.split()[:5] == ["old", "(drains)", "mail", "0", "of"]
