"""
One reserved job: decode, run within its limits, decide, say what happened.

Whatever user code raises ends here, `SystemExit` included (in tasks that a job starts, see
`broadcaster.worker.containment`). Only a cancellation passes:
it comes from the worker, which then knows what becomes of the job.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.contracts.queue import Done, Fail, Postpone, Retry
from broadcaster.errors import BroadcasterError, InvalidJob, JobError, JobTimedOut, UnknownJob
from broadcaster.jobs.outcome import (
    Finished,
    GiveUp,
    Limits,
    Past,
    PutOff,
    TryAgain,
    decide,
    refuse_start,
)
from broadcaster.protocol.fact_jobs import EVENT_JOB
from broadcaster.protocol.payload import BROADCAST_JOB, decode_payload
from broadcaster.worker.broadcasts import Broadcast, read_publication
from broadcaster.worker.containment import running_job
from broadcaster.worker.options import ASYNC_TIMEOUT
from broadcaster.worker.process import STARTUP_SECONDS, run_in_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.jobs.registry import Registry
    from broadcaster.protocol.payload import Payload
    from broadcaster.worker.broadcasts import BroadcastPublisher
    from broadcaster.worker.facts import FactSpreader
    from broadcaster.worker.heartbeat import HeldJob
    from broadcaster.worker.options import WorkerOptions

logger = logging.getLogger("broadcaster.worker")

DEADLINE_MARGIN = STARTUP_SECONDS + 5.0
"""
Seconds past its timeout for which a job's lease is still renewed: a process of its own
needs time to start, and whatever ends must be settled.
"""


class _Task(NamedTuple):
    """A decoded job, ready to run."""

    queue: str
    reserved: Reserved
    payload: Payload
    job: Job
    limits: Limits

    @property
    def attempt(self) -> int:
        return self.reserved.attempts + 1

    @property
    def past(self) -> Past:
        _, _, _, attempts, _, exceptions, postponed = self.reserved
        return Past(attempts=attempts, exceptions=exceptions, postponed=postponed)


class JobRunner:
    """
    Runs jobs of one worker.

    Args:
        registry: the jobs that this worker knows.
        options: defaults for what a job does not say.
        broadcasts: runs the built-in broadcast job.
        facts: runs the built-in job of facts for listeners.
    """

    def __init__(
        self,
        registry: Registry,
        options: WorkerOptions,
        broadcasts: BroadcastPublisher,
        facts: FactSpreader | None = None,
    ) -> None:
        self._registry = registry
        self._options = options
        self._broadcasts = broadcasts
        self._facts = facts
        self._pool = ThreadPoolExecutor(options.concurrency, thread_name_prefix="job")
        self._in_threads: set[object] = set()

    @property
    def busy_threads(self) -> int:
        """Sync jobs that are running in threads, those included that nobody waits for."""
        return len(self._in_threads)

    def close(self) -> None:
        """Take no more sync jobs; threads that still run are left to themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, queue: str, reserved: Reserved, hold: HeldJob) -> Settlement:
        """Run one job of a plain queue and return what became of it."""
        try:
            payload = decode_payload(reserved.body)
            if payload.job == BROADCAST_JOB:
                one = Broadcast(reserved, read_publication(payload))
                return (await self._broadcasts.publish(queue, [one]))[0]
            if payload.job == EVENT_JOB and self._facts is not None:
                return await self._facts.run(reserved, payload)
            task = self._prepare(queue, reserved, payload)
        except (InvalidJob, UnknownJob) as error:
            return _refused(queue, reserved, error)
        return await self._run(task, hold)

    async def run_in_order(
        self, queue: str, batch: Sequence[Reserved], holds: Sequence[HeldJob]
    ) -> list[Settlement]:
        """
        Run a batch of an ordered lane, one after the other.

        Broadcasts that follow each other are published in one call. The list ends with the
        first job that is to run again; what was held behind it returns with it.
        """
        settlements: list[Settlement] = []
        broadcasts: list[Broadcast] = []
        for reserved, hold in zip(batch, holds, strict=True):
            try:
                payload = decode_payload(reserved.body)
                if payload.job == BROADCAST_JOB:
                    broadcasts.append(Broadcast(reserved, read_publication(payload)))
                    continue
            except InvalidJob as error:
                settlements.append(_refused(queue, reserved, error))
                continue
            settlements += await self._broadcasts.publish(queue, broadcasts)
            broadcasts = []
            if not _ended(settlements):
                settlements.append(await self.run(queue, reserved, hold))
            if _ended(settlements):
                return settlements
        return settlements + await self._broadcasts.publish(queue, broadcasts)

    def _prepare(self, queue: str, reserved: Reserved, payload: Payload) -> _Task:
        job = self._registry.find(payload.job).decode_fields(payload.data)
        return _Task(queue, reserved, payload, job, self._limits(payload, job))

    def _limits(self, payload: Payload, job: Job) -> Limits:
        timeout = payload.timeout if payload.timeout is not None else self._options.timeout
        if timeout is None and inspect.iscoroutinefunction(job.handle):
            timeout = ASYNC_TIMEOUT
        return Limits(
            tries=self._options.tries if payload.tries is None else payload.tries,
            backoff=payload.backoff or self._options.backoff,
            timeout=timeout or None,
        )

    async def _run(self, task: _Task, hold: HeldJob) -> Settlement:
        if refusal := refuse_start(past=task.past, limits=task.limits, now=time.time()):
            return _settle(task, refusal, None, 0.0)
        _log(task, logging.DEBUG, "job_started", "started")
        started = time.monotonic()
        if task.limits.timeout is not None:
            hold.deadline = started + task.limits.timeout + DEADLINE_MARGIN
        error: BaseException | None = None
        try:
            await self._call(task)
        except asyncio.CancelledError as cancelled:
            if _asked_to_cancel():
                raise
            error = cancelled  # user code raised it by itself
        except BaseException as raised:  # noqa: BLE001 - user code must not take the worker down
            error = raised
        hold.deadline = None
        outcome = decide(past=task.past, limits=task.limits, now=time.time(), error=error)
        return _settle(task, outcome, error, time.monotonic() - started)

    async def _call(self, task: _Task) -> None:
        limit = task.limits.timeout
        if inspect.iscoroutinefunction(task.job.handle):
            timer = asyncio.timeout(limit)
            mine = running_job.set(task.reserved.id)
            try:
                async with timer:
                    await task.job.handle()
            except TimeoutError:
                if not timer.expired():
                    raise
                raise JobTimedOut(f"ran longer than {limit:g} s") from None
            finally:
                running_job.reset(mine)
        elif limit is None:
            await self._call_in_thread(task.job.handle)
        else:
            modules = self._options.modules
            await run_in_process(task.reserved.body, limit=limit, modules=modules)

    async def _call_in_thread(self, handle: Callable[[], object]) -> None:
        context = contextvars.copy_context()

        def call() -> None:
            self._in_threads.add(call)
            try:
                context.run(handle)
            except StopIteration as error:  # cannot cross a future
                raise JobError("StopIteration was raised") from error
            finally:
                self._in_threads.discard(call)

        await asyncio.get_running_loop().run_in_executor(self._pool, call)


