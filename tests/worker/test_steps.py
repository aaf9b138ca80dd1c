"""A worker's round trips, when the answer does not come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import DriverUnavailable
from broadcaster.jobs.job import Job
from tests.polling import eventually
from tests.worker import sample_jobs
from tests.worker.sample_jobs import gate

if TYPE_CHECKING:
    from broadcaster.contracts.queue import StepReply, StepRequest
    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis


class Fails(Job, name="steps.Fails"):
    text: str

    async def handle(self) -> None:
        await gate(self.text).wait()
        raise ValueError(self.text)

    async def failed(self, error: BaseException) -> None:
        sample_jobs.seen.append(f"failed {error}")


async def test_a_refusal_is_no_news_only_of_what_was_sent_before_without_an_answer(
    world: WorkerWorld,
    seen: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What ends meanwhile, and was lost to another worker, was settled by nobody here."""
    sent, lost = await world.push(Fails("sent"), Fails("lost"))
    step, lines = world.queue.step, list[str]()

    async def unanswered(request: StepRequest) -> StepReply:
        reply = await step(request)
        if request.settlements and not lines:
            lines.append(request.queue)
            held = world.clients.keys.queue("default", "held")
            await world.clients.aio.hset(held, lost.id, "99:another")
            gate("lost").set()
            await eventually(lambda: source.main.settlements)
            raise DriverUnavailable("the answer did not come")
        return reply

    monkeypatch.setattr(world.queue, "step", unanswered)
    async with world.running(queues=("default",)) as worker:
        (source,) = worker._sources
        await eventually(lambda: len(worker.running.plain) == 2)
        gate("sent").set()
        await eventually(lambda: worker.running.held == 0)

    assert seen == ["failed sent"]
    assert lost.id in _stale(caplog)
    assert sent.id not in _stale(caplog)


def _stale(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(each for each in caplog.messages if "settled too late" in each)
