"""Runners in processes of their own, as on two hosts; one is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from broadcaster.contracts.queue import StepRequest
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.protocol.ids import derived_id
from tests.cli.worker_process import environment
from tests.polling import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = [pytest.mark.redis, pytest.mark.process]


class RunnerProcess:
    """One runner; what it says is read by a thread."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scheduling.runner_process"],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def leads(self) -> bool:
        return "".join(self.lines[-1:]).startswith("leads ")

    @property
    def led(self) -> list[tuple[float, float]]:
        """When its turns began and ended in which it had the lock, Unix seconds."""
        turns = [line.split() for line in self.lines]
        return [(float(begun), float(ended)) for led, begun, ended in turns if led == "leads"]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)
        self._reader.join(30)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        if self._process.stdout is not None:
            self.lines.extend(line.strip() for line in self._process.stdout)


async def test_of_two_runners_one_is_killed_and_each_moment_is_queued_at_most_once(
    clients: RedisClients, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    queue, env, begun = RedisQueue(clients), environment(redis_url, prefix), time.time()
    with RunnerProcess(tmp_path, env) as one, RunnerProcess(tmp_path, env) as two:
        await eventually(lambda: one.leads or two.leads, within=30)
        await eventually(lambda: one.lines and two.lines, within=30)
        first, second = (one, two) if one.leads else (two, one)
        await eventually(lambda: queue.sizes("chores").ready >= 2, within=30)

        first.kill()
        before = queue.sizes("chores").ready
        await eventually(lambda: queue.sizes("chores").ready >= before + 3, within=30)

    assert second.leads
    reply = await queue.step(StepRequest(queue="chores", reserve=1_000, worker="w"))
    ids = [held.id for held in reply.reserved]
    moments = {
        derived_id("schedule", "tidy", f"{moment:.3f}"): moment
        for moment in range(int(begun) - 60, int(time.time()) + 60)
    }
    queued = [moments[job_id] for job_id in ids]
    assert queued == sorted(set(queued))  # each once, in order
    missed = set(range(queued[0], queued[-1])) - set(queued)
    led = [*first.led, *second.led]
    assert not [each for each in missed if any(each <= a and b < each + 1 for a, b in led)]
