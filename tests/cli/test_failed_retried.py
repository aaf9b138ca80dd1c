"""Failed jobs of batches and chains go on from both stores, with real workers (row 43)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.worker_process import environment, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.worker_process import Shop

pytestmark = [pytest.mark.redis, pytest.mark.process]

JOBS = """\
import pathlib
from broadcaster import Job, batch, chain

def note(text):
    with open("notes.txt", "a") as file:
        file.write(text + "\\n")

class Shaky(Job, tries=2):
    name: str
    def handle(self):
        if not pathlib.Path("mended").exists():
            raise OSError(f"no way to {self.name}")
        note(self.name)

class Note(Job):
    name: str
    def handle(self):
        note(self.name)

class Report(Job):
    def handle(self):
        mine = self.batch()
        note(f"{mine.processed_jobs} of {mine.total_jobs}, {mine.failed_jobs} failed")

def start():
    batch([Shaky("one"), Note("two")]).allow_failures().then(Report()).dispatch()
    chain([Shaky("first"), Note("second")]).catch(Note("caught")).dispatch()
"""


@pytest.fixture(params=["redis", "sql"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, prefix: str
) -> Iterator[Shop]:
    kept = {
        "BROADCASTER_FAILED__DRIVER": request.param,
        "BROADCASTER_FAILED__URL": f"sqlite:///{tmp_path / 'failed.db'}",
    }
    (tmp_path / "shop_retried.py").write_text(JOBS, encoding="utf-8")
    with opened(tmp_path, environment(redis_url, prefix, **kept)) as made:
        yield made


def failed(shop: Shop, *args: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "broadcaster", "failed", "list", "--json", *args]
    done = subprocess.run(command, cwd=shop.folder, env=shop.env, capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_row_43_a_retried_job_completes_its_batch_and_its_chain_goes_on(shop: Shop) -> None:
    start = "import shop_retried; shop_retried.start()"
    subprocess.run([sys.executable, "-c", start], cwd=shop.folder, env=shop.env, check=True)
    work = ("work", "shop_retried", "--stop-when-empty")
    assert shop.run(*work).wait() == 0
    assert sorted(shop.notes) == ["caught", "two"]

    found = failed(shop)
    assert [(job["job"], job["attempts"], job["exception"]) for job in found] == [
        ("Shaky", 2, "OSError")
    ] * 2
    shown = shop.run("failed", "show", found[0]["id"]).output
    assert 'raise OSError(f"no way to {self.name}")' in shown, "the traceback"
    (shop.folder / "mended").touch()
    retried = shop.run("failed", "retry", "--class", "Shaky")
    assert "queued 2 jobs again" in retried.output
    assert shop.run(*work).wait() == 0

    assert sorted(shop.notes) == sorted(
        ["caught", "two", "one", "first", "second", "2 of 2, 0 failed"]
    )
    assert [job["retried_at"] is not None for job in failed(shop)] == [True, True]
    assert failed(shop, "--open") == []
    assert "queued 0 jobs again" in shop.run("failed", "retry", "--all").output
