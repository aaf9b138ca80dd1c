"""One try of one job: what is known of it, and what it becomes for the queue."""

from __future__ import annotations

import traceback
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.queue import Done, Fail, Postpone, Retry
from broadcaster.contracts.settlements import cut_traceback
from broadcaster.errors import JobError, JobTimedOut
from broadcaster.jobs.execution import is_async
from broadcaster.jobs.hooks import acall_failed
from broadcaster.jobs.outcome import Finished, GiveUp, Past, PutOff, TryAgain, type_name
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.jobs.telling import taken_job
from broadcaster.jobs.tries import ASYNC_TIMEOUT, ending, failure_of, limits_of
from broadcaster.worker.containment import running_job
from broadcaster.worker.frames import told, users_part

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.lifecycle import TakenJob
    from broadcaster.jobs.outcome import Limits, Outcome
    from broadcaster.protocol.payload import Payload
    from broadcaster.worker.frames import Place
    from broadcaster.worker.options import WorkerOptions


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
        return taken_job(self.job, self.current)


def new_try(
    job: Job, payload: Payload, queue: str, reserved: Reserved, options: WorkerOptions
) -> Try:
    """Return the next try of `job`; `options` say what its payload leaves open."""
    asynchronous = is_async(job)
    current = CurrentJob(
        payload=payload,
        queue=queue,
        limits=limits_of(
            payload,
            asynchronous=asynchronous,
            tries=options.tries,
            backoff=options.backoff,
            timeout=options.timeout,
        ),
        past=Past(
            attempts=reserved.attempts,
            exceptions=reserved.exceptions,
            postponed=reserved.postponed,
        ),
        token=reserved.token,
        lease=options.lease,
    )
    return Try(job, current, reserved, asynchronous)


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
    outcome, error, effects = ending(task.payload, outcome, error, now=now)
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
    return partial(_call_hook, job, failure_of(outcome, error), current)


async def _call_hook(job: Job, error: BaseException, current: CurrentJob) -> None:
    mine = running_job.set(current.id)
    try:
        with running(current):
            await acall_failed(job, error, seconds=ASYNC_TIMEOUT)
    finally:
        running_job.reset(mine)


def with_place(error: JobTimedOut, hung_at: Sequence[Place]) -> JobTimedOut:
    """Return `error` of a job whose time is over with where it was then."""
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
