"""The queue ``sync``: runs jobs at once, in the process and call that pushes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broadcaster.contracts.queue import Pushed
from broadcaster.contracts.unserved import UnservedQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import NewJob


class InlineRunner(Protocol):
    """Runs one job to its end; an exception of the job goes to the caller."""

    def run(self, job: NewJob) -> None:
        """Run `job` in this thread."""
        ...

    async def arun(self, job: NewJob) -> None:
        """Run `job` in the running event loop."""
        ...


class SyncQueue(UnservedQueue):
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
