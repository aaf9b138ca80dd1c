"""The parent of several workers, of which each is a program that says what it was told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import pytest

from broadcaster.cli import work_processes
from broadcaster.cli.heeding import EarlyPause, heed_no_more
from broadcaster.cli.work_processes import WorkerProcesses
from broadcaster.supervisor.restarting import Restarts
from tests.polling import eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process

# Writes down what it was told, line by line, and obeys no signal in any other way than Python.
WORKER = """
import os, sys
with open(os.path.join(sys.argv[1], str(os.getpid())), "w", buffering=1) as file:
    print("begins", file=file)
    for line in sys.stdin:
        print(line.strip(), file=file)
"""


class Parent:
    def __init__(self, folder: Path, code: str = WORKER, count: int = 2) -> None:
        command = [sys.executable, "-c", code, str(folder)]
        self.folder = folder
        self.workers = WorkerProcesses(command, count, ends=False)
        self.task: asyncio.Task[int] | None = None

    def start(self, early: EarlyPause | None = None) -> None:
        self.task = asyncio.create_task(self.workers.run(early))

    async def end(self) -> int:
        assert self.task is not None
        async with asyncio.timeout(30):
            return await self.task

    @property
    def told(self) -> list[list[str]]:
        """What each has heard, the dead included."""
        return sorted(path.read_text().splitlines() for path in self.folder.iterdir())


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_processes, "RESTARTS", Restarts(first=0.01, longest=1.0))


@pytest.mark.usefixtures("short_pauses")
async def test_workers_that_start_later_are_paused_like_the_others(tmp_path: Path) -> None:
    """A signal would have ended those that were starting, and others would not have heard it."""
    parent = Parent(tmp_path)
    parent.start()
    await eventually(lambda: parent.told == [["begins"]] * 2)

    parent.workers.pause(paused=True)
    await eventually(lambda: parent.told == [["begins", "pause"]] * 2)
    next(iter(parent.workers.processes)).kill()
    await eventually(lambda: parent.told == [["begins", "pause"]] * 3)
    parent.workers.pause(paused=False)
    await eventually(lambda: parent.told.count(["begins", "pause", "resume"]) == 2)

    parent.workers.stop()
    assert await parent.end() == 0


async def test_what_was_asked_for_before_there_was_a_worker_holds(tmp_path: Path) -> None:
    early, parent = EarlyPause(), Parent(tmp_path)
    early.wanted = True

    parent.start(early)

    await eventually(lambda: parent.told == [["begins", "pause"]] * 2)
    parent.workers.stop()
    assert await parent.end() == 0


# As a command does that is starting: to it Ctrl-C is an error.
INTERRUPTED = "import signal, sys; signal.signal(2, lambda *_: sys.exit(1))\n" + WORKER


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_workers_that_had_not_begun_when_they_were_stopped_have_stopped_in_good_order(
    tmp_path: Path, number: signal.Signals
) -> None:
    """They are ended by the signal; the exit code of the parent was 241, or 1 after Ctrl-C."""
    parent = Parent(tmp_path, INTERRUPTED)
    parent.start()
    await eventually(lambda: parent.told == [["begins"]] * 2)

    os.kill(os.getpid(), number)

    assert await parent.end() == 0


async def test_a_worker_that_is_started_while_all_stop_stops_too(tmp_path: Path) -> None:
    parent = Parent(tmp_path)
    parent.start()
    parent.workers.stop()

    assert await parent.end() == 0


async def test_one_that_is_killed_while_all_stop_is_told_of(tmp_path: Path) -> None:
    parent = Parent(tmp_path, "import signal; signal.signal(15, signal.SIG_IGN)\n" + WORKER, 1)
    parent.start()
    await eventually(lambda: parent.told == [["begins"]])
    parent.workers.stop()

    next(iter(parent.workers.processes)).kill()

    assert await parent.end() == -9


@pytest.mark.usefixtures("short_pauses")
async def test_a_system_that_refuses_a_process_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parent = Parent(tmp_path)
    with monkeypatch.context() as refusing:
        refusing.setattr(asyncio, "create_subprocess_exec", refuse)
        parent.start()
        await eventually(lambda: caplog.text.count("no process can be started") >= 2)

    await eventually(lambda: parent.told == [["begins"]] * 2)
    parent.workers.stop()
    assert await parent.end() == 0


async def refuse(*_: object, **__: object) -> NoReturn:
    raise BlockingIOError(11, "Resource temporarily unavailable")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [([], False), ([signal.SIGUSR2], True), ([signal.SIGUSR2, signal.SIGCONT], False)],
)
def test_a_pause_at_the_start_ends_nothing_and_is_remembered(
    numbers: list[signal.Signals], *, wanted: bool
) -> None:
    early = EarlyPause()
    early.heed()

    for number in numbers:
        os.kill(os.getpid(), number)

    assert early.wanted is wanted


@pytest.mark.usefixtures("handlers")
async def test_signals_change_nothing_when_all_is_done() -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, pytest.fail)

    heed_no_more()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR2):
        os.kill(os.getpid(), number)
