"""Jobs are spilled into a spare connection, and its worker runs them (row 46)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster import current
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import JobQueued, QueueFailedOver
from broadcaster.settings import load_settings
from tests.cli.worker_process import environment, opened
from tests.hearing import hearing
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.worker_process import Shop
    from tests.faults import FaultyServer

pytestmark = [pytest.mark.redis, pytest.mark.process]

SETTINGS = """\
[queue]
driver = "failover"
connections = ["main", "spare"]

[queues.main]

[queues.spare]
redis_url = "{spare}"
"""


class Greet(Job, name="greet"):
    """The job of the same name in the shop."""

    name: str

    def handle(self) -> None:
        raise AssertionError("a worker runs the one of the shop")


@pytest.fixture
def shop(tmp_path: Path, redis_server: FaultyServer, redis_url: str, prefix: str) -> Iterator[Shop]:
    """One whose preferred server is that of the test, and whose spare one is that of all tests."""
    (tmp_path / "broadcaster.toml").write_text(SETTINGS.format(spare=redis_url), encoding="utf-8")
    env = environment(redis_server.url, prefix)
    with opened(tmp_path, env) as made:
        current.configure(load_settings(cwd=tmp_path, environ=env))
        yield made
        current.reset()


@pytest.fixture
def told() -> Iterator[list[QueueFailedOver | JobQueued]]:
    with hearing(QueueFailedOver, JobQueued) as events:
        yield events


async def test_row_46_what_is_spilled_is_run_by_the_worker_of_the_spare_connection(
    shop: Shop, redis_server: FaultyServer, told: list[QueueFailedOver | JobQueued]
) -> None:
    main = shop.start("work", "shop_jobs")
    spare = shop.start("work", "shop_jobs", "--connection", "spare")
    await eventually(lambda: "worker started" in main.output, within=30)
    await eventually(lambda: "worker started" in spare.output, within=30)
    await Greet("before").adispatch()
    await eventually(lambda: shop.notes == ["hello before"], within=20)
    assert "hello" not in spare.output

    await asyncio.to_thread(redis_server.stop)
    for name in ("one", "two"):
        await Greet(name).adispatch()
    await eventually(lambda: sorted(shop.notes[1:]) == ["hello one", "hello two"], within=20)

    [failed_over] = [each for each in told if isinstance(each, QueueFailedOver)]
    assert (failed_over.connection_name, failed_over.command) == ("main", "greet")
    assert len(told) == 4, "and each job was queued"
    assert "greet done" in spare.output
    assert main.output.count("greet done") == 1


async def test_row_46_a_worker_drains_what_was_spilled(
    shop: Shop, redis_server: FaultyServer
) -> None:
    await asyncio.to_thread(redis_server.stop)
    await Greet("spilled").adispatch()
    await asyncio.to_thread(redis_server.start)

    drained = await asyncio.to_thread(
        shop.run, "work", "shop_jobs", "--connection", "spare", "--stop-when-empty"
    )

    assert drained.wait() == 0
    assert shop.notes == ["hello spilled"]