def _ended(settlements: Sequence[Settlement]) -> bool:
    return bool(settlements) and not isinstance(settlements[-1], Done | Fail)


def _asked_to_cancel() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refused(queue: str, reserved: Reserved, error: BroadcasterError) -> Fail:
    fields = {"event": "job_failed", "job_id": reserved.id, "queue": queue, "error": str(error)}
    fields["code"] = error.code
    logger.error("job %s cannot be run: %s", reserved.id, error, extra=fields)
    return Fail(reserved.id, reserved.token, error.code, str(error), reserved.attempts)


def _settle(
    task: _Task, outcome: Outcome, error: BaseException | None, seconds: float
) -> Settlement:
    job_id, token = task.reserved.id, task.reserved.token
    duration = round(seconds * 1000, 1)
    match outcome:
        case Finished(_):
            _log(task, logging.INFO, "job_done", f"done in {duration:g} ms", dur_ms=duration)
            return Done(job_id, token)
        case TryAgain(delay, exception):
            text = f"failed, next try in {delay:g} s"
            more = {"dur_ms": duration, "delay": delay}
            _log(task, logging.WARNING, "job_retry", text, error=error, **more)
            return Retry(job_id, token, delay, exception)
        case PutOff(delay):
            return Postpone(job_id, token, delay)
        case GiveUp(reason, line):
            text = f"failed for good: {line}"
            _log(task, logging.ERROR, "job_failed", text, error=error, dur_ms=duration)
            return Fail(job_id, token, reason, line, task.attempt if error else task.attempt - 1)


def _log(
    task: _Task,
    level: int,
    event: str,
    text: str,
    *,
    error: BaseException | None = None,
    **more: object,
) -> None:
    if logger.isEnabledFor(level):
        fields = {
            "event": event,
            "job": task.payload.job,
            "job_id": task.reserved.id,
            "queue": task.queue,
            "attempt": task.attempt,
            **more,
        }
        if error is not None:
            fields["error"] = type(error).__name__
        shown = None if isinstance(error, BroadcasterError) else error
        logger.log(level, "%s %s", task.payload.job, text, exc_info=shown, extra=fields)
