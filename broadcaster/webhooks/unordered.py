"""What the runners of facts and of webhooks have in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from broadcaster.contracts.queue import Fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.errors import InvalidJob

_log = logging.getLogger("broadcaster.webhooks")


class UnorderedRunner(ABC):
    """
    Runs jobs of queues without lanes, and opens nothing that had to be closed.

    Implements, with `run`, what `broadcaster.worker.contract.Runner` asks for.
    """

    @abstractmethod
    async def run(self, queue: str, reserved: Reserved, hold: object) -> Settlement:
        """Run one job, and return what becomes of it."""

    async def run_in_order(
        self, queue: str, batch: Sequence[Reserved], holds: Sequence[object]
    ) -> list[Settlement]:
        """Run one after the other; these queues are no lanes, so nobody asks for it."""
        pairs = zip(batch, holds, strict=True)
        return [await self.run(queue, reserved, hold) for reserved, hold in pairs]

    async def aclose(self) -> None:  # noqa: B027 - a runner that opens something has its own
        """Nothing is open."""


def unreadable(what: str, queue: str, reserved: Reserved, error: InvalidJob) -> Fail:
    """Return what becomes of a job that is no `what`, and log it."""
    fields = {"event": "job_failed", "job_id": reserved.id, "queue": queue}
    _log.error("job %s is no %s: %s", reserved.id, what, error, extra=fields)
    return Fail(reserved.id, reserved.token, error.code, str(error), reserved.attempts + 1)
