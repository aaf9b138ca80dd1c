"""Watching jobs: the example, run by a worker and the scheduler as its README says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.settings import load_settings
from tests.cli.surroundings import surround
from tests.cli.worker_process import environment
from tests.examples.example_world import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = EXAMPLES / "operations"


class Terminal:
    """The folder of the example, and commands that are run there to their end."""

    def __init__(self, redis_url: str, prefix: str) -> None:
        self._env = environment(redis_url, prefix)

    def python(self, code: str) -> str:
        return self._run("-c", f"from operations import *\n{code}")

    def broadcaster(self, *args: str) -> str:
        return self._run("-m", "broadcaster", *args)

    def _run(self, *args: str) -> str:
        ran = subprocess.run(
            [sys.executable, *args],
            cwd=FOLDER,
            env=self._env | {"BROADCASTER_GATEWAY__LOG_FORMAT": "json"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def journal(self, *args: str) -> list[str]:
        """Run a worker until nothing is ready; return what the example logged."""
        output = self.broadcaster("work", "--stop-when-empty", *args)
        lines: list[Any] = [json.loads(line) for line in output.splitlines() if line[:1] == "{"]
        return [line["msg"] for line in lines if line["msg"].split()[0] in EVENTS]


EVENTS = {
    "JobPopped", "JobProcessing", "JobAttempted", "JobProcessed", "JobExceptionOccurred",
    "JobReleasedAfterException", "JobFailed", "WorkerStarting", "WorkerStopping",
}  # fmt: skip


@pytest.fixture
def terminal(redis_url: str, prefix: str) -> Terminal:
    return Terminal(redis_url, prefix)


@pytest.mark.redis
@pytest.mark.process
def test_rows_47_and_48_a_journal_tells_the_life_of_each_job(terminal: Terminal) -> None:
    terminal.python("TakePayment(7).dispatch(); TakePayment(-1).dispatch()")

    journal = terminal.journal("--queue=critical", "--concurrency=1", "--timeout=9")

    where = "connection=default queue=critical job=operations.TakePayment attempt=1"
    error = "error=ConnectionError: the bank does not answer"
    assert journal[0] == "WorkerStarting connection=default queue=critical"
    assert f"JobProcessed {where}" in journal
    assert f"JobExceptionOccurred {where} {error}" in journal
    assert f"JobReleasedAfterException {where} backoff=30.0 {error}" in journal
    assert journal[-1] == "WorkerStopping status=0"
    assert "operations.TakePayment" in terminal.python("print(done.latest(10)[0].job)")


@pytest.mark.redis
@pytest.mark.process
def test_rows_43_and_59_a_failure_that_passes_is_tried_again_at_night(terminal: Terminal) -> None:
    terminal.python("TakePayment(-1).dispatch(tries=1)")
    failed = terminal.journal("--queue=critical")
    assert any(line.startswith("JobFailed") for line in failed)

    terminal.broadcaster("schedule", "test", "retry_what_may_work")
    terminal.broadcaster("work", "--stop-when-empty", "--queue=default")

    waiting = terminal.python("print(current.application().queue.sizes('critical').ready)")
    assert waiting.strip() == "1"


@pytest.mark.redis
@pytest.mark.process
def test_row_44_a_queue_that_grows_is_told(terminal: Terminal) -> None:
    told = terminal.python(
        "for number in range(100): TakePayment(number).dispatch()\n"
        "watch_queues().run_now()\n"
        "print(ALERTS)"
    )

    assert "['100 jobs on critical']" in told


def test_rows_39_40_and_56_the_settings_of_the_example_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surround(tmp_path, monkeypatch)
    (tmp_path / "broadcaster.toml").write_text(
        (FOLDER / "broadcaster.toml").read_text(encoding="utf-8"), encoding="utf-8"
    )

    settings = load_settings()

    main, long = settings.supervisors["main"], settings.supervisors["long-running"]
    assert (main.balance, main.min_processes, main.max_processes) == ("auto", 1, 10)
    assert (long.balance, long.processes, long.connection, long.timeout) == (
        "simple",
        3,
        "long",
        600,
    )
    assert settings.queues["long"].lease == 120
    assert settings.workers["emails"].queue == ("transactional", "marketing")
