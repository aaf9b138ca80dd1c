"""The queue ``sync``: runs jobs at once, in the process and call that pushes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broadcaster.contracts.queue import Hold, Pushed, QueueSizes, StepReply, Survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.queue import NewJob, Owed, StepRequest


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

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        """Run `jobs`, one after the other."""
        for job in jobs:
            self._runner.run(job)
        return Pushed([job.id for job in jobs])

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        """Run `jobs`, one after the other, from a coroutine."""
        for job in jobs:
            await self._runner.arun(job)
        return Pushed([job.id for job in jobs])

    async def step(self, request: StepRequest) -> StepReply:
        """Return that there is nothing to do."""
        del request
        return StepReply()

    async def apply(self, queue: str, owed: Sequence[Owed]) -> None:
        """Do nothing: nothing is ever owed."""

    async def unlock(self, queue: str, key: str, job_id: str) -> bool:
        """Return that nobody has a lock."""
        del queue, key, job_id
        return False

    async def wait(self, queue: str, timeout: float) -> str | None:  # noqa: ASYNC109 - as in the contract
        """Return at once that there is nothing to do."""
        del queue, timeout
        return None

    async def survey(self, queue: str, lanes: Sequence[int], worker: str) -> Survey:
        """Return that no lane has anything."""
        del queue, lanes, worker
        return Survey((), 1, None)

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
