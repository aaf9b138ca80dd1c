"""The jobs that a worker runs now, and what becomes of them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue import Fail, Release
from broadcaster.worker.heartbeat import HeldJob

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.worker.contract import Runner
    from broadcaster.worker.heartbeat import Heartbeat
    from broadcaster.worker.line import Line

logger = logging.getLogger("broadcaster.worker")

CANCEL_SECONDS = 1.0


class Running:
    """
    Tasks of plain jobs and of lanes, with their leases.

    Args:
        runner: runs the jobs.
        heartbeat: renews their leases.
        wake: called when one has ended; its settlement is with its line then.
        trusted: suspects need not run alone.

    Attributes:
        plain: tasks of plain jobs, one each.
        lanes: tasks of lanes, one for each batch.
        alone: a suspect runs, and nothing may be started beside it.
        started: jobs that were started so far.
    """

    def __init__(
        self, runner: Runner, heartbeat: Heartbeat, wake: Callable[[], None], *, trusted: bool
    ) -> None:
        self._runner = runner
        self._heartbeat = heartbeat
        self._wake = wake
        self._trusted = trusted
        self._holds: dict[tuple[str, str], HeldJob] = {}
        self.plain: set[asyncio.Task[Settlement]] = set()
        self.lanes: set[asyncio.Task[list[Settlement]]] = set()
        self.alone = False
        self.started = 0

    @property
    def any(self) -> bool:
        """Whether something runs."""
        return bool(self.plain or self.lanes)

    def start(self, line: Line, reserved: Reserved) -> None:
        """Run one job of a plain queue."""
        hold = self._hold(line, reserved)
        task = asyncio.ensure_future(self._runner.run(line.name, reserved, hold))
        self._renew(hold, task)
        self.plain.add(task)
        self.alone = self.alone or (reserved.alone and not self._trusted)

        def ended(task: asyncio.Task[Settlement]) -> None:
            self.plain.discard(task)
            if not self.plain:
                self.alone = False
            hold.deadline = None
            broken = task.cancelled() or task.exception() is not None
            settlement = _broken(task, [hold]) if broken else task.result()
            self._ended(line, [hold], [settlement] if settlement else [])

        task.add_done_callback(ended)

    def start_batch(self, line: Line, batch: Sequence[Reserved]) -> None:
        """Run a batch of a lane."""
        holds = [self._hold(line, reserved) for reserved in batch]
        task = asyncio.ensure_future(self._runner.run_in_order(line.name, batch, holds))
        for hold in holds:
            self._renew(hold, task)
        self.lanes.add(task)
        line.busy = True

        def ended(task: asyncio.Task[list[Settlement]]) -> None:
            self.lanes.discard(task)
            line.busy = False
            line.hot = True
            if not task.cancelled() and task.exception() is None:
                self._ended(line, holds, task.result())
            else:
                settlement = _broken(task, holds)
                self._ended(line, holds, [settlement] if settlement else [])

        task.add_done_callback(ended)

    def settled(self, line: Line, settlements: Sequence[Settlement]) -> None:
        """Renew no more what the queue has answered for."""
        for settlement in settlements:
            hold = self._holds.get((line.name, settlement.id))
            if hold is not None and hold.token == settlement.token:
                self._forget(hold)

    async def cancel(self) -> bool:
        """Cancel what runs, and wait a moment for it; False if nothing ran."""
        tasks = [*self.plain, *self.lanes]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        return bool(tasks)

    def abandon(self) -> None:
        """Cancel what runs without waiting for it."""
        for task in (*self.plain, *self.lanes):
            task.cancel()

    def _hold(self, line: Line, reserved: Reserved) -> HeldJob:
        hold = HeldJob(line.name, reserved.id, reserved.token)
        self._holds[line.name, reserved.id] = hold
        self.started += 1
        return hold

    def _renew(self, hold: HeldJob, task: asyncio.Task[Any]) -> None:
        loop = asyncio.get_running_loop()
        hold.on_lost = lambda: loop.call_soon_threadsafe(task.cancel)
        self._heartbeat.add(hold)

    def _ended(
        self, line: Line, holds: Sequence[HeldJob], settlements: Sequence[Settlement]
    ) -> None:
        line.settlements += settlements
        settled = {settlement.id for settlement in settlements}
        for hold in holds:
            if hold.id not in settled:  # lost, or given back with the one in front of it
                self._forget(hold)
        self._wake()

    def _forget(self, hold: HeldJob) -> None:
        self._heartbeat.drop(hold)
        if self._holds.get((hold.queue, hold.id)) is hold:
            del self._holds[hold.queue, hold.id]


def _broken(task: asyncio.Task[Any], holds: Sequence[HeldJob]) -> Settlement | None:
    """Return what becomes of the first of `holds`, whose task was cancelled or has a bug."""
    first = holds[0]
    fields = {"job_id": first.id, "queue": first.queue}
    if not task.cancelled():
        fields["event"] = "job_failed"
        error = task.exception()
        logger.error("job %s could not be run", first.id, exc_info=error, extra=fields)
        return Fail(first.id, first.token, "internal", repr(error))
    if any(hold.lost for hold in holds):
        fields["event"] = "job_lost"
        text = "job %s was stopped: its lease ran out and another worker has it"
        logger.warning(text, first.id, extra=fields)
        return None
    return Release(first.id, first.token)
