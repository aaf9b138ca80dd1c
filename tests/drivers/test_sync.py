"""The sync queue runs what it is given, then and there."""

from __future__ import annotations

import pytest

from broadcaster.contracts.queue import Hold, NewJob, QueueSizes, StepReply, StepRequest
from broadcaster.drivers.sync import SyncQueue

JOBS = [NewJob("a", "q", b"1", delay=60), NewJob("b", "q", b"2")]


class Runner:
    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, job: NewJob) -> None:
        if job.body == b"bad":
            raise ValueError(f"bad job {job.id}")
        self.ran.append(job.id)

    async def arun(self, job: NewJob) -> None:
        self.run(job)


async def test_jobs_are_done_when_push_returns() -> None:
    runner = Runner()
    queue = SyncQueue(runner)

    assert len(queue.push(JOBS).new) == 2
    assert len((await queue.apush(JOBS)).new) == 2

    assert runner.ran == ["a", "b", "a", "b"]


async def test_what_a_job_raises_goes_to_the_caller_when_all_have_run() -> None:
    runner = Runner()
    jobs = [JOBS[0], NewJob("c", "q", b"bad"), JOBS[1], NewJob("d", "q", b"bad")]

    with pytest.raises(ValueError, match="bad job c"):
        SyncQueue(runner).push(jobs)
    with pytest.raises(ValueError, match="bad job c"):
        await SyncQueue(runner).apush(jobs)

    assert runner.ran == ["a", "b", "a", "b"]


async def test_there_is_never_anything_for_a_worker() -> None:
    queue = SyncQueue(Runner())

    assert await queue.step(StepRequest(queue="q", reserve=1)) == StepReply()
    assert await queue.wait("q", 1.0) is None
    assert queue.extend("q", {"a": 1}, 30.0) == {"a": Hold.GONE}
    assert queue.sizes("q") == await queue.asizes("q") == QueueSizes()
    assert queue.queues() == ()
