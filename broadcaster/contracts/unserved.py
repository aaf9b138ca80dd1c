"""The part of a queue that workers use, where no job ever waits for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.queue import Hold, QueueSizes, StepReply, Survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.queue import Owed, Pushing, StepRequest


class UnservedQueue:
    """Base of queues whose jobs run elsewhere, at once, or never; see `Queue`."""

    async def step(self, request: StepRequest) -> StepReply:
        """Return that there is nothing to do."""
        del request
        return StepReply()

    async def apply(self, queue: str, owed: Sequence[Owed], push: Pushing | None = None) -> None:
        """Do nothing: nothing is ever owed."""

    async def unlock(self, queue: str, key: str, job_id: str) -> bool:
        """Return that nobody has a lock."""
        del queue, key, job_id
        return False

    async def wait(self, queue: str, timeout: float) -> str | None:  # noqa: ASYNC109 - as in the contract
        """Return at once that there is nothing to do."""
        del queue, timeout
        return None

    async def survey(
        self, queue: str, lanes: Sequence[int], worker: str, *, force: bool = False
    ) -> Survey:
        """Return that no lane has anything."""
        del queue, lanes, worker, force
        return Survey((), 1, None)

    def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
        """Return that none of `holds` exists here."""
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
