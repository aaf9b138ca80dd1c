"""A worker that stops when nothing is left stops no sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import QueueSizes
from broadcaster.jobs.job import Job
from broadcaster.worker.options import ExitReason
from tests.worker.sample_jobs import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis

_worlds: list[WorkerWorld] = []


class PushingOn(Job):
    """Queues another job, as `dispatch()` in a job does, and is done."""

    queue: str
    more: int

    async def handle(self) -> None:
        (world,) = _worlds
        follower = PushingOn(self.queue, self.more - 1) if self.more else Note("the last one")
        await world.push(follower, default_queue=self.queue)


@pytest.fixture
def world(world: WorkerWorld) -> Iterator[WorkerWorld]:
    _worlds.append(world)
    yield world
    _worlds.clear()


@pytest.mark.parametrize("to", ["high", "low", "low#3"])
@pytest.mark.parametrize("origin", ["high", "low"])
@pytest.mark.parametrize("options", [{}, {"weights": {"high": 2}}], ids=["strict", "weights"])
async def test_it_runs_what_its_own_jobs_queue_wherever_that_is(
    world: WorkerWorld, seen: list[str], origin: str, to: str, options: dict[str, dict[str, int]]
) -> None:
    """Also in a queue in which nothing was when the worker looked there last."""
    await world.push(PushingOn(to, 4), default_queue=origin)

    assert await world.drain(queues=("high", "low"), **options) is ExitReason.EMPTY
    assert seen == ["the last one"]
    assert await world.sizes(to) == QueueSizes()
