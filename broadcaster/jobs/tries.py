"""
One try of a job, by the same rules in a worker, here and now, and in a worker of Celery.

The three worlds have in common how long and how often a job may run (`limits_of`), what a try
ended with (`overrun`, `contained`), what becomes of the job (`outcome_of`, `unreadable`), what
follows from that (`ending`), and what its `failed` is called with (`failure_of`). They differ

- in who keeps ids and past: the queue, nobody (there is one try), or the task of Celery;
- in how time is watched: a worker has deadlines and processes of its own, Celery's loop a
  timer, and what runs here and now has the time of who called it;
- in who settles, and who waits for the next try: the queue with one script; nobody; Celery,
  whose task raises `Retry`;
- in what may end the process: nothing a job raises ends a worker; here and now Ctrl-C does,
  and in Celery what Celery itself raises.

A worker takes the parts, because of its speed. `run_once` and `arun_once` put them together
for the other two.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.errors import InvalidJob, JobError, JobFailed, JobTimedOut
from broadcaster.jobs.execution import arun_either, call, is_cancelled, takes_a_loop
from broadcaster.jobs.hooks import acall_failed, call_failed
from broadcaster.jobs.outcome import (
    Finished,
    GiveUp,
    Limits,
    code_of,
    decide,
    described,
    text_of,
    type_name,
)
from broadcaster.jobs.running import running
from broadcaster.jobs.sequels import sequels
from broadcaster.jobs.telling import tell_begin, tell_end

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.settlements import Effect
    from broadcaster.errors import BroadcasterError
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.jobs.running import CurrentJob
    from broadcaster.protocol.payload import Payload

ASYNC_TIMEOUT = 60.0
"""Seconds of an async job that says nothing about its timeout, and of a hook."""

FINISHED = Finished()

# What would end the process or the task in which a job runs.
_ENDS = (SystemExit, asyncio.CancelledError, GeneratorExit)


class Terms(NamedTuple):
    """
    On which terms jobs are tried where they are called.

    Attributes:
        decide: returns what becomes of a job, by what it said and what it ended with.
        passes: whether an exception is no failure of the job, and goes on to who called.
        connection: `connection_name` of what listeners are told; "": they are told nothing.
        hook_seconds: how long an async `failed` may take; None is no limit.
    """

    decide: Callable[[CurrentJob, BaseException | None], Outcome]
    passes: Callable[[BaseException], bool]
    connection: str = ""
    hook_seconds: float | None = None


class Tried(NamedTuple):
    """
    How a try ended.

    Attributes:
        outcome: what becomes of the job.
        error: what the try ended with; None only of a job that was not given up.
    """

    outcome: Outcome
    error: BaseException | None

    @property
    def failure(self) -> BaseException | None:
        """What a job that was given up has failed with; None of any other."""
        return self.error if isinstance(self.outcome, GiveUp) else None


def limits_of(
    payload: Payload,
    *,
    asynchronous: bool,
    tries: int = 1,
    backoff: Sequence[float] = (),
    timeout: float | None = None,
) -> Limits:
    """
    Return how often and how long a job may run. Pure.

    Args:
        asynchronous: its `handle` is a coroutine function.
        tries, backoff, timeout: of jobs that do not say; `timeout` None is `ASYNC_TIMEOUT`
            for async jobs, 0 is no limit.
    """
    if payload.timeout is not None:
        timeout = payload.timeout
    elif timeout is None and asynchronous:
        timeout = ASYNC_TIMEOUT
    return Limits(
        tries=tries if payload.tries is None else payload.tries,
        backoff=payload.backoff or backoff,
        jitter=payload.jitter,
        timeout=timeout or None,
        fail_on_timeout=payload.fail_on_timeout,
        max_exceptions=payload.max_exceptions,
        retry_until=payload.retry_until,
        drop_missing=payload.drop_missing,
    )


def outcome_of(
    current: CurrentJob, error: BaseException | None, *, now: float, chance: float
) -> Outcome:
    """
    Return what becomes of the job that has run as `current`; see `decide`. Pure.

    Args:
        error: what its try ended with.
        now: Unix seconds.
        chance: 0 to 1, for jitter.
    """
    if error is None and current.verdict is None:
        return FINISHED
    return decide(
        past=current.past,
        limits=current.limits,
        now=now,
        chance=chance,
        error=error,
        verdict=current.verdict,
    )


def unreadable(error: BroadcasterError) -> GiveUp:
    """Return what becomes of a job that cannot be made of its payload. Pure."""
    return GiveUp(code_of(error), text_of(error))


def ending(
    payload: Payload, outcome: Outcome, error: BaseException | None, *, now: float
) -> tuple[Outcome, BaseException | None, tuple[Effect, ...]]:
    """
    Return what becomes of a job, what it ended with, and what follows from it. Pure.

    The chain of a job breaks where its next link cannot be queued; the job itself is given up
    then.

    Args:
        now: Unix seconds.
    """
    if payload.chain is None and payload.batch is None:
        return outcome, error, ()
    try:
        return outcome, error, sequels(payload, outcome, now=now)
    except InvalidJob as refused:
        broken = GiveUp(refused.code, described(refused))
        return broken, error or refused, sequels(payload, broken, now=now)


def failure_of(outcome: GiveUp, error: BaseException | None) -> BaseException:
    """Return what the `failed` of a job that was given up is called with. Pure."""
    return error or JobFailed(outcome.error, code=outcome.reason)


def overrun(limit: float, error: Exception | None) -> JobTimedOut:
    """
    Return what a job whose time was over has failed with, whatever it made of that. Pure.

    Args:
        limit: seconds that it had.
        error: what it ended with then.
    """
    if error is None:
        text = f"ran longer than {limit:g} s, and took its cancellation for nothing"
        return JobTimedOut(text)
    late = JobTimedOut(f"ran longer than {limit:g} s")
    late.__cause__ = None if isinstance(error, TimeoutError) else error
    return late


def contained(error: BaseException) -> BaseException:
    """
    Return `error` as the failure of the job that raised it. Pure.

    It is a `JobError` in place of what would end the process or the task that runs the job.
    """
    if not isinstance(error, _ENDS):
        return error
    text = text_of(error)
    failure = JobError(f"{type_name(error)} was raised" + (f" ({text})" if text else ""))
    failure.__cause__ = error
    return failure


def is_no_failure(error: BaseException) -> bool:
    """Whether `error` is no failure of a job: Ctrl-C, and what tools for tests raise. Pure."""
    return not isinstance(error, (Exception, *_ENDS))


def run_once(job: Job, current: CurrentJob, terms: Terms) -> Tried:
    """
    Run `job` once in this thread, and call its `failed` if that was it.

    What needs an event loop gets one of its own, the same for all of it.
    """
    error: BaseException | None = None
    with closing(asyncio.Runner()) as loop:
        started = _begin(job, current, terms)
        try:
            with running(current):
                if takes_a_loop(job):
                    loop.run(_run_within(current.limits.timeout, job, in_thread=False))
                else:
                    call(job)
        except BaseException as raised:
            if terms.passes(raised):
                raise
            error = contained(raised)
        tried = _end(job, current, terms, error, started)
        if tried.failure is not None:
            _call_failed(job, tried.failure, current, terms, loop)
    return tried


async def arun_once(job: Job, current: CurrentJob, terms: Terms) -> Tried:
    """Run `job` once in this event loop, a sync one in a thread; see `run_once`."""
    error: BaseException | None = None
    started = _begin(job, current, terms)
    try:
        with running(current):
            await _run_within(current.limits.timeout, job, in_thread=True)
    except BaseException as raised:
        if terms.passes(raised) or is_cancelled(raised):
            raise
        error = contained(raised)
    tried = _end(job, current, terms, error, started)
    if tried.failure is not None:
        passes = terms.passes
        with running(current):
            await acall_failed(
                job,
                tried.failure,
                seconds=terms.hook_seconds,
                passes=lambda raised: passes(raised) or is_cancelled(raised),
            )
    return tried


def give_up(job: Job, current: CurrentJob, outcome: GiveUp, terms: Terms) -> Tried:
    """Give up `job` without a try: call its `failed`."""
    failure = failure_of(outcome, None)
    with closing(asyncio.Runner()) as loop:
        _call_failed(job, failure, current, terms, loop)
    return Tried(outcome, failure)


async def _run_within(limit: float | None, job: Job, *, in_thread: bool) -> None:
    """Run `job`; whatever it makes of being cancelled by the timer, it has timed out."""
    if limit is None:
        await arun_either(job, in_thread=in_thread)
        return
    timer = asyncio.timeout(limit)
    try:
        async with timer:
            await arun_either(job, in_thread=in_thread)
    except JobFailed:  # it gives itself up
        raise
    except Exception as error:
        if not timer.expired():
            raise
        late = overrun(limit, error)
        raise late from late.__cause__
    if timer.expired():
        raise overrun(limit, None)


def _call_failed(
    job: Job, error: BaseException, current: CurrentJob, terms: Terms, loop: asyncio.Runner
) -> None:
    with running(current):
        call_failed(job, error, loop, seconds=terms.hook_seconds, passes=terms.passes)


def _begin(job: Job, current: CurrentJob, terms: Terms) -> float:
    if terms.connection:
        tell_begin(terms.connection, job, current)
    return time.monotonic()


def _end(
    job: Job, current: CurrentJob, terms: Terms, error: BaseException | None, started: float
) -> Tried:
    outcome = terms.decide(current, error)
    if terms.connection:
        tell_end(terms.connection, job, current, outcome, error, time.monotonic() - started)
    return Tried(outcome, failure_of(outcome, error) if isinstance(outcome, GiveUp) else error)
