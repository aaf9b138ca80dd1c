"""A queue that the server refuses to work on is left alone for a while; others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.worker.line import Line
from broadcaster.worker.source import Source
from tests.polling import eventually, eventually_async
from tests.worker.sample_jobs import Note, Waiting, gate

if TYPE_CHECKING:
    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis

BROKEN = ["ready", "delayed", "reserved", "jobs", "held", "meta", "outbox_due"]


async def overwrite(world: WorkerWorld, suffix: str, queue: str = "bad") -> str:
    key = world.clients.keys.queue(queue, suffix)
    await world.clients.aio.set(key, "not ours")
    return key


@pytest.mark.parametrize("suffix", BROKEN)
@pytest.mark.parametrize("weights", [None, {"bad": 3, "default": 1}])
async def test_a_refused_queue_keeps_no_other_waiting(
    world: WorkerWorld, seen: list[str], suffix: str, weights: dict[str, int] | None
) -> None:
    await overwrite(world, suffix)

    async with world.running(queues=("bad", "default"), weights=weights) as worker:
        for number in range(4):
            await world.push(Note(str(number)))
            await eventually(lambda count=number: len(seen) > count)  # type: ignore[misc]  # a default binds the loop's variable

        assert worker.away == 0


async def test_it_is_worked_on_again_when_it_can_be(
    world: WorkerWorld, seen: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    key = await overwrite(world, "ready")

    async with world.running(queues=("bad", "default")):
        await eventually(lambda: "queue bad cannot be worked on" in caplog.text)
        await world.clients.aio.delete(key)
        await world.push(Note("after"), queue="bad")
        await eventually(lambda: seen == ["after"])

    assert caplog.text.count("cannot be worked on") == 1


async def test_a_worker_of_refused_queues_only_counts_as_cut_off(world: WorkerWorld) -> None:
    key = await overwrite(world, "ready")

    async with world.running(queues=("bad",)) as worker:
        await eventually(lambda: worker.away > 0)
        await world.clients.aio.delete(key)
        await eventually(lambda: worker.away == 0)


async def test_a_job_that_cannot_be_settled_now_is_settled_later(
    world: WorkerWorld, seen: list[str]
) -> None:
    gate("held").clear()
    await world.push(Waiting("held"), queue="bad")

    async with world.running(queues=("bad", "default")):
        await eventually(lambda: "begins held" in seen)
        stats = world.clients.keys.queue("bad", "stats")
        await world.clients.aio.delete(stats)
        await overwrite(world, "stats")
        gate("held").set()
        await world.push(Note("beside"))
        await eventually(lambda: "beside" in seen)
        await world.clients.aio.delete(stats)

        async def settled() -> bool:
            return (await world.sizes("bad")).held == 0

        await eventually_async(settled)

    assert seen.count("ends held") == 1
    assert await world.failed() == []


def test_waits_between_refusals_grow() -> None:
    line, source = Line("q", ordered=False), Source("q", rank=0, ordered=False, lanes=4)
    waits: list[float] = []

    for _ in range(9):
        line.refused(100.0)
        source.refused(100.0)
        assert not line.needs_step(line.retry_at - 0.001, 5)
        assert line.needs_step(line.retry_at, 5)
        assert source.survey_at == line.retry_at
        waits.append(line.retry_at - 100.0)

    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(2.0)
