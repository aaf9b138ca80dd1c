"""Processes of sync jobs with a timeout that run one job after another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import JobError, JobTimedOut
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.worker import processes
from broadcaster.worker.orders import Order
from broadcaster.worker.process import start_process
from broadcaster.worker.processes import JobProcesses
from tests.polling import eventually
from tests.worker.leaving_jobs import Found, Leaves, read_found
from tests.worker.pids import is_alive, living
from tests.worker.time_limits import limit_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from broadcaster.worker.process import JobProcess
    from tests.worker.worker_world import WorkerWorld

MODULES = ("tests.worker.leaving_jobs",)

WORKER = """\
import asyncio, json, sys
sys.path[:] = json.loads(sys.argv[1])
from broadcaster.worker.orders import Order
from broadcaster.worker.processes import JobProcesses

async def main():
    pool = JobProcesses(sys.argv[3:], jobs=10)
    await pool.run(Order(sys.argv[2].encode()), limit=60)
    print("idle", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""

pytestmark = pytest.mark.process


class Pool:
    """Processes, and what their jobs have found."""

    def __init__(self, path: Path, jobs: int = 100) -> None:
        self.path = path
        self.processes = JobProcesses(MODULES, jobs=jobs)

    async def run(self, what: str = "nothing", limit: float = 20.0, ballast: str = "") -> Found:
        """Run a job and return what it has found."""
        order = Order(body(Leaves(str(self.path), what, ballast)))
        await self.processes.run(order, limit=limit)
        return read_found(self.path)[-1]

    async def start(self, what: str) -> tuple[asyncio.Task[Found], int]:
        """Begin a job; return it and the id of its process."""
        before = len(read_found(self.path))
        task = asyncio.create_task(self.run(what))
        await eventually(lambda: len(read_found(self.path)) > before, within=20)
        return task, read_found(self.path)[-1].pid


def body(job: Leaves) -> bytes:
    return encode_payload(Payload(id="0" * 32, job=job.options.name, data=job.encode_fields()))


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[Pool]:
    made = Pool(tmp_path / "found")
    yield made
    await made.processes.aclose()


async def test_the_next_job_runs_in_the_same_process(pool: Pool) -> None:
    first, second = await pool.run(), await pool.run()

    assert first.pid == second.pid != os.getpid()
    assert (first.kept, second.kept) == (0, 1)  # what modules keep stays
    assert pool.processes.idle == 1


async def test_a_job_finds_its_surroundings_as_the_first_one_did(
    pool: Pool, capfd: pytest.CaptureFixture[str]
) -> None:
    leaving = ["a variable", "a folder", "a umask", "a context variable"]
    found = [
        await pool.run(what) for what in [*leaving, "ended threads", "an ended loop", "nothing"]
    ]

    assert len({each.pid for each in found}) == 1
    assert {each.surroundings for each in found} == {found[0].surroundings}
    assert found[0].surroundings[:2] == ("", None)
    assert found[0].stdin == ""
    assert [f"left {each.job}" in capfd.readouterr().err for each in found[:1]] == [True]


@pytest.mark.parametrize("what", ["a process", "an orphan"])
async def test_what_a_job_has_started_ends_without_its_worker(what: str, tmp_path: Path) -> None:
    """Which may be killed before it ends what its process leaves behind."""
    process = await start_process(MODULES)
    path = tmp_path / "found"
    try:
        report = await process.run(Order(body(Leaves(str(path), what))), limit=20)

        (found,) = read_found(path)
        assert report.worn
        await eventually(lambda: living(found.pid) == [])
    finally:
        await process.kill()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("a thread", "a thread of it goes on"),
        ("a bare thread", "a thread of it goes on"),
        ("a process", "a process that it has started was left behind"),
        ("an ended process", "it has changed: processes"),
        ("an orphan", "it has changed: processes"),
        ("a signal handler", "it has changed: signal handlers"),
        ("a timer", "it has changed: timers"),
        ("a limit", "it has changed: resource limits"),
        ("a closed stdout", "what it has left cannot be told: OSError"),
        ("another stream", "it has changed: standard streams"),
        ("many files", "its jobs have left more than 64 files or connections open"),
    ],
)
async def test_a_process_in_which_a_job_has_left_something_ends(
    pool: Pool, caplog: pytest.LogCaptureFixture, what: str, why: str
) -> None:
    caplog.set_level("DEBUG", "broadcaster.worker")

    found = await pool.run(what)

    assert pool.processes.idle == 0
    assert not is_alive(found.pid)
    assert f"the process of a job ends: {why}" in caplog.messages


async def test_a_process_ends_after_an_exception_and_the_next_is_fresh(pool: Pool) -> None:
    with pytest.raises(JobError, match="ValueError: bad luck"):
        await pool.run("an exception")

    found = await pool.run()

    assert found.kept == 0
    assert found.pid != read_found(pool.path)[0].pid


