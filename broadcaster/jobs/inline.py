"""
Running jobs here and now: `run_now`, and the queue ``sync``.

Nothing is tried again: an error is a failure. What follows from a job is done at once, in the
same call: the next links of its chain, its part in a batch, callbacks.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from broadcaster.contracts.batches import callbacks_due
from broadcaster.contracts.settlements import BatchMark, Push
from broadcaster.errors import JobFailed
from broadcaster.jobs import bus
from broadcaster.jobs.execution import (
    acall,
    all_middleware,
    call,
    crossing,
    is_async,
    kind_of,
    through,
)
from broadcaster.jobs.lifecycle import TakenJob
from broadcaster.jobs.outcome import Failed, Finished, Limits, Past, Released, TryAgain, decide
from broadcaster.jobs.registry import registry
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.jobs.sequels import sequels
from broadcaster.jobs.telling import INLINE, tell_begin, tell_end, told_of
from broadcaster.protocol.payload import BATCH_JOB, decode_payload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.contracts.batches import Batches, BatchRecord
    from broadcaster.contracts.settlements import Effect, NewJob
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.nested_batch import StartBatch
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.protocol.payload import Payload

logger = logging.getLogger("broadcaster.jobs")


class BuiltIn(NamedTuple):
    """How jobs without a class are run: broadcasts."""

    run: Callable[[Payload], None]
    arun: Callable[[Payload], Awaitable[None]]


class InlineJobs:
    """
    Runs what is pushed to the ``sync`` queue; see `broadcaster.drivers.sync.InlineRunner`.

    An exception of the pushed job, or of a link that follows it, goes to the caller when all
    that follows is done. Those of a batch are counted instead.

    Args:
        batches: returns the store of batches.
        built_in: jobs without a class, by name.
    """

    def __init__(
        self, batches: Callable[[], Batches], built_in: dict[str, BuiltIn] | None = None
    ) -> None:
        self._batches = batches
        self._built_in = built_in or {}

    def run(self, job: NewJob) -> None:
        """Run `job` and what follows from it, in this thread."""
        waiting, errors = deque([job]), _Errors()
        while waiting:
            new = waiting.popleft()
            payload = decode_payload(new.body)
            built_in = self._built_in.get(payload.job)
            if built_in is not None:
                built_in.run(payload)
                continue
            if payload.job == BATCH_JOB:
                waiting.extendleft(reversed(told_of(self._started(payload))))
                continue
            place = payload.batch
            batch = self._batches().find(place.id) if place and not place.always else None
            if _is_skipped(batch):
                outcome: Outcome = Finished(skipped=True)
            else:
                outcome = _run(_found(payload), _current(payload, new.queue), errors)
            follow = self._follow(sequels(payload, outcome, now=time.time()))
            waiting.extendleft(reversed(told_of(follow)))
        errors.raise_first()

    async def arun(self, job: NewJob) -> None:
        """Run `job` and what follows from it, in the running event loop."""
        waiting, errors = deque([job]), _Errors()
        while waiting:
            new = waiting.popleft()
            payload = decode_payload(new.body)
            built_in = self._built_in.get(payload.job)
            if built_in is not None:
                await built_in.arun(payload)
                continue
            if payload.job == BATCH_JOB:
                waiting.extendleft(reversed(told_of(await self._astarted(payload))))
                continue
            place = payload.batch
            batch = await self._batches().afind(place.id) if place and not place.always else None
            if _is_skipped(batch):
                outcome: Outcome = Finished(skipped=True)
            else:
                outcome = await _arun(_found(payload), _current(payload, new.queue), errors)
            follow = await self._afollow(sequels(payload, outcome, now=time.time()))
            waiting.extendleft(reversed(told_of(follow)))
        errors.raise_first()

    def _started(self, payload: Payload) -> list[NewJob]:
        """Keep a batch that is a link of a chain, and return what runs first."""
        store, starter, now = self._batches(), cast("StartBatch", _found(payload)), time.time()
        store.create(starter.new_batch(payload, now=now))
        if starter.total:
            return starter.first_jobs(now=now)
        due = store.due(starter.batch_id).due
        store.called(starter.batch_id, list(due))
        return callbacks_due(due, now=now)

    async def _astarted(self, payload: Payload) -> list[NewJob]:
        store, starter, now = self._batches(), cast("StartBatch", _found(payload)), time.time()
        await store.acreate(starter.new_batch(payload, now=now))
        if starter.total:
            return starter.first_jobs(now=now)
        due = (await store.adue(starter.batch_id)).due
        await store.acalled(starter.batch_id, list(due))
        return callbacks_due(due, now=now)

    def _follow(self, effects: Sequence[Effect]) -> list[NewJob]:
        jobs: list[NewJob] = []
        for effect in effects:
            match effect:
                case Push(job):
                    jobs.append(job)
                case BatchMark(batch_id, index, failed, who):
                    made = self._batches().mark(batch_id, index, failed=failed, culprit=who)
                    jobs += callbacks_due(made.due, made.culprit, now=time.time())
                    self._batches().called(batch_id, list(made.due))
        return jobs

    async def _afollow(self, effects: Sequence[Effect]) -> list[NewJob]:
        jobs: list[NewJob] = []
        for effect in effects:
            match effect:
                case Push(job):
                    jobs.append(job)
                case BatchMark(batch_id, index, failed, who):
                    made = await self._batches().amark(batch_id, index, failed=failed, culprit=who)
                    jobs += callbacks_due(made.due, made.culprit, now=time.time())
                    await self._batches().acalled(batch_id, list(made.due))
        return jobs


_interceptors: list[Callable[[Job], bool]] = []


def intercept(take: Callable[[Job], bool]) -> Callable[[], None]:
    """
    Let `take` have what would be run by `run_now`, until the returned function is called.

    It returns True for a job that it has taken, which is then not run; fakes do that.
    """
    _interceptors.append(take)

    def restore() -> None:
        _interceptors.remove(take)

    return restore


def run(job: Job) -> None:
    """Run `job` by itself in this thread; see `Job.run_now`."""
    if any(take(job) for take in reversed(_interceptors)):
        return
    errors = _Errors()
    _run(job, _standing_alone(job), errors)
    errors.raise_first()


async def arun(job: Job) -> None:
    """Run `job` by itself in this event loop; see `Job.arun_now`."""
    if any(take(job) for take in reversed(_interceptors)):
        return
    errors = _Errors()
    await _arun(job, _standing_alone(job), errors)
    errors.raise_first()


def call_failed(job: Job, error: BaseException) -> None:
    """Call the hook of a failed job from sync code; what it raises is logged."""
    with _logged(job):
        result = job.failed(error)
        if inspect.iscoroutine(result):
            asyncio.run(result)


async def acall_failed(job: Job, error: BaseException) -> None:
    """Call the hook of a failed job, a sync one in a thread; what it raises is logged."""
    with _logged(job):
        if inspect.iscoroutinefunction(job.failed):
            await job.failed(error)
        else:
            await asyncio.to_thread(crossing, partial(job.failed, error))


class _logged:  # noqa: N801 - reads as a statement
    """A block whose exceptions are logged and go no further."""

    def __init__(self, job: Job) -> None:
        self._name = job.options.name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception | SystemExit):
            return False
        extra = {"event": "hook_failed", "job": self._name}
        logger.error("the failed() of %s failed", self._name, exc_info=error, extra=extra)
        return True


class _Errors:
    """What goes to the caller at the end: the first error of a job that is in no batch."""

    def __init__(self) -> None:
        self._first: BaseException | None = None

    def add(self, error: BaseException, current: CurrentJob) -> None:
        if current.payload.batch is not None:
            extra = {"event": "job_failed", "job": current.name, "job_id": current.id}
            logger.error("%s of a batch failed", current.name, exc_info=error, extra=extra)
        elif self._first is None:
            self._first = error

    def raise_first(self) -> None:
        if self._first is not None:
            raise self._first


def _run(job: Job, current: CurrentJob, errors: _Errors) -> Outcome:
    if _takes_a_loop(job):
        if _loop_is_running():
            raise RuntimeError(
                f"{type(job).__name__} is async, or its middleware is, and a loop runs here: "
                "await arun_now() or adispatch()"
            )
        return asyncio.run(_arun(job, current, errors, in_thread=False))
    error: BaseException | None = None
    started = _told_begin(job, current)
    with running(current):
        try:
            call(job)
        except Exception as raised:  # noqa: BLE001 - it is decided on, and raised later
            error = raised
    outcome, failure = _decided(current, error)
    _tell_end(job, current, outcome, error, started)
    if failure is not None:
        errors.add(failure, current)
        with running(current):
            call_failed(job, failure)
    return outcome


async def _arun(
    job: Job, current: CurrentJob, errors: _Errors, *, in_thread: bool = True
) -> Outcome:
    async def innermost() -> None:
        if is_async(job):
            await acall(job)
        elif in_thread:
            await asyncio.to_thread(crossing, partial(call, job))
        else:
            call(job)

    error: BaseException | None = None
    started = _told_begin(job, current)
    with running(current):
        try:
            await through(job, innermost)
        except Exception as raised:  # noqa: BLE001 - it is decided on, and raised later
            error = raised
    outcome, failure = _decided(current, error)
    _tell_end(job, current, outcome, error, started)
    if failure is not None:
        errors.add(failure, current)
        with running(current):
            await acall_failed(job, failure)
    return outcome


def _takes_a_loop(job: Job) -> bool:
    try:
        return is_async(job) or any(kind_of(each) == "async" for each in all_middleware(job))
    except Exception:  # noqa: BLE001 - its run will raise it again
        return False


def _told_begin(job: Job, current: CurrentJob) -> float:
    tell_begin(INLINE, partial(_taken, job, current))
    return time.monotonic()


def _tell_end(
    job: Job, current: CurrentJob, outcome: Outcome, error: BaseException | None, started: float
) -> None:
    taken = partial(_taken, job, current)
    tell_end(INLINE, taken, outcome, error, time.monotonic() - started)


def _taken(job: Job, current: CurrentJob) -> TakenJob:
    return TakenJob(
        id=current.id,
        name=current.name,
        queue=current.queue,
        attempts=current.attempts,
        payload=current.payload,
        job=job,
    )


def _decided(
    current: CurrentJob, error: BaseException | None
) -> tuple[Outcome, BaseException | None]:
    """Return what becomes of the job, and its failure."""
    said = current.verdict
    if isinstance(said, Released):
        logger.warning(
            "%s put itself back; jobs that run here and now are not run again",
            current.name,
            extra={"event": "job_dropped", "job": current.name, "job_id": current.id},
        )
        return TryAgain(said.delay), error
    outcome = decide(
        past=current.past, limits=current.limits, now=time.time(), error=error, verdict=said
    )
    if isinstance(outcome, Finished):
        return outcome, None
    if isinstance(said, Failed) and error is None:
        error = JobFailed(said.error)
    return outcome, error


def _found(payload: Payload) -> Job:
    return registry.find(payload.job).decode_fields(payload.data)


def _current(payload: Payload, queue: str) -> CurrentJob:
    limits = Limits(tries=1, drop_missing=payload.drop_missing, backoff=payload.backoff)
    return CurrentJob(payload=payload, queue=queue, limits=limits, past=Past())


def _standing_alone(job: Job) -> CurrentJob:
    ready = bus.prepared(job)
    payload = bus.payload_of(ready, job_id=bus.fresh_id(), now=time.time())
    return _current(payload, job.options.queue or "")


def _is_skipped(batch: BatchRecord | None) -> bool:
    return batch is not None and batch.cancelled


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
