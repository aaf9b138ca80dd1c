"""
One reserved job: decode, run within its limits, decide, say what happened.

Whatever user code raises ends here, `SystemExit` included (in tasks that a job starts, see
`broadcaster.worker.containment`). Only a cancellation passes:
it comes from the worker, which then knows what becomes of the job.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue import Done, Fail, Release
from broadcaster.errors import (
    BroadcasterError,
    DriverRefused,
    DriverUnavailable,
    InvalidJob,
    JobFailed,
    JobTimedOut,
    UnknownJob,
)
from broadcaster.jobs.execution import arun, asked_to_cancel, call, crossing, through
from broadcaster.jobs.outcome import Finished, GiveUp, Limits, Past, refuse_start, type_name
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.jobs.sequels import sequels, sequels_of_body
from broadcaster.jobs.tries import outcome_of, overrun, unreadable
from broadcaster.protocol.fact_jobs import EVENT_JOB
from broadcaster.protocol.payload import BROADCAST_JOB, decode_payload
from broadcaster.worker.broadcasts import Broadcast, read_publication
from broadcaster.worker.containment import running_job, take_back_cancels
from broadcaster.worker.deadlines import Deadlines
from broadcaster.worker.journal import Journal
from broadcaster.worker.orders import Order
from broadcaster.worker.process import STARTUP_SECONDS, WAKE_SECONDS
from broadcaster.worker.processes import JobProcesses
from broadcaster.worker.stores import NO_STORES
from broadcaster.worker.tries import failed_hook, new_try, settlement, with_place

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from broadcaster.contracts.queue import Owed, Reserved, Settlement
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.registry import Registry
    from broadcaster.protocol.payload import Payload
    from broadcaster.worker.broadcasts import BroadcastPublisher
    from broadcaster.worker.effects import Telling
    from broadcaster.worker.facts import FactSpreader
    from broadcaster.worker.heartbeat import HeldJob
    from broadcaster.worker.options import WorkerOptions
    from broadcaster.worker.runtimes import Runtimes
    from broadcaster.worker.stores import JobStores
    from broadcaster.worker.tries import Try

_GIVEN_UP = {"crashed": "it took its worker down too often", "cancelled": "it was cancelled"}

DEADLINE_MARGIN = STARTUP_SECONDS + WAKE_SECONDS + 5.0
"""
Seconds past its timeout that a job with a process of its own may take: the process needs
time to start, and whatever ends must be settled.
"""


class JobRunner:
    """
    Runs jobs of one worker.

    Args:
        registry: the jobs that this worker knows.
        options: defaults for what a job does not say.
        broadcasts: runs the built-in broadcast job.
        facts: runs the built-in job of facts for listeners.
        stores: batches, and unique locks.
        runtimes: counts how long tries take.
    """

    def __init__(
        self,
        registry: Registry,
        options: WorkerOptions,
        broadcasts: BroadcastPublisher,
        facts: FactSpreader | None = None,
        stores: JobStores = NO_STORES,
        runtimes: Runtimes | None = None,
    ) -> None:
        self._registry = registry
        self._options = options
        self._broadcasts = broadcasts
        self._facts = facts
        self._stores = stores
        self._journal = Journal(options.connection, runtimes)
        self._pool = ThreadPoolExecutor(options.concurrency, thread_name_prefix="job")
        self._processes = JobProcesses(options.modules, jobs=options.jobs_per_child)
        self._in_threads: set[object] = set()
        self._deadlines = Deadlines()

    @property
    def busy_threads(self) -> int:
        """Sync jobs that are running in threads, those included that nobody waits for."""
        return len(self._in_threads)

    async def aclose(self) -> None:
        """Take no more sync jobs and end their processes; threads are left to themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._deadlines.close()
        await self._processes.aclose()

    async def run(self, queue: str, reserved: Reserved, hold: HeldJob) -> Settlement:
        """Run one job and return what became of it."""
        if time.monotonic() >= hold.until:  # this process was stopped, or the machine asleep
            return Release(reserved.id, reserved.token)
        payload: Payload | None = None
        try:
            payload = decode_payload(reserved.body)
            hold.job = payload.job
            if payload.job == BROADCAST_JOB:
                one = Broadcast(reserved, read_publication(payload))
                return (await self._broadcasts.publish(queue, [one]))[0]
            if payload.job == EVENT_JOB and self._facts is not None:
                return await self._facts.run(queue, reserved, payload)
            job = self._job(reserved, payload)
        except (InvalidJob, UnknownJob) as error:
            return self._refused(queue, reserved, payload, error)
        task = new_try(job, payload, queue, reserved, self._options)
        self._journal.popped(task)
        return await self._run(task, hold)

    def _job(self, reserved: Reserved, payload: Payload) -> Job:
        # Locks and counts go by the id: nobody gets those of another job by copying its body.
        if payload.id != reserved.id:
            raise InvalidJob(f"its payload is that of another job, {payload.id}")
        return self._registry.find(payload.job).decode_fields(payload.data)

    async def run_in_order(
        self, queue: str, batch: Sequence[Reserved], holds: Sequence[HeldJob]
    ) -> list[Settlement]:
        """
        Run a batch of an ordered lane, one after the other.

        Broadcasts that follow each other are published in one call. Nothing is begun that is
        not to begin any more, for the worker rests, or whose lease may be over, for this
        process may have been stopped. The list ends with the first job that is to run again;
        what was held behind it returns with it. `holds` say how far it came if it is
        interrupted.
        """
        settlements: list[Settlement] = []
        broadcasts: list[Broadcast] = []
        for reserved, hold in zip(batch, holds, strict=True):
            if hold.stopped or time.monotonic() >= hold.until:
                first = broadcasts[0].job if broadcasts else reserved
                return [*settlements, Release(first.id, first.token)]
            try:
                payload = decode_payload(reserved.body)
                if payload.job == BROADCAST_JOB:
                    broadcasts.append(Broadcast(reserved, read_publication(payload)))
                    continue
            except InvalidJob as error:
                settlements.append(self._refused(queue, reserved, None, error))
                continue
            settlements += await self._broadcasts.publish(queue, broadcasts)
            broadcasts = []
            _note_outcomes(settlements, holds)
            if not _ended(settlements):
                hold.outcome = (
                    Release(reserved.id, reserved.token)
                    if hold.stopped  # while broadcasts in front of it were published
                    else await self.run(queue, reserved, hold)
                )
                settlements.append(hold.outcome)
            if _ended(settlements):
                return settlements
        return settlements + await self._broadcasts.publish(queue, broadcasts)

    def after_crash(self, queue: str, owed: Owed) -> tuple[Owed, Telling | None]:
        """
        Return `owed` with what follows from a job that the queue has given up by itself.

        And what tells of it once that was done, if its class is known.
        """
        outcome = GiveUp(owed.reason, _GIVEN_UP[owed.reason])
        body = owed.given_up or b""
        try:
            payload = decode_payload(body)
        except InvalidJob:
            effects = sequels_of_body(body, outcome, job_id=owed.id, now=time.time())
            return owed._replace(effects=effects, given_up=None), None
        if payload.id != owed.id:  # it speaks for another job
            return owed._replace(given_up=None), None
        known = owed._replace(effects=sequels(payload, outcome, now=time.time()), given_up=None)
        try:
            job = self._registry.find(payload.job).decode_fields(payload.data)
        except (InvalidJob, UnknownJob):
            return known, None

        def tell() -> Coroutine[Any, Any, None]:
            self._journal.given_up(queue, owed, payload, job)
            past = Past(attempts=owed.attempts)
            current = CurrentJob(payload=payload, queue=queue, limits=Limits(), past=past)
            return failed_hook(job, outcome, None, current)()

        return known, tell

    async def _run(self, task: Try, hold: HeldJob) -> Settlement:
        try:
            not_now = await self._before(task, hold)
        except (DriverUnavailable, DriverRefused):  # the worker's next steps report it
            return Release(task.reserved.id, task.reserved.token, 1.0)
        if not_now is not None:
            return not_now
        self._journal.begins(task)
        hold.locks = task.current.locks
        started = time.monotonic()
        self._watch(task, hold, started)
        error: BaseException | None = None
        try:
            with running(task.current):
                await self._call(task)
        except asyncio.CancelledError as cancelled:
            if hold.stopped:
                raise
            error = cancelled  # user code did that by itself
        except BaseException as raised:  # noqa: BLE001 - user code must not take the worker down
            error = raised
        hold.deadline = hold.overdue = None
        if asked_to_cancel():
            await take_back_cancels()
        return self._settle(task, hold, error, started)

    async def _before(self, task: Try, hold: HeldJob) -> Settlement | None:
        """Return what becomes of a job that must not begin; else free its lock."""
        now = time.time()
        if refusal := refuse_start(past=task.current.past, limits=task.limits, now=now):
            self._journal.refused(task, refusal)
            hold.settled = failed_hook(task.job, refusal, None, task.current)
            return settlement(task, refusal, None, now=now)
        place = task.payload.batch
        if place and not place.always and await self._stores.is_cancelled(place.id):
            self._journal.skipped(task)
            return settlement(task, Finished(skipped=True), None, now=now)
        if task.payload.unlock:
            await self._stores.unlock(task.queue, task.payload.unlock, task.reserved.id)
        return None

    def _watch(self, task: Try, hold: HeldJob, started: float) -> None:
        """Say until when the try must have ended, and what becomes of it if it has not."""
        limit = task.limits.timeout
        if limit is None:
            return
        hold.overdue = partial(self._overdue, task, hold, started)
        margin = self._options.linger if task.asynchronous else DEADLINE_MARGIN
        hold.deadline = started + limit + margin

    def _overdue(self, task: Try, hold: HeldJob, started: float) -> Settlement:
        limit = task.limits.timeout
        error = JobTimedOut(f"ran longer than {limit:g} s, and went on when it was cancelled")
        return self._settle(task, hold, error, started)

    def _settle(
        self, task: Try, hold: HeldJob, error: BaseException | None, started: float
    ) -> Settlement:
        now, chance = time.time(), random.random()  # noqa: S311 - spreads retries
        outcome = outcome_of(task.current, error, now=now, chance=chance)
        self._journal.ended(task, outcome, error, time.monotonic() - started)
        if isinstance(outcome, GiveUp):
            hold.settled = failed_hook(task.job, outcome, error, task.current)
        return settlement(task, outcome, error, now=now)

    def _refused(
        self,
        queue: str,
        reserved: Reserved,
        payload: Payload | None,
        error: BroadcasterError,
    ) -> Fail:
        self._journal.unreadable(queue, reserved, payload, error)
        outcome = unreadable(error)
        return Fail(
            reserved.id,
            reserved.token,
            outcome.reason,
            outcome.error,
            reserved.attempts,
            sequels_of_body(reserved.body, outcome, job_id=reserved.id, now=time.time()),
            "" if payload is None else payload.job,
            type_name(error),
        )

    async def _call(self, task: Try) -> None:
        limit = task.limits.timeout
        if not task.asynchronous:
            await through(task.job, partial(self._call_sync, task))
            return
        mine = running_job.set(task.reserved.id)
        try:
            if limit is None:
                await arun(task.job)
            else:
                await self._call_within(limit, task.job)
        finally:
            running_job.reset(mine)

    async def _call_within(self, limit: float, job: Job) -> None:
        """Run `job`; whatever it makes of being cancelled by the timer, it has timed out."""
        timer = self._deadlines.within(limit)
        try:
            with timer:
                await arun(job)
        except JobFailed:  # it gives itself up
            raise
        except Exception as error:
            if not timer.expired:
                raise
            late = with_place(overrun(limit, error), timer.hung_at)
            raise late from late.__cause__
        if timer.expired:
            raise with_place(overrun(limit, None), timer.hung_at)

    async def _call_sync(self, task: Try) -> None:
        limit = task.limits.timeout
        if limit is None or not self._options.hard_timeouts:
            await self._call_in_thread(partial(call, task.job))
            return
        current = task.current
        order = Order(
            body=task.reserved.body,
            queue=current.queue,
            limits=current.limits,
            past=current.past,
            token=current.token,
            lease=current.lease,
        )
        verdict = await self._processes.run(order, limit=limit)
        if verdict is not None:
            current.verdict = verdict

    async def _call_in_thread(self, handle: Callable[[], object]) -> None:
        context = contextvars.copy_context()

        def call() -> None:
            self._in_threads.add(call)
            try:
                context.run(crossing, handle)
            finally:
                self._in_threads.discard(call)

        await asyncio.get_running_loop().run_in_executor(self._pool, call)


def _note_outcomes(settlements: Sequence[Settlement], holds: Sequence[HeldJob]) -> None:
    outcomes = {settlement.id: settlement for settlement in settlements}
    for hold in holds:
        hold.outcome = outcomes.get(hold.id)


def _ended(settlements: Sequence[Settlement]) -> bool:
    return bool(settlements) and not isinstance(settlements[-1], Done | Fail)
