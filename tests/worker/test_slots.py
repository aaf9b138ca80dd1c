"""Slots that change while a worker runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.polling import eventually
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Note, Waiting

if TYPE_CHECKING:
    from broadcaster.contracts.queue import StepReply, StepRequest
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


@pytest.mark.redis
async def test_what_waits_for_a_slot_that_rests_begins_when_it_has_rested(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is less room than there was when it was asked for."""
    step = world.queue.step

    async def resizing(request: StepRequest) -> StepReply:
        reply = await step(request)
        if len(reply.reserved) > 1:
            worker.running.resize(1)
        return reply

    monkeypatch.setattr(world.queue, "step", resizing)
    # So long between two looks that nothing else wakes the worker.
    options = {"rest": 0.01, "sleep": 60.0, "lease": 600.0, "queues": ("default",)}
    await world.push(Note("a"), Note("b"), Note("c"))
    async with world.running(**options) as worker:
        await eventually(lambda: sample_jobs.seen == ["a", "b", "c"])
