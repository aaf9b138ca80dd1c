"""
Running jobs here and now: `run_now`, and the queue ``sync``.

Nothing is tried again: an error is a failure. What follows from a job is done at once, in the
same call: the next links of its chain, its part in a batch, callbacks.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, cast

from broadcaster.contracts.batches import callbacks_due
from broadcaster.contracts.settlements import BatchMark, Push
from broadcaster.errors import InvalidJob, UnknownJob
from broadcaster.jobs import bus
from broadcaster.jobs.execution import loop_is_running, takes_a_loop
from broadcaster.jobs.lifecycle import TakenJob
from broadcaster.jobs.outcome import Finished, Limits, Past, Released, TryAgain, decide
from broadcaster.jobs.registry import registry
from broadcaster.jobs.running import CurrentJob
from broadcaster.jobs.telling import INLINE, tell_failed, told_of
from broadcaster.jobs.tries import (
    Terms,
    Tried,
    arun_once,
    ending,
    is_no_failure,
    run_once,
    unreadable,
)
from broadcaster.protocol.payload import BATCH_JOB, decode_payload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

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
        work = _Work(job)
        for new in work:
            payload = decode_payload(new.body)
            if built_in := self._built_in.get(payload.job):
                built_in.run(payload)
            elif payload.job == BATCH_JOB:
                work.put_first(self._started(payload))
            else:
                tried = self._tried(payload, new.queue)
                work.put_first(self._follow(work.ended(payload, tried)))
        work.raise_first()

    async def arun(self, job: NewJob) -> None:
        """Run `job` and what follows from it, in the running event loop."""
        work = _Work(job)
        for new in work:
            payload = decode_payload(new.body)
            if built_in := self._built_in.get(payload.job):
                await built_in.arun(payload)
            elif payload.job == BATCH_JOB:
                work.put_first(await self._astarted(payload))
            else:
                tried = await self._atried(payload, new.queue)
                work.put_first(await self._afollow(work.ended(payload, tried)))
        work.raise_first()

    def _tried(self, payload: Payload, queue: str) -> Tried:
        place = payload.batch
        if place and not place.always and _is_cancelled(self._batches().find(place.id)):
            return _SKIPPED
        found = _found(payload, queue)
        return found if isinstance(found, Tried) else _run(found, _current(payload, queue))

    async def _atried(self, payload: Payload, queue: str) -> Tried:
        place = payload.batch
        if place and not place.always and _is_cancelled(await self._batches().afind(place.id)):
            return _SKIPPED
        found = _found(payload, queue)
        return found if isinstance(found, Tried) else await _arun(found, _current(payload, queue))

    def _started(self, payload: Payload) -> list[NewJob]:
        """Keep a batch that is a link of a chain, and return what runs first."""
        store, starter, now = self._batches(), _starter(payload), time.time()
        store.create(starter.new_batch(payload, now=now))
        if starter.total:
            return starter.first_jobs(now=now)
        due = store.due(starter.batch_id).due
        store.called(starter.batch_id, list(due))
        return callbacks_due(due, now=now)

    async def _astarted(self, payload: Payload) -> list[NewJob]:
        store, starter, now = self._batches(), _starter(payload), time.time()
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
    if not any(take(job) for take in reversed(_interceptors)):
        _raise_failure(_run(job, _standing_alone(job)))


async def arun(job: Job) -> None:
    """Run `job` by itself in this event loop; see `Job.arun_now`."""
    if not any(take(job) for take in reversed(_interceptors)):
        _raise_failure(await _arun(job, _standing_alone(job)))


class _Work:
    """What is still to run, the next first, and the first error of a job that is in no batch."""

    def __init__(self, job: NewJob) -> None:
        self._waiting = deque([job])
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[NewJob]:
        while self._waiting:
            yield self._waiting.popleft()

    def put_first(self, jobs: list[NewJob]) -> None:
        """Run `jobs` before what waits."""
        self._waiting.extendleft(reversed(told_of(jobs)))

    def ended(self, payload: Payload, tried: Tried) -> Sequence[Effect]:
        """Note how a job has ended, and return what follows from it."""
        outcome, error, effects = ending(payload, *tried, now=time.time())
        failure = Tried(outcome, error).failure
        if failure is not None:
            self._failed(payload, failure)
        return effects

    def raise_first(self) -> None:
        """Raise what goes to the caller, if anything."""
        if self._error is not None:
            raise self._error

    def _failed(self, payload: Payload, error: BaseException) -> None:
        if payload.batch is not None:
            extra = {"event": "job_failed", "job": payload.job, "job_id": payload.id}
            logger.error("%s of a batch failed", payload.job, exc_info=error, extra=extra)
        elif self._error is None:
            self._error = error


def _run(job: Job, current: CurrentJob) -> Tried:
    if takes_a_loop(job) and loop_is_running():
        raise RuntimeError(
            f"{type(job).__name__} is async, or its middleware is, and a loop runs here: "
            "await arun_now() or adispatch()"
        )
    return run_once(job, current, _HERE_AND_NOW)


async def _arun(job: Job, current: CurrentJob) -> Tried:
    return await arun_once(job, current, _HERE_AND_NOW)


def _decided(current: CurrentJob, error: BaseException | None) -> Outcome:
    said = current.verdict
    if isinstance(said, Released):
        if error is None:
            text = "%s put itself back; jobs that run here and now are not run again"
            extra = {"event": "job_dropped", "job": current.name, "job_id": current.id}
            logger.warning(text, current.name, extra=extra)
            return TryAgain(said.delay, exception=False)
        said = None  # it cannot be put back, so its error is its failure
    return decide(
        past=current.past, limits=current.limits, now=time.time(), error=error, verdict=said
    )


_HERE_AND_NOW = Terms(_decided, is_no_failure, connection=INLINE)
_SKIPPED = Tried(Finished(skipped=True), None)


def _raise_failure(tried: Tried) -> None:
    if tried.failure is not None:
        raise tried.failure


def _found(payload: Payload, queue: str) -> Job | Tried:
    """Return the job of `payload`; or, if there is none, what becomes of it."""
    try:
        return registry.find(payload.job).decode_fields(payload.data)
    except (InvalidJob, UnknownJob) as error:
        refused = unreadable(error)
        taken = TakenJob(id=payload.id, name=payload.job, queue=queue, attempts=0, payload=payload)
        tell_failed(INLINE, taken, refused.reason, error)
        return Tried(refused, error)


def _starter(payload: Payload) -> StartBatch:
    return cast("StartBatch", registry.find(payload.job).decode_fields(payload.data))


def _current(payload: Payload, queue: str) -> CurrentJob:
    limits = Limits(tries=1, drop_missing=payload.drop_missing, backoff=payload.backoff)
    return CurrentJob(payload=payload, queue=queue, limits=limits, past=Past())


def _standing_alone(job: Job) -> CurrentJob:
    ready = bus.prepared(job)
    payload = bus.payload_of(ready, job_id=bus.fresh_id(), now=time.time())
    return _current(payload, job.options.queue or "")


def _is_cancelled(batch: BatchRecord | None) -> bool:
    return batch is not None and batch.cancelled