async def test_a_process_that_is_killed_at_its_timeout_takes_no_other_job_along(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await pool.run()
    busy, other = await pool.start("a sleep")
    limit_from(monkeypatch, lambda: len(read_found(pool.path)) >= 3)

    with pytest.raises(JobTimedOut):
        await pool.run("a sleep", limit=0.3)
    after = await pool.run()

    assert other == before.pid  # it went on meanwhile
    assert is_alive(other)
    assert not busy.done()
    assert after.pid not in {other, read_found(pool.path)[2].pid}
    busy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await busy
    assert not is_alive(other)
    assert (await pool.run()).pid == after.pid


@pytest.mark.parametrize(("jobs", "kept"), [(2, [0, 1, 0]), (1, [0, 0, 0])])
async def test_a_process_ends_after_so_many_jobs(
    tmp_path: Path, jobs: int, kept: list[int]
) -> None:
    pool = Pool(tmp_path / "found", jobs)

    found = [await pool.run() for _ in kept]

    await pool.processes.aclose()
    assert [each.kept for each in found] == kept
    assert len({each.pid for each in found}) == kept.count(0)


async def test_a_process_that_gets_no_job_ends(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "IDLE_SECONDS", 0.05)

    found = await pool.run()

    await eventually(lambda: pool.processes.idle == 0 and not is_alive(found.pid))
    assert (await pool.run()).pid != found.pid


async def test_only_so_many_processes_wait(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MAX_IDLE", 1)

    await asyncio.gather(pool.run(), pool.run())

    pids = {found.pid for found in read_found(pool.path)}
    assert len(pids) == 2
    assert pool.processes.idle == 1
    await eventually(lambda: sum(map(is_alive, pids)) == 1)


async def test_a_process_that_died_while_it_waited_costs_the_next_job_nothing(pool: Pool) -> None:
    first = await pool.run()

    os.kill(first.pid, signal.SIGKILL)
    second = await pool.run()

    assert second.pid != first.pid
    assert len(read_found(pool.path)) == 2


async def test_at_the_end_of_their_worker_all_end(pool: Pool) -> None:
    idle, _ = await asyncio.gather(pool.run(), pool.run())
    busy, pid = await pool.start("a sleep")

    await pool.processes.aclose()

    with pytest.raises(JobError, match="signal 9"):
        await busy
    with pytest.raises(JobError, match="its worker has ended"):
        await pool.run()
    assert not any(map(is_alive, {found.pid for found in read_found(pool.path)} | {idle.pid, pid}))


async def test_a_process_that_was_starting_when_its_worker_ended_runs_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[JobProcess] = []

    async def start_late(modules: Sequence[str]) -> JobProcess:
        begun.append(await start_process(modules))
        await pool.processes.aclose()
        return begun[0]

    monkeypatch.setattr(processes, "start_process", start_late)

    with pytest.raises(JobError, match="its worker has ended"):
        await pool.run()

    assert [process.alive for process in begun] == [False]


async def test_a_process_that_waits_ends_when_its_worker_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "found"
    order = body(Leaves(str(path))).decode()
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WORKER,
        json.dumps(sys.path),
        order,
        *MODULES,
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    async with asyncio.timeout(30):
        assert await worker.stdout.readline() == b"idle\n"
    (found,) = read_found(path)
    assert is_alive(found.pid)

    worker.kill()
    await worker.wait()

    await eventually(lambda: not is_alive(found.pid))


async def test_a_used_process_ends_with_its_worker_whatever_holds_the_interpreter(
    pool: Pool,
) -> None:
    """As its lifeline tells it, on which the orders before have left nothing."""
    await pool.run()
    busy, pid = await pool.start("a busy interpreter")

    (process,) = pool.processes._all
    os.close(process._lifeline)
    process._lifeline = -1

    with pytest.raises(JobError, match="signal 9"):
        await busy
    assert not is_alive(pid)


async def test_what_a_job_writes_where_reports_are_is_no_report(pool: Pool) -> None:
    with pytest.raises(JobError, match="ValueError: the truth"):
        await pool.run("a forged report")

    assert pool.processes.idle == 0


async def test_noise_where_reports_are_ends_the_process_and_nothing_else(pool: Pool) -> None:
    await pool.run("much noise")

    assert pool.processes.idle == 0


async def test_a_fork_that_returns_from_the_job_says_nothing_of_it(pool: Pool) -> None:
    with pytest.raises(JobError, match="ValueError: the parent"):
        await pool.run("a fork")


async def test_a_report_goes_into_no_file_that_a_job_has_opened_in_its_place(pool: Pool) -> None:
    with pytest.raises(JobError, match="ended with exit code 1 before the job did"):
        await pool.run("other descriptors")


async def test_orders_of_any_size_follow_each_other(pool: Pool) -> None:
    found = [await pool.run(ballast="x" * size) for size in (700_000, 1, 700_000)]

    assert [each.kept for each in found] == [0, 1, 2]


@pytest.mark.redis
async def test_a_worker_uses_a_process_again_and_ends_it(
    world: WorkerWorld, tmp_path: Path
) -> None:
    path = tmp_path / "found"
    new = await world.push(*[Leaves(str(path)) for _ in range(3)])

    await world.drain(modules=MODULES, concurrency=1)

    found = read_found(path)
    assert [each.current for each in found] == [each.id for each in new]
    assert [each.kept for each in found] == [0, 1, 2]
    assert not is_alive(found[0].pid)


@pytest.mark.redis
async def test_a_worker_gives_each_job_a_fresh_process_if_it_is_told_to(
    world: WorkerWorld, tmp_path: Path
) -> None:
    path = tmp_path / "found"
    await world.push(Leaves(str(path)), Leaves(str(path)))

    await world.drain(modules=MODULES, concurrency=1, jobs_per_child=1)

    assert [each.kept for each in read_found(path)] == [0, 0]
