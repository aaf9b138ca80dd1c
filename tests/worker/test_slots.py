"""Slots that change while a worker runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.polling import eventually
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Waiting

if TYPE_CHECKING:
    from tests.worker.worker_world import WorkerWorld


@pytest.mark.redis
async def test_slots_are_added_and_taken_away_while_it_runs(world: WorkerWorld) -> None:
    seen = sample_jobs.seen
    seen.clear()
    for name in "abcd":
        sample_jobs.gates[name] = asyncio.Event()

    async with world.running(concurrency=3) as worker:
        worker.running.resize(1)
        await world.push(*(Waiting(name) for name in "abcd"))
        await eventually(lambda: seen == ["begins a"])
        worker.running.resize(99)
        await eventually(lambda: seen == ["begins a", "begins b", "begins c"])
        worker.running.resize(1)
        sample_jobs.gates["a"].set()
        sample_jobs.gates["b"].set()
        await eventually(lambda: "ends b" in seen)
        begun = "begins d" in seen
        for gate in sample_jobs.gates.values():
            gate.set()

    assert not begun
    assert worker.running.slots == 1
