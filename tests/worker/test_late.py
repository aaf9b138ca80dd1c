"""A worker that was frozen begins nothing that somebody else may have by then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import Hold, QueueSizes, StepRequest
from broadcaster.worker.heartbeat import Heartbeat, HeldJob
from tests.polling import eventually
from tests.worker.sample_jobs import Note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.contracts.queue import Queue, StepReply
    from tests.worker.worker_world import WorkerWorld

LEASE = 0.5


@pytest.mark.redis
@pytest.mark.parametrize("queue", ["default", "default#3"])
async def test_what_was_reserved_before_a_freeze_is_handed_back(
    world: WorkerWorld, seen: list[str], monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    """Here the answer of a step comes after the lease of what it has reserved."""
    step = world.queue.step
    taken: list[int] = []

    async def slow_step(request: StepRequest) -> StepReply:
        reply = await step(request)
        taken.extend(job.token for job in reply.reserved)
        if reply.reserved and len(taken) == 1:
            await asyncio.sleep(LEASE * 1.1)
        return reply

    monkeypatch.setattr(world.queue, "step", slow_step)
    await world.push(Note("a"), default_queue=queue)

    async with world.running(lease=LEASE, queues=("default",)):
        await eventually(lambda: seen, within=20)

    assert (seen, len(taken)) == (["a"], 2), "taken, handed back, and taken again"
    assert await world.sizes(queue) == QueueSizes()


def test_each_renewal_holds_for_a_lease_from_when_it_was_asked_for() -> None:
    class Keeping:
        def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
            del queue, lease
            return {job_id: Hold.LOST if job_id == "b" else Hold.KEPT for job_id in holds}

    queue: Queue = Keeping()  # type: ignore[assignment]  # the one method that is called
    kept, lost = HeldJob("q", "a", 1, until=5.0), HeldJob("q", "b", 2, until=5.0)
    heartbeat = Heartbeat(queue, 30.0)
    heartbeat.add(kept)
    heartbeat.add(lost)

    heartbeat.beat(100.0)

    assert (kept.until, lost.until) == (130.0, 5.0)
