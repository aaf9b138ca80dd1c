"""What happens to jobs in a worker: for the log, and for listeners in its process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from broadcaster.errors import BroadcasterError
from broadcaster.jobs.announcing import announce, wanted
from broadcaster.jobs.lifecycle import JobPopped, TakenJob
from broadcaster.jobs.outcome import Finished, GiveUp, PutOff, TryAgain, code_of, type_name
from broadcaster.jobs.telling import tell_begin, tell_end, tell_failed
from broadcaster.worker.frames import users_part

if TYPE_CHECKING:
    from broadcaster.contracts.queue import Owed, Reserved
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.protocol.payload import Payload
    from broadcaster.worker.runtimes import Runtimes
    from broadcaster.worker.tries import Try

logger = logging.getLogger("broadcaster.worker")


class Journal:
    """
    Tells of the jobs of one worker.

    Args:
        connection: name of its queue connection.
        runtimes: counts how long tries take.
    """

    def __init__(self, connection: str, runtimes: Runtimes | None = None) -> None:
        self._connection = connection
        self._runtimes = runtimes

    def popped(self, task: Try) -> None:
        """It was reserved."""
        if wanted(JobPopped):
            announce(JobPopped(connection_name=self._connection, job=task.taken))

    def begins(self, task: Try) -> None:
        """A try begins."""
        _log(task, logging.DEBUG, "job_started", "started")
        tell_begin(self._connection, task.job, task.current)

    def skipped(self, task: Try) -> None:
        """Its batch was cancelled before it began."""
        _log(task, logging.INFO, "job_skipped", "skipped: its batch was cancelled")

    def ended(
        self, task: Try, outcome: Outcome, error: BaseException | None, seconds: float
    ) -> None:
        """A try has ended after `seconds`, and the job becomes `outcome`."""
        _log_outcome(task, outcome, error, seconds)
        if self._runtimes is not None:
            self._runtimes.note(task.queue, task.payload.job, seconds)
        tell_end(self._connection, task.job, task.current, outcome, error, seconds)

    def refused(self, task: Try, outcome: GiveUp) -> None:
        """It was given up without a try."""
        _log_outcome(task, outcome, None, 0.0)
        self.failed(task.taken, outcome.reason, None)

    def unreadable(
        self, queue: str, reserved: Reserved, payload: Payload | None, error: BroadcasterError
    ) -> None:
        """It cannot be decoded, or nobody knows it."""
        fields = {"event": "job_failed", "job_id": reserved.id, "queue": queue, "error": str(error)}
        fields["code"] = code_of(error)
        logger.error("job %s cannot be run: %s", reserved.id, error, extra=fields)
        taken = TakenJob(
            id=reserved.id,
            name="" if payload is None else payload.job,
            queue=queue,
            attempts=reserved.attempts,
            payload=payload,
        )
        if wanted(JobPopped):
            announce(JobPopped(connection_name=self._connection, job=taken))
        self.failed(taken, code_of(error), error)

    def given_up(self, queue: str, owed: Owed, payload: Payload, job: Job) -> None:
        """The queue has given it up by itself, or because somebody cancelled it."""
        taken = TakenJob(
            id=payload.id,
            name=payload.job,
            queue=queue,
            attempts=owed.attempts,
            payload=payload,
            job=job,
        )
        self.failed(taken, owed.reason, None)

    def failed(self, taken: TakenJob, reason: str, error: BaseException | None) -> None:
        """A job was given up."""
        tell_failed(self._connection, taken, reason, error)


def _log_outcome(task: Try, outcome: Outcome, error: BaseException | None, seconds: float) -> None:
    if isinstance(outcome, Finished) and not logger.isEnabledFor(logging.INFO):
        return
    duration = round(seconds * 1000, 1)
    match outcome:
        case Finished(_):
            _log(task, logging.INFO, "job_done", f"done in {duration:g} ms", dur_ms=duration)
        case TryAgain(delay, _) if error is None:
            text = f"put back for {delay:g} s"
            _log(task, logging.INFO, "job_released", text, dur_ms=duration, delay=round(delay, 3))
        case TryAgain(delay, _):
            text = f"failed, next try in {delay:g} s"
            more: dict[str, Any] = {"dur_ms": duration, "delay": round(delay, 3)}
            _log(task, logging.WARNING, "job_retry", text, error=error, **more)
        case PutOff(delay):
            text = f"put off for {delay:g} s"
            _log(task, logging.INFO, "job_put_off", text, dur_ms=duration, delay=round(delay, 3))
        case GiveUp(_, line):
            text = f"failed for good: {line}"
            _log(task, logging.ERROR, "job_failed", text, error=error, dur_ms=duration)


def _log(
    task: Try,
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
            "attempt": task.current.attempts,
            **more,
        }
        if error is not None:
            fields["error"] = type_name(error)
        shown = None
        if error is not None and not isinstance(error, BroadcasterError):
            shown = (type(error), error, users_part(error.__traceback__))
        logger.log(level, "%s %s", task.payload.job, text, exc_info=shown, extra=fields)
