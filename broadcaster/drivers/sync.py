"""The queue ``sync``: runs jobs at once, in the process and call that pushes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broadcaster.contracts.queue import Hold, QueueSizes, StepReply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.queue import NewJob, StepRequest


class InlineRunner(Protocol):
    """Runs one job to its end; an exception of the job goes to the caller."""

    def run(self, job: NewJob) -> None:
        """Run `job` in this thread."""
        ...

    async def arun(self, job: NewJob) -> None:
        """Run `job` in the running event loop."""
        ...


class SyncQueue:
    """
    A queue that never holds anything; see `Queue`.

    `push` returns when the jobs are done, and raises what they raise. Delays are ignored,
    nothing is tried again, and there is nothing for a worker to reserve.
    """

    def __init__(self, runner: InlineRunner) -> None:
        self._runner = runner

    def push(self, jobs: Sequence[NewJob]) -> int:
        """Run `jobs`, one after the other."""
        for job in jobs:
            self._runner.run(job)
        return len(jobs)

    async def apush(self, jobs: Sequence[NewJob]) -> int:
        """Run `jobs`, one after the other, from a coroutine."""
        for job in jobs:
            await self._runner.arun(job)
        return len(jobs)

    async def step(self, request: StepRequest) -> StepReply:
        """Return that there is nothing to do."""
        del request
        return StepReply()

    async def wait(self, queue: str, timeout: float) -> bool:  # noqa: ASYNC109 - as in the contract
        """Return at once that there is nothing to do."""
        del queue, timeout
        return False

    def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
        """Return that none of `holds` exists any more."""
        del queue, lease
        return dict.fromkeys(holds, Hold.GONE)

    def sizes(self, queue: str) -> QueueSizes:
        """Return zeros."""
        del queue
        return QueueSizes()

    async def asizes(self, queue: str) -> QueueSizes:
        """Return zeros."""
        return self.sizes(queue)

    def queues(self) -> Sequence[str]:
        """Return nothing."""
        return ()
