"""One try of one job: what is known of it, and what it becomes for the queue."""

from __future__ import annotations

import asyncio
import logging
import traceback
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.queue import Done, Fail, Postpone, Retry
from broadcaster.contracts.settlements import cut_traceback
from broadcaster.errors import InvalidJob, JobError, JobFailed, JobTimedOut
from broadcaster.jobs.execution import is_async
from broadcaster.jobs.inline import acall_failed
from broadcaster.jobs.lifecycle import TakenJob
from broadcaster.jobs.outcome import (
    Finished,
    GiveUp,
    Limits,
    Past,
    PutOff,
    TryAgain,
    described,
    type_name,
)
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.jobs.sequels import sequels
from broadcaster.worker.containment import asked_to_cancel, running_job
from broadcaster.worker.frames import told, users_part
from broadcaster.worker.options import ASYNC_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.protocol.payload import Payload
    from broadcaster.worker.frames import Place
    from broadcaster.worker.options import WorkerOptions


_log = logging.getLogger("broadcaster.worker")


class Try(msgspec.Struct, frozen=True):
    """
    A decoded job, ready to run.

    Attributes:
        job: the job itself.
        current: what it may ask while it runs, and says.
        reserved: as it came from the queue.
        asynchronous: its `handle` is a coroutine function.
    """

    job: Job
    current: CurrentJob
    reserved: Reserved
    asynchronous: bool

    @property
    def payload(self) -> Payload:
        """As it was pushed."""
        return self.current.payload

    @property
    def queue(self) -> str:
        """Where it came from."""
        return self.current.queue

    @property
    def limits(self) -> Limits:
        """How often and how long it may run."""
        return self.current.limits

    @property
    def taken(self) -> TakenJob:
        """What listeners are told of it."""
        return TakenJob(
            id=self.reserved.id,
            name=self.payload.job,
            queue=self.queue,
            attempts=self.current.attempts,
            payload=self.payload,
            job=self.job,
        )


def new_try(
    job: Job, payload: Payload, queue: str, reserved: Reserved, options: WorkerOptions
) -> Try:
    """Return the next try of `job`; `options` say what its payload leaves open."""
    asynchronous = is_async(job)
    current = CurrentJob(
        payload=payload,
        queue=queue,
        limits=limits_of(payload, options, asynchronous=asynchronous),
        past=Past(
            attempts=reserved.attempts,
            exceptions=reserved.exceptions,
            postponed=reserved.postponed,
        ),
        token=reserved.token,
        lease=options.lease,
    )
    return Try(job, current, reserved, asynchronous)


def limits_of(payload: Payload, options: WorkerOptions, *, asynchronous: bool) -> Limits:
    """
    Return how often and how long a job may run.

    Args:
        asynchronous: its `handle` is a coroutine function.
    """
    timeout = payload.timeout if payload.timeout is not None else options.timeout
    if timeout is None and asynchronous:
        timeout = ASYNC_TIMEOUT
    return Limits(
        tries=options.tries if payload.tries is None else payload.tries,
        backoff=payload.backoff or options.backoff,
        jitter=payload.jitter,
        timeout=timeout or None,
        fail_on_timeout=payload.fail_on_timeout,
        max_exceptions=payload.max_exceptions,
        retry_until=payload.retry_until,
        drop_missing=payload.drop_missing,
    )


def settlement(
    task: Try, outcome: Outcome, error: BaseException | None, *, now: float
) -> Settlement:
    """
    Return what the queue is told of a try, with what follows from it.

    Args:
        error: what it ended with.
        now: Unix seconds.
    """
    job_id, token = task.reserved.id, task.reserved.token
    try:
        effects = sequels(task.payload, outcome, now=now)
    except InvalidJob as refused:  # the next link: the chain breaks here
        outcome, error = GiveUp(refused.code, described(refused)), error or refused
        effects = sequels(task.payload, outcome, now=now)
    if isinstance(outcome, Finished):
        return Done(job_id, token, effects)
    match outcome:
        case TryAgain(delay, exception):
            return Retry(job_id, token, delay, exception)
        case PutOff(delay):
            return Postpone(job_id, token, delay)
        case GiveUp(reason, line):
            return Fail(
                job_id,
                token,
                reason,
                line,
                task.current.past.attempts
                + (error is not None or task.current.verdict is not None),
                effects,
                task.payload.job,
                exception_name(error),
                written(error),
            )


def failed_hook(
    job: Job, outcome: GiveUp, error: BaseException | None, current: CurrentJob
) -> Callable[[], Coroutine[Any, Any, None]]:
    """
    Return what calls the hook of a job that was given up; it is still `current_job` there.

    Whatever the hook raises is logged and goes no further.
    """
    failure = error or JobFailed(outcome.error, code=outcome.reason)
    return partial(_call_hook, job, failure, current)


async def _call_hook(job: Job, error: BaseException, current: CurrentJob) -> None:
    mine = running_job.set(current.id)
    try:
        with running(current):
            async with asyncio.timeout(ASYNC_TIMEOUT):
                await acall_failed(job, error)
    except BaseException as raised:
        if isinstance(raised, asyncio.CancelledError) and asked_to_cancel():
            raise
        fields = {"event": "hook_failed", "job": current.name, "job_id": current.id}
        _log.error("the failed() of %s failed", current.name, exc_info=raised, extra=fields)
    finally:
        running_job.reset(mine)


def timed_out(text: str, hung_at: Sequence[Place]) -> JobTimedOut:
    """Return the error of a job whose time is over, with where it was then."""
    error = JobTimedOut(text)
    if hung_at:
        error.add_note(told("It hung here", hung_at))
    return error


def exception_name(error: BaseException | None) -> str:
    """Return the name of the type of `error`; of what a job's own process raised, too."""
    if error is None:
        return ""
    if type(error) is JobError and hasattr(error, "__notes__"):
        return str(error).partition(":")[0]
    return type_name(error)


def written(error: BaseException | None) -> str:
    """Return the traceback of `error`, both ends of a long one; or nothing."""
    if error is None:
        return ""
    try:
        # Of one that tells where it hung, our own frames say nothing.
        tells = isinstance(error, JobTimedOut) and hasattr(error, "__notes__")
        trace = None if tells else users_part(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:  # noqa: BLE001 - the error's own __str__ may raise whatever it likes
        return ""
    return cut_traceback(text.encode("utf-8", "backslashreplace").decode())
