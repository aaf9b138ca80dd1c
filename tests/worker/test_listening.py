"""Hints wake a worker, whenever they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import DriverUnavailable
from tests.polling import eventually
from tests.worker.sample_jobs import Note

if TYPE_CHECKING:
    from broadcaster.contracts.queue import StepReply, StepRequest
    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis


async def test_a_hint_that_comes_while_a_step_is_on_its_way_is_not_lost(
    world: WorkerWorld, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step was answered before the job came, so it has not found it."""
    step, came = world.queue.step, asyncio.Event()

    async def late(request: StepRequest) -> StepReply:
        reply = await step(request)
        if request.settlements and not came.is_set():
            came.set()
            await world.push(Note("second"))
            await eventually(lambda: source.main.hinted)
        return reply

    monkeypatch.setattr(world.queue, "step", late)
    # So long between two looks that only the hint can bring the job.
    async with world.running(queues=("default",), sleep=60.0, lease=600.0) as worker:
        (source,) = worker._sources
        await eventually(source.cold.is_set)
        await world.push(Note("first"))
        await eventually(lambda: seen == ["first", "second"])


async def test_a_hint_that_a_step_without_an_answer_would_have_used_is_used_later(
    world: WorkerWorld, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, failed = world.queue.step, list[bool]()

    async def failing(request: StepRequest) -> StepReply:
        if source.cold.is_set() or failed:
            return await step(request)
        failed.append(True)
        raise DriverUnavailable("away")

    async with world.running(queues=("default",), sleep=60.0, lease=600.0) as worker:
        (source,) = worker._sources
        await eventually(source.cold.is_set)
        monkeypatch.setattr(world.queue, "step", failing)
        await world.push(Note("a"))
        await eventually(lambda: seen == ["a"])

    assert failed
