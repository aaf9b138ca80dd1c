"""What the runners of facts and of webhooks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Reserved, Settlement


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
