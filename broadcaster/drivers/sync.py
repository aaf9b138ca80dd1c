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

    `push` returns when the jobs are done, and then raises what the first of them has raised.
    Delays are ignored, nothing is tried again, and there is nothing for a worker to reserve.
    """

    def __init__(self, runner: InlineRunner) -> None:
        self._runner = runner

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        """Run `jobs`, one after the other."""
        raised: list[Exception] = []
        for job in jobs:
            try:
                self._runner.run(job)
            except Exception as error:  # noqa: BLE001 - the others run all the same
                raised.append(error)
        return _pushed(jobs, raised)

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        """Run `jobs`, one after the other, from a coroutine."""
        raised: list[Exception] = []
        for job in jobs:
            try:
                await self._runner.arun(job)
            except Exception as error:  # noqa: BLE001 - the others run all the same
                raised.append(error)
        return _pushed(jobs, raised)


def _pushed(jobs: Sequence[NewJob], raised: Sequence[Exception]) -> Pushed:
    if raised:
        raise raised[0]
    return Pushed([job.id for job in jobs])
