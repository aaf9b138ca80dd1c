"""The parent of several gateway processes; whole runs are in tests/gateway/test_server.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from broadcaster.cli.serve_workers import Workers

if TYPE_CHECKING:
    from asyncio.subprocess import Process


class FakeProcess:
    """A worker that is asked to stop."""

    def __init__(self, *, ended: bool = False) -> None:
        self.ended = ended
        self.asked = False

    def terminate(self) -> None:
        if self.ended:
            raise ProcessLookupError
        self.asked = True


async def test_a_worker_that_has_just_ended_keeps_no_other_from_stopping() -> None:
    workers = Workers([], 4)
    processes = [FakeProcess(ended=number % 2 == 0) for number in range(8)]
    workers.processes.update(cast("Process", process) for process in processes)

    workers.stop()
    await asyncio.sleep(0)

    assert [process.asked for process in processes] == [False, True] * 4
