"""
What becomes of a job after a try: done, once more, or given up. Pure.

The order of the rules:

1. the job said so itself: `Failed` gives it up, `Deleted` forgets it, `Released` puts it back,
   while it may: one that was `Released` at its last try is given up, and one that was
   postponed too often;
2. no error: `Finished`;
3. an error that another try cannot mend (`JobFailed`, `UnknownJob`, `InvalidJob`): `GiveUp`;
   a missing model: `GiveUp`, or `Finished` if the job is to be forgotten then;
4. a timeout, if the job fails on timeouts, or one exception too many: `GiveUp`;
5. the retry would begin after `Limits.retry_until`, or, without one, no tries are left: `GiveUp`;
6. else `TryAgain` after the backoff.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - limits travel to the processes of jobs
from typing import NamedTuple

import msgspec

from broadcaster.contracts.settlements import MAX_POSTPONED, MIN_POSTPONE_SECONDS
from broadcaster.errors import (
    BroadcasterError,
    InvalidJob,
    JobFailed,
    JobTimedOut,
    ModelMissing,
    UnknownJob,
)
from broadcaster.jobs.backoff import delay_before_retry, shortened

_ERROR_LENGTH = 500
_NAME_LENGTH = 200
_CODE_LENGTH = 64


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    How often and how long a job may run.

    Attributes:
        tries: tries allowed; 0 is no limit.
        backoff: seconds before each retry, the last one repeats; empty is at once.
        jitter: the part of each wait that chance may take away, 0 to 1.
        timeout: seconds one try may take; None is no limit.
        fail_on_timeout: a try that took too long is not repeated.
        max_exceptions: tries that may end with an exception; None is no limit.
        retry_until: Unix seconds after which no try begins; `tries` says nothing then.
        drop_missing: the job is forgotten when a model that it refers to is gone.
    """

    tries: int = 1
    backoff: Sequence[float] = ()
    jitter: float = 0.0
    timeout: float | None = None
    fail_on_timeout: bool = False
    max_exceptions: int | None = None
    retry_until: float | None = None
    drop_missing: bool = False


class Released(NamedTuple):
    """
    The job puts itself back.

    Attributes:
        delay: seconds before it runs again.
        counts: it uses up a try.
    """

    delay: float = 0.0
    counts: bool = True


class Failed(NamedTuple):
    """The job gives itself up; `error` is type and text of why, in one line."""

    error: str


class Deleted(NamedTuple):
    """The job is to be forgotten, as if it were done."""


Verdict = Released | Failed | Deleted
"""What a job says about itself while it runs."""


class Finished(NamedTuple):
    """
    The job has done what it should.

    Attributes:
        ends_chain: what follows in its chain is dropped: a model of it is gone.
        skipped: it did not begin, because its batch was cancelled, and what follows in its
            chain does not either, up to a link that insists on running.
    """

    ends_chain: bool = False
    skipped: bool = False


class TryAgain(NamedTuple):
    """
    The job shall run again after `delay` seconds, and has used up a try.

    Attributes:
        exception: it ended with an exception.
    """

    delay: float
    exception: bool = True


class PutOff(NamedTuple):
    """The job shall run again after `delay` seconds, without using up a try."""

    delay: float


class GiveUp(NamedTuple):
    """The job is kept with the failed ones; see `broadcaster.contracts.queue.Fail`."""

    reason: str
    error: str


Outcome = Finished | TryAgain | PutOff | GiveUp


