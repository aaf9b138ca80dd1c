"""
What becomes of a job after a try: done, once more, or given up. Pure.

The order of the rules:

1. no error: `Done`;
2. an error that another try cannot mend (`JobFailed`, `UnknownJob`, `InvalidJob`): `GiveUp`;
3. no tries left: `GiveUp`;
4. else `TryAgain` after the backoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.errors import InvalidJob, JobFailed, JobTimedOut, UnknownJob
from broadcaster.jobs.backoff import delay_before_retry

if TYPE_CHECKING:
    from collections.abc import Sequence

_ERROR_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How often and how long a job may run.

    Attributes:
        tries: tries allowed; 0 is no limit.
        backoff: seconds before each retry, the last one repeats; empty is at once.
        timeout: seconds one try may take; None is no limit.
    """

    tries: int = 1
    backoff: Sequence[float] = ()
    timeout: float | None = None


class Finished(NamedTuple):
    """The job has done what it should."""


class TryAgain(NamedTuple):
    """The job shall run again after `delay` seconds."""

    delay: float


class GiveUp(NamedTuple):
    """The job is kept with the failed ones; see `broadcaster.contracts.queue.Fail`."""

    reason: str
    error: str


Outcome = Finished | TryAgain | GiveUp


def decide(*, attempt: int, limits: Limits, error: BaseException | None) -> Outcome:
    """
    Return what becomes of a job whose try number `attempt` (from 1) ended with `error`.

    Source: Laravel, ``Worker::handleJobException``.
    """
    if error is None:
        return Finished()
    if isinstance(error, JobFailed | UnknownJob | InvalidJob):
        return GiveUp(error.code, described(error))
    if limits.tries and attempt >= limits.tries:
        return GiveUp(
            "timeout" if isinstance(error, JobTimedOut) else "exception", described(error)
        )
    return TryAgain(delay_before_retry(attempt, limits.backoff))


def refuse_start(*, attempt: int, limits: Limits) -> GiveUp | None:
    """
    Return why try number `attempt` must not even begin, or None.

    A job comes with its tries used up when its limit was lowered while it waited.

    Source: Laravel, ``Worker::markJobAsFailedIfAlreadyExceedsMaxAttempts``.
    """
    if limits.tries and attempt > limits.tries:
        return GiveUp(
            "max_attempts", f"{attempt - 1} tries were used up, {limits.tries} are allowed"
        )
    return None


def described(error: BaseException) -> str:
    """Return type and text of `error` as one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the error's own __str__ may fail
        text = "(its text cannot be read)"
    name = type(error).__name__
    line = f"{name}: {text}" if text else name
    line = line.encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= _ERROR_LENGTH else line[:_ERROR_LENGTH] + "..."
