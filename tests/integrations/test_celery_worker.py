"""A worker of Celery, in a process of its own, runs jobs that were dispatched to it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.worker_process import ROOT, environment
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.redis, pytest.mark.process]

SHOP = """\
import os
from celery import Celery
from broadcaster import Job
from broadcaster.integrations.celery import install

app = Celery("shop", broker=os.environ["BROKER"])
app.conf.broker_transport_options = {"global_keyprefix": os.environ["BROADCASTER_PREFIX"]}
app.conf.broker_connection_retry_on_startup = True
install(app)

def note(text):
    with open("notes.txt", "a") as file:
        file.write(text + "\\n")

class Greet(Job, tries=2, backoff=0):
    name: str
    async def handle(self):
        note(f"{self.name} {self.attempts}")
        if self.name == "shaky":
            raise OSError("no way")
    def failed(self, error):
        note(f"gave up on {self.name}: {error}")
"""
SETTINGS = """\
[queues.celery]
driver = "celery"
celery_app = "shop_celery:app"
default = "celery"
"""
DISPATCH = """\
import shop_celery
from broadcaster import chain
from broadcaster.errors import Unsupported
for name in ("ada", "shaky"):
    print(shop_celery.Greet(name).dispatch(connection="celery"))
try:
    chain([shop_celery.Greet("a"), shop_celery.Greet("b")]).on_connection("celery").dispatch()
except Unsupported as error:
    print(error)
"""


@pytest.fixture
def env(tmp_path: Path, redis_url: str, prefix: str) -> dict[str, str]:
    (tmp_path / "shop_celery.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "broadcaster.toml").write_text(SETTINGS, encoding="utf-8")
    broker = redis_url.replace("unix://", "redis+socket://").replace("db=0", "virtual_host=5")
    paths = f"{tmp_path}:{ROOT}:{ROOT / 'auth'}"
    return environment(redis_url, prefix, BROKER=broker, PYTHONPATH=paths)


@pytest.fixture
def worker(tmp_path: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "celery", "-A", "shop_celery", "worker", "--pool", "solo"]
    with (tmp_path / "celery.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
        yield process
        process.kill()
        process.wait()


@pytest.mark.usefixtures("worker")
async def test_a_process_of_celery_runs_jobs_with_their_tries_and_what_it_cannot_keep_is_refused(
    tmp_path: Path, env: dict[str, str]
) -> None:
    said = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", DISPATCH],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    notes = tmp_path / "notes.txt"
    expected = ["ada 1", "gave up on shaky: no way", "shaky 1", "shaky 2"]
    await eventually(
        lambda: notes.exists() and sorted(notes.read_text().splitlines()) == expected, within=40
    )

    *ids, refused = said.stdout.splitlines()
    assert [len(each) for each in ids] == [32, 32]
    assert "asks for a chain, which Celery cannot keep" in refused
