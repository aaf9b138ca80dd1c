"""The parent of several gateway processes; whole runs are in tests/gateway/test_server.py."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn, cast

import pytest

from broadcaster.cli import serve_workers
from broadcaster.cli.serve_workers import Workers
from broadcaster.supervisor.restarting import Restarts
from tests.polling import eventually

if TYPE_CHECKING:
    from asyncio.subprocess import Process


WAITING = "import time; time.sleep(600)"


class Unnoticed:
    """A worker that has ended, which nobody has heard of yet."""

    returncode = None

    def __init__(self, pid: int) -> None:
        self.pid = pid


@pytest.mark.process
def test_a_worker_that_has_just_ended_keeps_no_other_from_stopping() -> None:
    workers = Workers([], 4)
    gone = [subprocess.Popen(["true"]) for _ in range(4)]
    for each in gone:
        each.wait()
        workers.processes.add(cast("Process", Unnoticed(each.pid)))
    with subprocess.Popen([sys.executable, "-c", WAITING]) as other:
        workers.processes.add(cast("Process", Unnoticed(other.pid)))

        workers.stop()

        assert other.wait(30) == -signal.SIGTERM


@pytest.mark.process
async def test_a_system_that_refuses_a_process_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve_workers, "RESTARTS", Restarts(first=0.01, longest=1.0, endless=True))
    workers = Workers([sys.executable, "-c", WAITING], 1)
    with monkeypatch.context() as refusing:
        refusing.setattr(asyncio, "create_subprocess_exec", refuse)
        running = asyncio.ensure_future(workers.run())
        await eventually(lambda: "no process can be started" in caplog.text)

    await eventually(lambda: workers.processes)
    workers.stop()
    async with asyncio.timeout(30):
        assert await running == 0


async def refuse(*_: object, **__: object) -> NoReturn:
    raise BlockingIOError(11, "Resource temporarily unavailable")
