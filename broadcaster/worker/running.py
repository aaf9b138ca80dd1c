"""The jobs that a worker runs now, those it has reserved ahead, and what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.fleet import MAX_CURRENT, CurrentJob
from broadcaster.contracts.queue import Done, Fail, Release, Retry
from broadcaster.worker.broken import broken
from broadcaster.worker.containment import new_task
from broadcaster.worker.failed_hooks import FailedHooks
from broadcaster.worker.heartbeat import HeldJob
from broadcaster.worker.waiting import WaitingJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.worker.contract import Runner
    from broadcaster.worker.heartbeat import Heartbeat
    from broadcaster.worker.line import Line
    from broadcaster.worker.options import WorkerOptions

logger = logging.getLogger("broadcaster.worker")

CANCEL_SECONDS = 1.0
CHECK_SECONDS = 0.1
_BAD_ENDS = (Fail, Retry)
_LAST_ENDS = (Done, Fail)


class Running:
    """
    Tasks of plain jobs and of lanes, with their leases.

    Args:
        runner: runs the jobs.
        heartbeat: renews their leases.
        options: of the worker.
        wake: called when one has ended; its settlement is with its line then.
        rests: whether the worker takes nothing by choice.

    Attributes:
        plain: tasks of plain jobs, one each, with what they run.
        lanes: tasks of lanes, one for each batch, with what they run.
        ahead: jobs that are held and wait for a slot.
        hooks: of jobs that have failed.
        alone: a suspect runs, and nothing may be started beside it.
        started: jobs that were started so far, those of a batch of a lane all at once.
        done, failed, lost: jobs that were finished, tries that ended badly, leases lost.
        hung: a job goes on after its deadline; it was settled, but its code still runs.
    """

    def __init__(
        self,
        runner: Runner,
        heartbeat: Heartbeat,
        options: WorkerOptions,
        wake: Callable[[], None],
        rests: Callable[[], bool],
    ) -> None:
        self._runner = runner
        self._heartbeat = heartbeat
        self._options = options
        self._wake = wake
        self._rests = rests
        self._holds: dict[tuple[str, str], HeldJob] = {}
        self._resting = 0
        self._checked = 0.0
        self._in_slots = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.plain: dict[asyncio.Task[Settlement], tuple[Line, HeldJob]] = {}
        self.lanes: dict[asyncio.Task[list[Settlement]], tuple[Line, list[HeldJob]]] = {}
        self.ahead = WaitingJobs(0 if options.rest else options.reserve_ahead)
        self.hooks = FailedHooks()
        self.alone = False
        self.started = self.done = self.failed = self.lost = 0
        self.hung = False
        self.closed = False
        self.slots = options.concurrency

    def resize(self, slots: int) -> None:
        """Run at most `slots` jobs at once from now on, 1 to the options' concurrency."""
        self.slots = min(max(1, slots), self._options.concurrency)
        self._fill()
        self._wake()

    @property
    def any(self) -> bool:
        """Whether something runs."""
        return bool(self.plain or self.lanes)

    @property
    def begun(self) -> int:
        """Jobs that were started; those of a batch of a lane count when it has ended."""
        return self.started - sum(len(holds) for _, holds in self.lanes.values())

    @property
    def free(self) -> int:
        """Slots in which nothing runs or rests."""
        return self.slots - len(self.plain) - self._in_slots - self._resting

    @property
    def blamable(self) -> bool:
        """Whether something runs that a crash of the worker could be blamed on."""
        return bool(self.plain) or self._in_slots > 0

    @property
    def held(self) -> int:
        """Jobs that are held, those included that have ended and are not settled yet."""
        return len(self._holds)

    def held_of(self, queue: str) -> list[str]:
        """Return the ids of the jobs of `queue` that are held."""
        return [job_id for name, job_id in self._holds if name == queue]

    def current(self, now: float) -> list[CurrentJob]:
        """Return some of the jobs that run, the oldest first."""
        begun = [hold for hold in self._holds.values() if hold.started]
        begun.sort(key=lambda hold: hold.started)
        return [
            CurrentJob(hold.id, hold.job, hold.queue, round(now - hold.started, 3))
            for hold in begun[:MAX_CURRENT]
        ]

    def take(self, line: Line, reserved: Reserved) -> None:
        """Run one job of a plain queue, or keep it until there is a slot."""
        hold = self._hold(line, reserved)
        if self._rests():  # since it was asked for; it goes back, and uses up no try
            self._heartbeat.add(hold)
            self._gives_back(line, reserved, hold)
            return
        if self.free > 0 and not len(self.ahead):
            self._start(line, reserved, hold)
            return
        self._heartbeat.add(hold)
        self.ahead.add(line, reserved, hold, time.monotonic())
        self._fill()

    def start_batch(self, line: Line, batch: Sequence[Reserved]) -> None:
        """Run a batch of a lane, which hands it back if the worker has begun to rest."""
        holds = [self._hold(line, reserved) for reserved in batch]
        now, rests = time.monotonic(), self._rests()
        self.started += len(batch)
        task = asyncio.ensure_future(self._runner.run_in_order(line.name, batch, holds))
        for hold in holds:
            hold.started, hold.stopped = now, rests
        self._renew(task, *holds)
        self.lanes[task] = (line, holds)
        line.busy = True
        self._in_slots += not line.beside
        task.add_done_callback(self._batch_ended)

    def _batch_ended(self, task: asyncio.Task[list[Settlement]]) -> None:
        known = self.lanes.pop(task, None)
        if known is None:
            return  # given up
        line, holds = known
        self._freed_lane(line)
        if not task.cancelled() and task.exception() is None:
            settlements = task.result()
        else:
            settlements = _finished(holds)
            if unfinished := _unfinished(holds):
                settlements += self._broken(task, unfinished)
        # What goes back with the one in front of it has not begun.
        self.started -= len(holds) - sum(not isinstance(each, Release) for each in settlements)
        self._ended(line, holds, settlements)
        self._fill()

    def _freed_lane(self, line: Line) -> None:
        line.busy = False
        line.hot = True
        self._in_slots -= not line.beside

    def settled(
        self, line: Line, settlements: Sequence[Settlement], refused: Collection[str]
    ) -> None:
        """Renew no more what the queue has answered for, and call what waited for that."""
        gone: list[HeldJob] = []
        for settlement in settlements:
            hold = self._holds.get((line.name, settlement.id))
            if hold is not None and hold.token == settlement.token:
                gone.append(hold)
                if hold.settled is not None and settlement.id not in refused:
                    self.hooks.call(hold.settled())
        self._forget(*gone)

    def rest(self) -> None:
        """Begin nothing any more of what is held; it goes back, and uses up no try."""
        self.hand_back()
        for _, holds in self.lanes.values():
            for hold in _unfinished(holds)[1:]:
                hold.stopped = True

    def hand_back(self) -> None:
        """Give back what was reserved ahead; it uses up no try."""
        for each in self.ahead.take_all(time.monotonic()):
            self._gives_back(each.line, each.reserved, each.hold)

    def _gives_back(self, line: Line, reserved: Reserved, hold: HeldJob) -> None:
        if hold.lost:
            self._forget(hold)
        else:
            line.settlements.append(Release(reserved.id, reserved.token))
            line.hot = True

    def check(self, now: float) -> None:
        """Hand back what waits too long, and settle what runs past its deadline."""
        if now < self._checked + CHECK_SECONDS:
            return
        self._checked = now
        if self.ahead.stale(now):
            self.hand_back()
        late = [
            hold
            for hold in self._holds.values()
            if hold.started and hold.deadline is not None and now > hold.deadline
        ]
        for hold in late:
            self._hung(hold)

    async def cancel(self) -> bool:
        """Cancel what runs, and wait a moment for it; False if nothing ran."""
        tasks = [*self.plain, *self.lanes]
        self.abandon()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        return bool(tasks)

    def abandon(self) -> None:
        """Cancel what runs without waiting for it."""
        self.closed = True
        for hold in self._holds.values():
            hold.stopped = True
        for task in (*self.plain, *self.lanes):
            task.cancel()

    def _start(self, line: Line, reserved: Reserved, hold: HeldJob) -> None:
        hold.started = time.monotonic()
        self.started += 1
        task = new_task(self._own_loop(), self._runner.run(line.name, reserved, hold))
        self._renew(task, hold)
        self.plain[task] = (line, hold)
        if reserved.alone and not self._options.trusted:
            self.alone = True
        task.add_done_callback(self._plain_ended)

    def _plain_ended(self, task: asyncio.Task[Settlement]) -> None:
        known = self.plain.pop(task, None)
        if known is None:
            return  # given up
        line, hold = known
        self._freed()
        hold.deadline = None
        self.ahead.ran(time.monotonic() - hold.started)
        if task.cancelled() or task.exception() is not None:
            self._ended(line, [hold], self._broken(task, [hold]))
        else:
            hold.started = 0.0
            self._settles(line, task.result())
            self._wake()
        self._fill()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        # Asking asyncio takes a system call on Python 3.11.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _freed(self) -> None:
        if not self.plain:
            self.alone = False
        if self._options.rest > 0:
            self._resting += 1
            asyncio.get_running_loop().call_later(self._options.rest, self._rested)

    def _rested(self) -> None:
        self._resting -= 1
        self._fill()
        self._wake()

    def _fill(self) -> None:
        """Start what waits while there are slots."""
        while self.free > 0 and not self.alone and not self.closed:
            each = self.ahead.pop()
            if each is None:
                return
            if each.hold.lost:
                self._forget(each.hold)
            else:
                self._start(each.line, each.reserved, each.hold)

    def _hung(self, hold: HeldJob) -> None:
        """Settle what goes on after its deadline; in a lane, give back what is behind it."""
        self.hung = True
        hold.deadline = None
        fields = {"event": "job_hung", "job_id": hold.id, "job": hold.job, "queue": hold.queue}
        text = "job %s goes on after its timeout; the worker is to stop because of it"
        logger.error(text, hold.id, extra=fields)
        if hold.overdue is None:
            self._wake()
            return
        hold.stopped = True
        task = next((task for task, (_, held) in self.plain.items() if held is hold), None)
        if task is None:
            self._hung_in_lane(hold, hold.overdue())
            return
        line, _ = self.plain.pop(task)
        self._freed()
        task.cancel()
        self._ended(line, [hold], [hold.overdue()])

    def _hung_in_lane(self, hold: HeldJob, overdue: Settlement) -> None:
        task = next(task for task, (_, holds) in self.lanes.items() if hold in holds)
        line, holds = self.lanes.pop(task)
        self._freed_lane(line)
        for each in holds:
            each.stopped = True
        task.cancel()
        settlements = [*_finished(holds), overdue]
        behind = holds[holds.index(hold) + 1 :]
        if behind and isinstance(overdue, _LAST_ENDS):
            # What is given back takes all that is held behind it along.
            settlements.append(Release(behind[0].id, behind[0].token))
        self._ended(line, holds, settlements)

    def _hold(self, line: Line, reserved: Reserved) -> HeldJob:
        until = line.held_until
        hold = HeldJob(line.name, reserved.id, reserved.token, until, reserved.body)
        if (before := self._holds.get(hold.key)) is not None:  # its lease ran out, and it came back
            before.lost = True
            before.on_lost()
        self._holds[hold.key] = hold
        return hold

    def _renew(self, task: asyncio.Task[Any], *holds: HeldJob) -> None:
        on_lost = partial(_stop_soon, self._own_loop(), task, holds)
        for hold in holds:
            hold.on_lost = on_lost
        self._heartbeat.add(*holds)

    def _ended(
        self, line: Line, holds: Sequence[HeldJob], settlements: Sequence[Settlement]
    ) -> None:
        settled = {settlement.id for settlement in settlements}
        for settlement in settlements:
            self._settles(line, settlement)
        for hold in holds:
            hold.started = 0.0
            if hold.id not in settled:  # lost, or given back with the one in front of it
                self._forget(hold)
        self._wake()

    def _settles(self, line: Line, settlement: Settlement) -> None:
        line.settlements.append(settlement)
        if isinstance(settlement, Done):
            self.done += 1
        elif isinstance(settlement, _BAD_ENDS):
            self.failed += 1

    def _forget(self, *holds: HeldJob) -> None:
        self._heartbeat.drop(*holds)
        for hold in holds:
            if self._holds.get(hold.key) is hold:
                del self._holds[hold.key]

    def _broken(self, task: asyncio.Task[Any], holds: Sequence[HeldJob]) -> list[Settlement]:
        settlement = broken(task, holds)
        self.lost += settlement is None
        return [] if settlement is None else [settlement]


def _stop_soon(
    loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any], holds: Sequence[HeldJob]
) -> None:
    for hold in holds:
        hold.stopped = True
    loop.call_soon_threadsafe(task.cancel)


def _finished(holds: Sequence[HeldJob]) -> list[Settlement]:
    """Return what became of those jobs of an interrupted batch that had ended."""
    return [hold.outcome for hold in holds if hold.outcome is not None]


def _unfinished(holds: Sequence[HeldJob]) -> list[HeldJob]:
    return [hold for hold in holds if hold.outcome is None]
