"""
The worker: takes jobs from its queues, runs them in slots, settles what became of them.

One coroutine makes all steps. A finished job leaves its settlement with its queue's
`Line`; the next step carries all of them and brings new jobs in the same round trip, so
the busier a worker is the fewer trips a job costs. Between steps it sleeps until a job
ends, a hint comes (one waiting connection per queue), something becomes due, or a tick
is over.

Plain queues share the slots in the order in which they are listed. A lane has a slot of
its own for its batch. A suspect runs alone: no other plain job is started beside it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from broadcaster.contracts.queue import StepRequest
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.jobs.backoff import growing
from broadcaster.worker.containment import contain_exits
from broadcaster.worker.line import Line
from broadcaster.worker.options import ExitReason
from broadcaster.worker.running import Running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Queue, Settlement, StepReply
    from broadcaster.worker.contract import Runner
    from broadcaster.worker.heartbeat import Heartbeat
    from broadcaster.worker.options import WorkerOptions

logger = logging.getLogger("broadcaster.worker")

LAST_STEP_SECONDS = 5.0


class Worker:
    """
    Runs jobs until it is stopped or has done what its options ask for.

    Args:
        name: unique among the living workers.
        queue: where jobs come from.
        heartbeat: renews their leases; not started yet.
        runner: runs them.
        stopping: set here when the worker begins to stop; the runner may look at it.
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
    ) -> None:
        self.name = name
        self._queue = queue
        self._heartbeat = heartbeat
        self._runner = runner
        self._options = options
        self._lines = [Line(name, ordered=name in options.ordered) for name in options.queues]
        self._drain_until = 0.0
        self._stopping = stopping
        self._forced = False
        self._wake = asyncio.Event()
        self._running = Running(runner, heartbeat, self._wake.set, trusted=options.trusted)
        self._failures = 0
        self._retry_at = 0.0
        self._uncertain = False

    def stop(self) -> None:
        """Finish what runs and stop; the second call hands it back at once."""
        self._forced = self._stopping.is_set()
        if not self._forced and self._running.any:
            logger.log(
                self._options.level,
                "worker is stopping; what runs gets %g s to finish",
                self._options.grace,
                extra={"event": "worker_stopping", "node": self.name},
            )
        self._stopping.set()
        self._wake.set()

    async def run(self) -> ExitReason:
        """Work until there is a reason to stop; return it."""
        level, queues = self._options.level, ", ".join(self._options.queues)
        fields = {"event": "worker_started", "node": self.name}
        logger.log(level, "worker started on %s", queues, extra=fields)
        if not self._options.trusted:
            contain_exits(asyncio.get_running_loop())
        self._heartbeat.start()
        listeners = [self._listening(line) for line in self._lines]
        try:
            reason = await self._work()
            reason = await self._finish(reason)
        finally:
            self._running.abandon()
            for task in listeners:
                task.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)
            self._heartbeat.stop()
            self._runner.close()
        fields = {"event": "worker_stopped", "node": self.name, "cause": reason.value}
        logger.log(level, "worker stopped: %s", reason.value, extra=fields)
        return reason

    # The loop

    async def _work(self) -> ExitReason:
        while True:
            self._wake.clear()
            if time.monotonic() >= self._retry_at:
                await self._round()
            if (reason := self._reason_to_stop()) is not None:
                return reason
            await self._sleep()

    async def _round(self) -> None:
        for line in self._lines:
            if line.needs_step(time.monotonic(), self._wanted(line)) and not await self._step(line):
                return

    async def _step(self, line: Line) -> bool:
        """Make one round trip for `line`; False if the queue could not be reached."""
        wanted = self._wanted(line)
        settlements = line.take_settlements()
        request = StepRequest(
            queue=line.name,
            settlements=settlements,
            reserve=wanted,
            lease=self._options.lease,
            worker=self.name,
            idle=self._idle(line),
            ordered=line.ordered,
            max_crashes=self._options.max_crashes,
            recover_after=line.last_token if line.uncertain else None,
        )
        try:
            reply = await self._queue.step(request)
        except (DriverUnavailable, DriverRefused) as error:  # jobs are not thrown away here
            line.settlements[:0] = settlements
            line.uncertain = True
            self._note_away(error)
            return False
        self._note_back()
        line.stepped(reply, wanted, time.monotonic(), self._options.tick)
        self._settled(line, settlements, reply)
        for reserved in reply.reserved if not line.ordered else ():
            self._running.start(line, reserved)
        if line.ordered and reply.reserved:
            self._running.start_batch(line, reply.reserved)
        if reply.drain:
            self._drain_until = time.monotonic() + self._options.lease
        if self._wanted(line) > 0 and not line.hot:
            line.cold.set()
        else:
            line.cold.clear()
        return True

    async def _sleep(self) -> None:
        now = time.monotonic()
        if self._retry_at > now:
            until = self._retry_at
        elif any(line.needs_step(now, self._wanted(line)) for line in self._lines):
            await asyncio.sleep(0)
            return
        else:
            until = min(line.due_at for line in self._lines)
        try:
            async with asyncio.timeout(max(0.0, until - now)):
                await self._wake.wait()
                if self._retry_at > now and not self._stopping.is_set():
                    # Jobs that end meanwhile do not make the queue come back any sooner.
                    await self._stopping.wait()
        except TimeoutError:
            return

    def _listening(self, line: Line) -> asyncio.Task[None]:
        task = asyncio.create_task(self._listen(line), name=f"hints of {line.name}")
        task.add_done_callback(_report)
        return task

    async def _listen(self, line: Line) -> None:
        while True:
            await line.cold.wait()
            try:
                hinted = await self._queue.wait(line.name, self._options.tick)
            except (DriverUnavailable, DriverRefused):
                await asyncio.sleep(1.0)  # the steps report it
                continue
            if hinted:
                line.hot = line.hinted = True
                line.cold.clear()
                self._wake.set()

    # Room

    def _wanted(self, line: Line) -> int:
        if self._stopping.is_set():
            return 0
        limit = self._options.max_jobs
        left = self._options.batch if limit is None else limit - self._running.started
        if line.ordered:
            return 0 if line.busy else max(0, min(self._options.batch, left))
        if self._running.alone or self._draining():
            return 0
        free = self._options.concurrency - len(self._running.plain)
        return max(0, free if limit is None else min(free, left))

    def _idle(self, line: Line) -> bool:
        if self._options.trusted:
            return True
        return not self._running.alone if line.ordered else not self._running.plain

    def _draining(self) -> bool:
        return bool(self._running.plain) and time.monotonic() < self._drain_until

    def _reason_to_stop(self) -> ExitReason | None:
        if self._stopping.is_set():
            return ExitReason.INTERRUPTED
        if self._options.max_jobs is not None and self._running.started >= self._options.max_jobs:
            return ExitReason.MAX_JOBS
        if not self._options.stop_when_empty or self._failures or self._running.any:
            return None
        rest = any(line.settlements or not line.empty for line in self._lines)
        return None if rest else ExitReason.EMPTY

    # Answers

    def _settled(self, line: Line, settlements: Sequence[Settlement], reply: StepReply) -> None:
        self._running.settled(line, settlements)
        # After a call without an answer, a refusal means that the call was carried out.
        level = logging.DEBUG if self._uncertain else logging.WARNING
        for job_id in reply.refused:
            fields = {"event": "job_stale", "job_id": job_id, "queue": line.name}
            logger.log(
                level, "job %s was settled too late, its lease had run out", job_id, extra=fields
            )
        if not any(waiting.settlements for waiting in self._lines):
            self._uncertain = False
        for job_id in reply.crashed:
            fields = {"event": "job_failed", "job_id": job_id, "queue": line.name}
            logger.error("job %s failed: it took its worker down too often", job_id, extra=fields)
        if reply.lapsed:
            more = {"event": "lapsed", "queue": line.name, "count": reply.lapsed}
            logger.warning("%d jobs of silent workers came back", reply.lapsed, extra=more)

    # Trouble and the end

    def _note_away(self, error: DriverUnavailable | DriverRefused) -> None:
        if self._failures == 0:
            logger.warning("queue away, trying on: %s", error, extra={"event": "queue_away"})
        self._failures += 1
        self._uncertain = True
        self._retry_at = time.monotonic() + growing(self._failures)

    def _note_back(self) -> None:
        if self._failures:
            logger.info("queue is back", extra={"event": "queue_back"})
        self._failures = 0
        self._retry_at = 0.0

    async def _finish(self, reason: ExitReason) -> ExitReason:
        self._stopping.set()
        deadline = time.monotonic() + self._options.grace
        while self._running.any and not self._forced and time.monotonic() < deadline:
            self._wake.clear()
            if time.monotonic() >= self._retry_at:
                await self._round()
            if self._running.any:
                await self._nap(min(self._options.tick, deadline - time.monotonic()))
        if await self._running.cancel():
            reason = ExitReason.FORCED
        await self._last_steps()
        return reason

    async def _last_steps(self) -> None:
        """Settle what is left; what cannot be settled comes back by its lease."""
        deadline = time.monotonic() + LAST_STEP_SECONDS
        while any(line.settlements for line in self._lines) and time.monotonic() < deadline:
            for line in self._lines:
                if line.settlements and not await self._step(line):
                    await asyncio.sleep(growing(self._failures))
                    break

    async def _nap(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return


def _report(listener: asyncio.Task[None]) -> None:
    """Say that a listener has failed: jobs are still found, but a tick later."""
    if not listener.cancelled() and (error := listener.exception()) is not None:
        logger.error("%s failed", listener.get_name(), exc_info=error, extra={"event": "bug"})
