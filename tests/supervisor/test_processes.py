from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broadcaster.supervisor.processes import say, send_signal

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process


class Unnoticed:
    """A process of which asyncio does not know yet that it has ended."""

    returncode = None

    def __init__(self, pid: int) -> None:
        self.pid = pid


async def started(code: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, *arguments), stdin=asyncio.subprocess.PIPE
    )


def test_a_signal_leaves_the_exit_code_to_who_waits_for_it() -> None:
    """It would be lost, and the process would seem to have ended with 255."""
    child = subprocess.Popen(["sh", "-c", "exit 12"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    send_signal(Unnoticed(child.pid), signal.SIGTERM)

    assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == 12
    child.returncode = 12


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_no_signal_goes_to_who_may_have_the_number_of_a_process_that_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: signalled.append(pid))

    send_signal(Unnoticed(child.pid), signal.SIGTERM)

    assert signalled == []


async def test_a_signal_ends_a_process_and_the_next_one_does_nothing() -> None:
    process = await started("import time; time.sleep(600)")

    send_signal(process, signal.SIGKILL)
    assert await process.wait() == -9
    send_signal(process, signal.SIGKILL)


async def test_what_is_said_is_read_and_nobody_minds_who_has_ended(tmp_path: Path) -> None:
    said = tmp_path / "said"
    process = await started("import sys; open(sys.argv[1], 'w').write(input())", str(said))

    say(process, "slots 5")
    assert await process.wait() == 0
    say(process, "slots 6")

    assert said.read_text() == "slots 5"
