"""Sync jobs with a timeout, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import InvalidJob, JobError, JobFailed, JobTimedOut, UnknownJob
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.worker import process
from broadcaster.worker.orders import NONCE_BYTES, Order, order_frame
from broadcaster.worker.processes import JobProcesses
from tests.polling import eventually
from tests.worker.pids import is_alive
from tests.worker.sample_jobs import (
    die_in_process,
    fail_in_process,
    give_up_in_process,
    hang_deaf_in_process,
    hang_in_process,
    hold_the_interpreter_in_process,
    write_in_process,
)
from tests.worker.time_limits import limit_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from broadcaster.jobs.job import Job
    from tests.worker.worker_world import WorkerWorld

WORKER = """\
import asyncio, json, sys
sys.path[:] = json.loads(sys.argv[1])
from broadcaster.worker.orders import NONCE_BYTES, Order, order_frame
from broadcaster.worker.processes import JobProcesses
asyncio.run(JobProcesses(sys.argv[3:], jobs=1).run(Order(sys.argv[2].encode()), limit=60))
"""

MODULES = ("tests.worker.sample_jobs",)

pytestmark = pytest.mark.process


def body(job: Job) -> bytes:
    data = job.encode_fields()
    return encode_payload(Payload(id="0" * 32, job=job.options.name, data=data))


async def run(job: Job, limit: float = 20.0, modules: Sequence[str] = MODULES) -> None:
    await JobProcesses(modules, jobs=1).run(Order(body(job)), limit=limit)


async def test_the_job_runs_in_another_process(tmp_path: Path) -> None:
    await run(write_in_process(str(tmp_path / "out"), "hello"))

    text, pid = (tmp_path / "out").read_text(encoding="utf-8").split()
    assert text == "hello"
    assert int(pid) != os.getpid()


async def test_a_job_that_hears_no_signal_is_killed_without_a_word() -> None:
    with pytest.raises(JobTimedOut, match="was killed") as caught:
        await run(hang_deaf_in_process(), limit=0.1)

    assert not hasattr(caught.value, "__notes__")


async def test_its_prints_do_not_disturb_the_report(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await run(write_in_process(str(tmp_path / "out"), "hello"))

    assert "this goes to stderr" in capfd.readouterr().err


@pytest.mark.parametrize("hang", [hang_in_process, hold_the_interpreter_in_process])
async def test_at_the_timeout_it_tells_where_it_hangs_and_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: Callable[[str], Job]
) -> None:
    path = tmp_path / "pids"
    limit_from(monkeypatch, lambda: path.exists() and path.stat().st_size)

    with pytest.raises(JobTimedOut, match=r"longer than 0.5 s and was killed") as caught:
        await run(hang(str(path)), limit=0.5)

    assert re.match(
        r'It hung here .*\n  File ".*sample_jobs.py", line \d+, in \w+_in_process\n    \S+',
        caught.value.__notes__[0],
    )

    pids = [int(pid) for pid in path.read_text(encoding="utf-8").split()]
    await eventually(lambda: not any(is_alive(pid) for pid in pids))


async def test_its_exception_comes_back_as_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(JobError, match="ValueError: bad luck"):
        await run(fail_in_process())

    assert "Traceback" in capfd.readouterr().err


async def test_giving_up_comes_back_as_itself() -> None:
    with pytest.raises(JobFailed, match="never again"):
        await run(give_up_in_process())


async def test_a_process_that_dies_is_an_error_of_the_job() -> None:
    with pytest.raises(JobError, match="signal 9"):
        await run(die_in_process())


async def test_an_unknown_job_comes_back_as_such() -> None:
    unknown = encode_payload(Payload(id="0" * 32, job="nobody.knows"))

    with pytest.raises(UnknownJob):
        await JobProcesses((), jobs=1).run(Order(unknown), limit=20)
    with pytest.raises(InvalidJob):
        await JobProcesses((), jobs=1).run(Order(b"garbage"), limit=20)


async def test_a_module_that_cannot_be_imported_is_an_error_of_the_job() -> None:
    with pytest.raises(JobError, match="no_such_module"):
        await run(fail_in_process(), modules=("no_such_module",))


async def test_a_process_that_does_not_start_in_time_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "STARTUP_SECONDS", 0.01)

    with pytest.raises(JobTimedOut, match="took longer to start"):
        await run(fail_in_process())


async def test_cancelling_kills_it(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    running = asyncio.create_task(run(hang_in_process(str(path)), limit=60))
    await eventually(lambda: path.exists() and path.stat().st_size, within=20)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    pids = [int(pid) for pid in path.read_text(encoding="utf-8").split()]
    await eventually(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize("hang", [hang_in_process, hold_the_interpreter_in_process])
async def test_it_ends_when_its_worker_is_killed(
    tmp_path: Path, hang: Callable[[str], Job]
) -> None:
    """With what it has started, and even if none of its threads gets to run."""
    path = tmp_path / "pids"
    job = body(hang(str(path)))
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, json.dumps(sys.path), job.decode(), *MODULES
    )
    await eventually(lambda: path.exists() and path.stat().st_size, within=20)
    pids = [int(each) for each in path.read_text(encoding="utf-8").split()]

    worker.kill()
    await worker.wait()

    await eventually(lambda: not any(is_alive(pid) for pid in pids))


def test_its_report_to_a_worker_that_was_killed_a_moment_ago_makes_no_noise() -> None:
    """Its lifeline ends as well; which of both it notices first is up to the machine."""
    lifeline, held = os.pipe()
    unread, results = os.pipe()
    os.close(unread)
    order = order_frame(b"0" * NONCE_BYTES, Order(body(give_up_in_process())))

    words = [json.dumps(sys.path), str(lifeline), *MODULES]
    child = subprocess.run(
        [sys.executable, "-c", process.BOOTSTRAP, *words],
        input=order,
        stdout=results,
        stderr=subprocess.PIPE,
        pass_fds=(lifeline,),
        timeout=60,
        check=False,
    )
    for descriptor in (lifeline, held, results):
        os.close(descriptor)

    assert (child.returncode, child.stderr) == (1, b"")


@pytest.mark.redis
async def test_the_worker_settles_a_job_that_was_killed_at_its_timeout(
    world: WorkerWorld, tmp_path: Path
) -> None:
    await world.push(hang_in_process(str(tmp_path / "pids")))

    await world.drain(modules=MODULES)

    (failed,) = await world.failed()
    assert failed.reason == "timeout"