class Past(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    What a job went through before it was reserved.

    Attributes:
        attempts: tries that were used up.
        exceptions: those of them that ended with an exception.
        postponed: times it was put off without using up a try.
    """

    attempts: int = 0
    exceptions: int = 0
    postponed: int = 0


def decide(
    *,
    past: Past,
    limits: Limits,
    now: float,
    chance: float = 0.0,
    error: BaseException | None = None,
    verdict: Verdict | None = None,
) -> Outcome:
    """
    Return what becomes of a job after the try that follows `past`.

    Args:
        now: Unix seconds.
        chance: 0 to 1, for jitter.
        error: what the try raised.
        verdict: what the job said about itself; it counts more than `error`.

    Source: Laravel, ``Worker::handleJobException`` and ``markJobAsFailedIfWill...``; what
    waits there for a start that will be refused is given up here at once.
    """
    if verdict is not None:
        return _as_it_said(verdict, past, limits)
    if error is None:
        return Finished()
    if isinstance(error, ModelMissing) and limits.drop_missing:
        return Finished(ends_chain=True)
    if isinstance(error, JobFailed | UnknownJob | InvalidJob | ModelMissing):
        return GiveUp(code_of(error), described(error))
    timed_out = isinstance(error, JobTimedOut)
    reason = "timeout" if timed_out else "exception"
    if timed_out and limits.fail_on_timeout:
        return GiveUp(reason, described(error))
    if limits.max_exceptions is not None and past.exceptions + 1 >= limits.max_exceptions:
        return GiveUp("max_exceptions", described(error))
    delay = shortened(delay_before_retry(past.attempts + 1, limits.backoff), limits.jitter, chance)
    if _is_last(past, limits, now + delay):
        return GiveUp(reason, described(error))
    return TryAgain(delay)


def refuse_start(*, past: Past, limits: Limits, now: float) -> GiveUp | None:
    """
    Return why the next try must not even begin, or None.

    A job comes with its tries used up when its limit was lowered while it waited, and after
    its time when it waited too long.

    Source: Laravel, ``Worker::markJobAsFailedIfAlreadyExceedsMaxAttempts``.
    """
    if limits.retry_until is not None:
        if now <= limits.retry_until:
            return None
        late = now - limits.retry_until
        return GiveUp("retry_until", f"its time to be tried was over {late:.1f} s ago")
    if limits.tries and past.attempts >= limits.tries:
        return GiveUp(
            "max_attempts", f"{past.attempts} tries were used up, {limits.tries} are allowed"
        )
    return None


def _as_it_said(verdict: Verdict, past: Past, limits: Limits) -> Outcome:
    match verdict:
        case Failed(error):
            return GiveUp(JobFailed.code, error)
        case Deleted():
            return Finished()
        case Released(delay, counts=True):
            if limits.retry_until is None and limits.tries and past.attempts + 1 >= limits.tries:
                return GiveUp(
                    "max_attempts", f"it put itself back at its last try, number {limits.tries}"
                )
            return TryAgain(delay, exception=False)
        case Released(delay):
            if past.postponed >= MAX_POSTPONED:
                return GiveUp("max_postponed", f"it put itself off {past.postponed} times")
            return PutOff(max(delay, MIN_POSTPONE_SECONDS))


def _is_last(past: Past, limits: Limits, next_start: float) -> bool:
    if limits.retry_until is not None:
        return next_start > limits.retry_until
    return bool(limits.tries) and past.attempts + 1 >= limits.tries


def described(error: BaseException) -> str:
    """Return type and text of `error` as one line."""
    text, name = text_of(error), type_name(error)
    return one_line(f"{name}: {text}" if text else name)


def text_of(error: BaseException) -> str:
    """Return the text of `error` as one line."""
    try:
        return one_line(str(error))
    except BaseException:  # noqa: BLE001 - its own __str__ may raise whatever it likes
        return "(its text cannot be read)"


def type_name(error: BaseException) -> str:
    """Return the name of the type of `error`, as one line."""
    try:
        name: object = type(error).__name__
    except BaseException:  # noqa: BLE001 - its metaclass may raise whatever it likes
        name = None
    return one_line(name)[:_NAME_LENGTH] if isinstance(name, str) else "Exception"


def code_of(error: BroadcasterError) -> str:
    """Return the stable word of `error`; of a class that says none, that of `JobFailed`."""
    try:
        code: object = error.code
    except BaseException:  # noqa: BLE001 - it may be a property that raises whatever it likes
        code = None
    word = one_line(code)[:_CODE_LENGTH] if isinstance(code, str) else ""
    return word or JobFailed.code


def one_line(text: str) -> str:
    """Return `text` as one line of UTF-8, the beginning of a long one."""
    line = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= _ERROR_LENGTH else line[:_ERROR_LENGTH] + "..."
