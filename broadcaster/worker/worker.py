"""
The worker: takes jobs from its queues, runs them in slots, settles what became of them.

One coroutine makes all steps. A finished job leaves its settlement with its queue's
`Line`; the next step carries all of them and brings new jobs in the same round trip, so
the busier a worker is the fewer trips a job costs. Between steps it sleeps until a job
ends, a hint comes (one waiting connection per queue), something becomes due, or a tick
is over.

Plain queues share the slots in the order in which they are listed, or by weight. A lane of
broadcasts has a slot of its own for its batch. A suspect runs alone: no other plain job is
started beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from broadcaster.worker.containment import contain_exits
from broadcaster.worker.effects import Effects
from broadcaster.worker.listening import listen
from broadcaster.worker.losses import Losses
from broadcaster.worker.memory import resident_bytes
from broadcaster.worker.options import ExitReason
from broadcaster.worker.outages import Outages
from broadcaster.worker.reports import Reports
from broadcaster.worker.room import Room
from broadcaster.worker.running import Running
from broadcaster.worker.source import Source
from broadcaster.worker.steps import Steps
from broadcaster.worker.stopping import Situation, reason_to_stop

if TYPE_CHECKING:
    from broadcaster.contracts.continuity import Continuity
    from broadcaster.contracts.fleet import WorkerState
    from broadcaster.contracts.queue import Queue
    from broadcaster.worker.contract import Runner
    from broadcaster.worker.effects import AfterCrash
    from broadcaster.worker.heartbeat import Heartbeat
    from broadcaster.worker.line import Line
    from broadcaster.worker.options import WorkerOptions

logger = logging.getLogger("broadcaster.worker")

LAST_STEP_SECONDS = 5.0
LAST_PAUSE = 0.1
CHECK_SECONDS = 0.25


class Worker:
    """
    Runs jobs until it is stopped or has done what its options ask for.

    Args:
        name: unique among the living workers.
        queue: where jobs come from.
        heartbeat: renews their leases; not started yet.
        runner: runs them.
        stopping: set here when the worker begins to stop; the runner may look at it.
        after_crash: returns what follows from a job that the queue has failed by itself, and
            what tells of it when that is done.
        continuity: knows whether the queue has lost anything; without it nobody says so.

    Attributes:
        running: what runs now.
        losses: what the server has forgotten.
        paused: it takes no new jobs until `resume`.
        restarting: all workers were asked to restart.
        ticked: monotonic time at which the loop last came round.
    """

    def __init__(
        self,
        name: str,
        *,
        queue: Queue,
        heartbeat: Heartbeat,
        runner: Runner,
        options: WorkerOptions,
        stopping: asyncio.Event,
        after_crash: AfterCrash | None = None,
        continuity: Continuity | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self._queue = queue
        self._heartbeat = heartbeat
        self._runner = runner
        self._sources = [
            Source(each, rank=rank, ordered=each in options.ordered, lanes=options.lanes)
            for rank, each in enumerate(options.queues)
        ]
        self._stopping = stopping
        self._asked = self._forced = False
        self._vetoed = False
        self._wake = asyncio.Event()
        self._outages = Outages(options.lease)
        self._reports = Reports(name, options)
        self._started_at = time.monotonic()
        self._empty_since: float | None = None
        self._emptied_at = 0
        self._empty_at_last = False
        self.running = Running(
            runner, heartbeat, options, self._wake.set, rests=self._idle_by_choice
        )
        self._effects = Effects(
            queue, self._look_again, after_crash, options.connection, self.running.hooks
        )
        self.losses = Losses(continuity)
        self._steps = Steps(
            name, queue, options, self._outages, self.running, self._effects, self.losses
        )
        self._room = Room(options, self._sources, self.running, self._steps, self._idle_by_choice)
        self.paused = False
        self.restarting = False
        self.ticked = time.monotonic()

    @property
    def stopping(self) -> bool:
        """Whether it takes no new jobs because it stops."""
        return self._stopping.is_set()

    @property
    def state(self) -> WorkerState:
        """What it does."""
        if self.stopping:
            return "stopping"
        return "paused" if self.paused else "running"

    @property
    def away(self) -> float:
        """Seconds for which its queue could not be reached; 0 if it can."""
        return self._outages.seconds(time.monotonic())

    def age(self, now: float) -> float:
        """Return the seconds since it started at `now`, monotonic."""
        return now - self._started_at

    def stop(self) -> None:
        """Finish what runs and stop; the second call hands it back at once."""
        self._forced, self._asked = self._asked, True  # it may have begun to stop by itself
        if not self._forced and self.running.any:
            self._reports.stopping()
        self.running.rest()
        self._stopping.set()
        self._wake.set()

    def pause(self) -> None:
        """Take no new jobs; what runs goes on."""
        self.paused = True
        self.running.rest()
        self._reports.paused(paused=True)
        self._wake.set()

    def resume(self) -> None:
        """Take jobs again."""
        if self.paused:
            self.paused = False
            self._reports.paused(paused=False)
            self._look_again()

    def restart(self) -> None:
        """Finish what runs and stop, because all workers were asked to."""
        self.restarting = True
        self.running.rest()
        self._wake.set()

    async def run(self) -> ExitReason:
        """Work until there is a reason to stop; return it."""
        self._started_at = time.monotonic()
        self._reports.started()
        if not self.options.trusted:
            contain_exits(asyncio.get_running_loop())
        self._heartbeat.start()
        tick, queue = self.options.tick, self._queue
        listeners = [
            listen(each, queue, tick, self._wake.set, self.losses.doubt) for each in self._sources
        ]
        try:
            reason = await self._work()
            reason = await self._finish(reason)
        finally:
            self.running.abandon()
            for task in listeners:
                task.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)
            self._heartbeat.stop()
            await self._runner.aclose()
        self._reports.stopped(reason)
        return reason

    # The loop

    async def _work(self) -> ExitReason:
        while True:
            self._wake.clear()
            now = self.ticked = time.monotonic()
            self.running.check(now)
            self._vetoed = self._reports.vetoed()
            if self.paused or self._vetoed:
                self.running.rest()
            if now >= self._outages.retry_at:
                await self._round()
            if (reason := self._reason_to_stop()) is not None:
                return reason
            await self._sleep()

    async def _round(self) -> None:
        self._room.divide()
        for source in self._sources:
            if not await self._survey(source):
                return
            for line in source.lines():
                now = time.monotonic()
                needed = line.needs_step(now, self._room.of(line, now))
                if needed and not await self._step(source, line):
                    return
            source.forget_idle()
        if self._steps.refusal is not None:
            self._steps.judge(self._lines())
        now = time.monotonic()
        for source in self._sources:
            if self._room.wants_hints(source, now):
                source.cold.set()
            else:
                source.cold.clear()

    async def _survey(self, source: Source) -> bool:
        """Look at the lanes of `source` when it is time; False if they could not be reached."""
        if time.monotonic() < source.survey_at or self._idle_by_choice():
            return True
        return await self._steps.survey(source)

    async def _step(self, source: Source, line: Line) -> bool:
        """Make one round trip for `line`; False if the queue could not be reached at all."""
        wanted = self._room.granted(line, time.monotonic())
        if wanted:
            self._reports.popping(line.name)
        idle = self._room.is_idle(line)
        reply = await self._steps.step(source, line, wanted=wanted, idle=idle)
        if reply is None:
            return line.refusals > 0
        self._room.taken(line, len(reply.reserved))
        return True

    async def _sleep(self) -> None:
        now = time.monotonic()
        away = self._outages.retry_at > now
        if away:
            until = self._outages.retry_at
        elif any(line.needs_step(now, self._room.of(line, now)) for line in self._lines()):
            return  # what was taken runs while the next step is on its way
        else:
            until = self._next_look(now)
        try:
            async with asyncio.timeout(max(0.0, until - now)):
                await self._wake.wait()
                if away and not self.stopping:
                    # Jobs that end meanwhile do not make the queue come back any sooner.
                    await self._stopping.wait()
        except TimeoutError:
            return

    def _next_look(self, now: float) -> float:
        due = [line.due_at for line in self._lines()]
        if not self._idle_by_choice():
            due += [source.survey_at for source in self._sources]
        if self.running.any:
            due.append(now + CHECK_SECONDS)
        if self.options.max_time is not None:
            due.append(self._started_at + self.options.max_time)
        seconds = self.options.stop_when_empty_for
        if seconds is not None and self._empty_since is not None and not self._empty_at_last:
            due.append(self._empty_since + seconds)
        return min(*due, now + self.options.tick)

    def _lines(self) -> list[Line]:
        return [line for source in self._sources for line in source.all_lines()]

    def _look_again(self) -> None:
        for source in self._sources:
            source.look_again()
        self._wake.set()

    def _idle_by_choice(self) -> bool:
        leaving = self.stopping or self.restarting
        return leaving or self.paused or self._vetoed or self.running.hung

    # The end

    def _reason_to_stop(self) -> ExitReason | None:
        now = time.monotonic()
        situation = Situation(
            asked=self.stopping,
            hung=self.running.hung,
            away=self._outages.seconds(now),
            memory=resident_bytes() if self.options.memory is not None else 0,
            restart=self.restarting,
            started=self.running.begun,
            empty=self._empty(now),
            age=now - self._started_at,
        )
        return reason_to_stop(self.options, situation)

    def _empty(self, now: float) -> float | None:
        """Return for how long nothing has been ready, as far as it matters; None: something is."""
        busy = self.running.any or self._effects.busy or self._idle_by_choice()
        seconds = self.options.stop_when_empty_for
        leaves = self.options.stop_when_empty or seconds is not None
        ran = self._emptied_at != self.running.started
        if leaves and not busy and ran:
            # What ran may have queued something where nothing was at the last look.
            self._emptied_at = self.running.started
            self._look_again()
        if busy or ran or self._outages.failures:
            self._empty_since, self._empty_at_last = None, False
            return None
        if not all(each.empty for each in self._sources):
            if not self._empty_at_last:
                self._empty_since = None
            return None
        if self._empty_since is None:
            self._empty_since = now
        empty = now - self._empty_since
        if seconds is not None and empty >= seconds and not self._empty_at_last:
            self._empty_at_last = True  # unless the last look, a while later, finds something
            self._look_again()
            return None
        return empty

    async def _finish(self, reason: ExitReason) -> ExitReason:
        self._stopping.set()
        self.running.rest()
        deadline = time.monotonic() + self.options.grace
        while self.running.any and not self._forced and time.monotonic() < deadline:
            self._wake.clear()
            self.ticked = time.monotonic()
            self.running.check(self.ticked)
            if self.ticked >= self._outages.retry_at:
                await self._round()
            if self.running.any:
                await self._nap(min(self.options.tick, deadline - time.monotonic()))
        if await self.running.cancel() and reason is ExitReason.INTERRUPTED:
            reason = ExitReason.FORCED
        await self._last_steps()
        await self._effects.finish(LAST_STEP_SECONDS)
        await self.running.hooks.finish(LAST_STEP_SECONDS)
        return reason

    async def _last_steps(self) -> None:
        """Settle what is left; what cannot be settled comes back by its lease."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_STEP_SECONDS):
                while True:
                    if await self._settle():
                        return
                    await asyncio.sleep(LAST_PAUSE)

    async def _settle(self) -> bool:
        """Settle what ended in all lines; False if not all could be, and at once if none can."""
        for source in self._sources:
            for line in source.all_lines():
                if line.settlements and not await self._step(source, line):
                    return False
        return not any(line.settlements for line in self._lines())

    async def _nap(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return
