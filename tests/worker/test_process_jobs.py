"""What sync jobs with a timeout can do in their processes, and what becomes of them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from broadcaster import ajob_status, current
from broadcaster.contracts.queue import QueueSizes
from tests.polling import eventually_async
from tests.worker.process_jobs import Asks, Ends, Reports, Says, Slow
from tests.worker.time_limits import limit_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.worker.worker_world import WorkerWorld

MODULES = ("tests.worker.process_jobs",)

pytestmark = [pytest.mark.redis, pytest.mark.process]


async def test_row_12_a_job_knows_what_runs_in_its_process_too(
    world: WorkerWorld, tmp_path: Path
) -> None:
    path = tmp_path / "said"
    (new,) = await world.push(Asks(str(path)), queue="asking")

    await world.drain(modules=MODULES, queues=("asking",))

    said = ast.literal_eval(path.read_text(encoding="utf-8"))
    assert said == (new.id, "asking", 1, 3, 1, 7.0)


@pytest.mark.parametrize(
    ("how", "reason", "error"),
    [
        ("_exit", "exception", "JobError: its process ended with exit code 3 before the job did"),
        ("exit", "exception", "JobError: SystemExit: 4"),
        ("long text", "job_failed", "JobFailed: xxxx"),
        ("odd text", "exception", "JobError: ValueError: \\ud800😀😀"),
        ("no text", "exception", "JobError: Unspeakable: (its text cannot be read)"),
    ],
)
async def test_row_4_however_its_process_ends_the_job_fails_with_a_line(
    world: WorkerWorld, how: str, reason: str, error: str
) -> None:
    await world.push(Ends(how))

    await world.drain(modules=MODULES)

    (failed,) = await world.failed()
    assert (failed.reason, failed.attempts) == (reason, 1)
    assert failed.error.startswith(error)
    assert len(failed.error) < 600
    assert ("in handle" in failed.traceback) == (how != "_exit")


@pytest.mark.parametrize("how", ["fork", "children", "closed", "much output"])
async def test_what_a_job_leaves_behind_does_not_hold_it_up(world: WorkerWorld, how: str) -> None:
    await world.push(Ends(how))

    await world.drain(modules=MODULES)

    assert await world.sizes() == QueueSizes()


@pytest.mark.parametrize(
    ("how", "sizes"),
    [
        ("fail", QueueSizes(failed=1)),
        ("release", QueueSizes(delayed=1)),
        ("delete", QueueSizes()),
    ],
)
async def test_rows_9_and_10_what_a_job_says_in_its_process_is_done(
    world: WorkerWorld, how: str, sizes: QueueSizes
) -> None:
    await world.push(Says(how))

    await world.drain(modules=MODULES)

    assert await world.sizes() == sizes
    assert [failed.error for failed in await world.failed()] == ["no room"] * sizes.failed


async def test_row_4_a_job_that_was_killed_at_its_timeout_runs_again_after_its_backoff(
    world: WorkerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting for its lease."""
    path, known = tmp_path / "tries", [""]

    def has_written() -> bool:
        before, known[0] = known[0], path.read_text(encoding="utf-8") if path.exists() else ""
        return known[0] != before and known[0].endswith("\n")

    limit_from(monkeypatch, has_written)
    await world.push(Slow(str(path)))

    async def it_has_failed() -> bool:
        return bool(await world.failed())

    async with world.running(modules=MODULES, lease=300.0):
        await eventually_async(it_has_failed, within=60.0)

    (failed,) = await world.failed()
    (first, at), (second, later) = (line.split() for line in known[0].splitlines())
    assert (first, second) == ("1", "2")
    assert float(later) - float(at) >= 0.6  # the timeout and the backoff
    assert (failed.reason, failed.attempts) == ("timeout", 2)


@pytest.fixture
async def configured(world: WorkerWorld, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """This process and its children find the server as applications do."""
    monkeypatch.setenv("BROADCASTER_REDIS_URL", world.clients.url)
    monkeypatch.setenv("BROADCASTER_PREFIX", world.clients.prefix)
    current.configure()
    yield
    await current.application().aclose()
    current.reset()


async def test_row_54_a_job_says_how_far_it_is_from_its_process(
    world: WorkerWorld, configured: None
) -> None:
    job_id = str(await Reports().adispatch())

    await world.drain(modules=MODULES)

    status = await ajob_status(job_id)
    assert status is not None
    assert (status.progress, status.message) == (40, "half way")
    assert status.status == "failed"
