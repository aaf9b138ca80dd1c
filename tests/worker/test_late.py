"""A worker that was frozen begins nothing that somebody else may have by then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import Hold, QueueSizes, StepRequest
from broadcaster.worker.heartbeat import Heartbeat, HeldJob
from tests.polling import eventually
from tests.worker.sample_jobs import Note
from tests.worker.worker_world import broadcast_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.contracts.queue import Queue, StepReply
    from tests.worker.worker_world import WorkerWorld

LEASE = 0.5


@pytest.fixture
def taken(world: WorkerWorld, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that workers were given; the answer with the first comes after its lease."""
    step, tokens = world.queue.step, list[int]()

    async def slow_step(request: StepRequest) -> StepReply:
        reply = await step(request)
        tokens.extend(job.token for job in reply.reserved)
        if reply.reserved and len(tokens) == 1:
            await asyncio.sleep(LEASE * 1.1)
        return reply

    monkeypatch.setattr(world.queue, "step", slow_step)
    return tokens


@pytest.mark.redis
@pytest.mark.parametrize("queue", ["default", "default#3"])
async def test_what_was_reserved_before_a_freeze_is_handed_back(
    world: WorkerWorld, seen: list[str], taken: list[int], queue: str
) -> None:
    await world.push(Note("a"), default_queue=queue)

    async with world.running(lease=LEASE, queues=("default",)):
        await eventually(lambda: seen, within=20)

    assert (seen, len(taken) > 1) == (["a"], True), "taken, handed back, and taken again"
    assert await world.sizes(queue) == QueueSizes()


@pytest.mark.redis
@pytest.mark.parametrize("queue", ["mail", "mail#3"])
async def test_a_broadcast_reserved_before_a_freeze_is_handed_back(
    world: WorkerWorld, taken: list[int], queue: str
) -> None:
    """Others of its channel may have followed it: its lane was another worker's meanwhile."""
    await world.push(broadcast_job("a", queue=queue))

    async with world.running(lease=LEASE, queues=("mail",), ordered=frozenset({"mail"})):
        await eventually(lambda: world.publisher.names, within=20)

    assert (world.publisher.names, len(taken) > 1) == (["a"], True)
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
