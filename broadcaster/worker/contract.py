"""What a worker asks of whatever runs its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.worker.heartbeat import HeldJob


class Runner(Protocol):
    """What becomes of reserved jobs; `broadcaster.worker.runner.JobRunner` runs user code."""

    async def run(self, queue: str, reserved: Reserved, hold: HeldJob) -> Settlement:
        """Run one job of a plain queue and return what became of it."""
        ...

    async def run_in_order(
        self, queue: str, batch: Sequence[Reserved], holds: Sequence[HeldJob]
    ) -> list[Settlement]:
        """Run a batch of an ordered lane; see `JobRunner.run_in_order`."""
        ...

    async def aclose(self) -> None:
        """Take no more jobs, and end what belongs to those that were run."""
        ...
