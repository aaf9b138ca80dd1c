"""What a worker leaves behind is found by its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chaos.record import SERVER, WORKER
from tests.chaos.survivors import PROC, processes_of, survivors
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not PROC.is_dir(), reason="the system does not tell of its processes"),
]

URL = f"unix:///nowhere/{os.getpid()}"


@pytest.fixture
def left() -> Iterator[subprocess.Popen[bytes]]:
    """A process that a worker named w0.1 has started."""
    command = (sys.executable, "-c", "input()")
    environment = {**os.environ, WORKER: "w0.1", SERVER: URL}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


async def test_a_process_is_found_until_it_ends(left: subprocess.Popen[bytes]) -> None:
    await eventually(lambda: processes_of("w0.1", URL))
    (found,) = await survivors("w0.1", URL, looks=1)

    assert found.startswith(f"{left.pid} of w0.1: {sys.executable} -c input()")

    left.kill()

    assert await survivors("w0.1", URL) == []


async def test_those_of_others_are_not_found(left: subprocess.Popen[bytes]) -> None:
    await eventually(lambda: processes_of("w0.1", URL))

    assert left.poll() is None
    assert processes_of("w0.2", URL) == processes_of("w0.1", f"{URL}0") == []
