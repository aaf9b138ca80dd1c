"""
The enqueue side: a job becomes a payload, a payload goes to its queue.

`new_job` decides everything and does no I/O; `dispatch` and `adispatch` hand its result
to a queue of the current application, at once or when the open transaction commits.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from broadcaster import current
from broadcaster.contracts.settlements import MAX_UNIQUE_SECONDS, NewJob, Unique
from broadcaster.jobs import after_commit
from broadcaster.jobs.announcing import announce, wanted
from broadcaster.jobs.lifecycle import JobQueued, UniqueJobSkipped
from broadcaster.jobs.options import JobOptions, with_options
from broadcaster.jobs.references import encode_reference
from broadcaster.jobs.telling import tell_queued, tell_queueing
from broadcaster.protocol.ids import derived_id, uuid7
from broadcaster.protocol.lanes import LANES, ordered_queue
from broadcaster.protocol.payload import NextJob, Payload, encode_payload

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Unpack

    from broadcaster.contracts.connections import QueueConnection
    from broadcaster.contracts.settlements import Pushed
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.options import DispatchOptions

ID_BYTES = 10

_keys = msgspec.json.Encoder(order="deterministic")


class Skipped(NamedTuple):
    """
    A unique job that was not queued; false, where the id of a queued one is true.

    Attributes:
        owner: id of the job that has the lock.
    """

    owner: str

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """
    A job with options of its own, for a chain, a batch, or to be dispatched.

    Attributes:
        job: as it was made.
        options: its class's options, changed.
    """

    job: Job
    options: JobOptions

    def __repr__(self) -> str:
        """Return the job's; options of its own are marked, not told."""
        own = "" if self.options == self.job.options else ".with_options(...)"
        return f"{self.job!r}{own}"

    def dispatch(self) -> str | Skipped:
        """Queue it; see `Job.dispatch`."""
        return _dispatch(self)

    async def adispatch(self) -> str | Skipped:
        """Queue it from a coroutine; see `Job.dispatch`."""
        return await _adispatch(self)


def prepared(job: Job | PreparedJob, **given: Unpack[DispatchOptions]) -> PreparedJob:
    """Return `job` with its class's options, changed by `given`."""
    if isinstance(job, PreparedJob):
        return PreparedJob(job.job, with_options(job.options, given)) if given else job
    if isinstance(job, type):
        raise TypeError(f"{job.__name__} is a class; a job is made of it: {job.__name__}(...)")
    if not isinstance(getattr(job, "options", None), JobOptions):
        raise TypeError(
            f"{job!r} is no job; one is made of a class, or of a function with @job, and then "
            "dispatched: SendMail(7).dispatch()"
        )
    return PreparedJob(job, with_options(job.options, given) if given else job.options)


def new_job(
    job: Job | PreparedJob,
    *,
    now: float,
    randomness: bytes,
    default_queue: str,
    lanes: int = LANES,
    **given: Unpack[DispatchOptions],
) -> NewJob:
    """
    Return `job` as it goes into a queue.

    Args:
        now: Unix seconds, for the id and for `retry_until`.
        randomness: 10 bytes, for the id.
        default_queue: for a class that names no queue.
        lanes: of each queue, for jobs with an order.
        given: options of this dispatch.

    Raises:
        InvalidJob: its fields have no JSON form, do not fit their types, or are too large.
        ValueError: an option that is out of its range.
    """
    ready = prepared(job, **given)
    return job_with_id(
        ready, job_id=uuid7(now, randomness), now=now, default_queue=default_queue, lanes=lanes
    )


def job_with_id(
    ready: PreparedJob,
    *,
    job_id: str,
    now: float,
    default_queue: str,
    lanes: int,
    unique: Unique | None = None,
) -> NewJob:
    """
    Return a job as it goes into a queue under `job_id`; see `new_job`.

    Args:
        unique: the lock that it needs if it is not unique by itself.
    """
    payload = payload_of(ready, job_id=job_id, now=now)
    unique = unique_of(ready) or unique
    if unique is not None and ready.options.unique_until == "processing":
        payload = msgspec.structs.replace(payload, unlock=unique.key)
    return NewJob(
        id=payload.id,
        queue=queue_of(ready, default_queue, lanes),
        body=encode_payload(payload),
        delay=ready.options.delay,
        unique=unique,
    )


def payload_of(ready: PreparedJob, *, job_id: str, now: float) -> Payload:
    """Return the payload of a job that is queued under `job_id` at `now`."""
    options = ready.options
    until = options.retry_until
    if options.retry_for is not None:
        until = now + options.delay + options.retry_for
    return Payload(
        id=job_id,
        job=options.name,
        data=ready.job.encode_fields(),
        tries=options.tries,
        backoff=options.backoff,
        jitter=options.jitter,
        timeout=options.timeout,
        fail_on_timeout=options.fail_on_timeout,
        max_exceptions=options.max_exceptions,
        retry_until=until,
        retry_for=options.retry_for,
        drop_missing=options.delete_when_missing_models,
    )


def queue_of(ready: PreparedJob, default_queue: str, lanes: int = LANES) -> str:
    """Return the queue of a job, or the lane of that queue that keeps its order."""
    options = ready.options
    queue = options.queue or default_queue
    if options.ordered_by is None or not lanes:
        return queue
    return ordered_queue(queue, _order_key(ready.job, options.ordered_by), lanes)


def _order_key(job: Job, field: str) -> str:
    """
    Return what has one lane: the value of `field` as a worker gets it.

    A float field may hold 1 and 1.0 here, and an object whose text is another each time.

    Raises:
        InvalidJob: a field has no JSON form or does not fit its type.
    """
    fitting = type(job).decode_fields(job.encode_fields())
    value = msgspec.to_builtins(getattr(fitting, field), str_keys=True, enc_hook=encode_reference)
    return value if isinstance(value, str) else _keys.encode(value).decode()


def unique_of(ready: PreparedJob) -> Unique | None:
    """Return the lock that a unique job needs, or None."""
    options = ready.options
    if options.unique is None:
        return None
    # A digest: what makes it unique may be long, or secret.
    key = f"{options.name}:{derived_id(options.name, ready.job.unique_id())}"
    return Unique(key, min(options.delay + options.unique_for, MAX_UNIQUE_SECONDS))


def follower(
    job: Job | PreparedJob, default_queue: str, job_id: str, lanes: int = LANES
) -> NextJob:
    """
    Return `job` as it is carried until something else has ended.

    Unique locks are for what is dispatched by itself: a follower takes none.

    Args:
        job_id: stands in for the id that it gets when it is queued.
    """
    ready = prepared(job)
    payload = payload_of(ready, job_id=job_id, now=0.0)
    if payload.retry_for is not None:
        payload = msgspec.structs.replace(payload, retry_until=None)
    return NextJob(payload, queue_of(ready, default_queue, lanes), ready.options.delay)


def fresh_id() -> str:
    """Return a new id, which no other has."""
    return uuid7(time.time(), os.urandom(ID_BYTES))


def dispatch(job: Job | PreparedJob, **given: Unpack[DispatchOptions]) -> str | Skipped:
    """Queue `job` and return its id; see `Job.dispatch`."""
    return _dispatch(prepared(job, **given))


async def adispatch(job: Job | PreparedJob, **given: Unpack[DispatchOptions]) -> str | Skipped:
    """Queue `job` from a coroutine and return its id; see `Job.dispatch`."""
    return await _adispatch(prepared(job, **given))


def _dispatch(ready: PreparedJob) -> str | Skipped:
    sending = _sending(ready)
    if _waits(ready.options, sending.connection) and after_commit.postpone(sending):
        return sending.new.id
    return sending.send()


async def _adispatch(ready: PreparedJob) -> str | Skipped:
    sending = _sending(ready)
    if _waits(ready.options, sending.connection) and after_commit.postpone(sending):
        return sending.new.id
    return await sending.asend()


def _waits(options: JobOptions, connection: QueueConnection) -> bool:
    return connection.after_commit if options.after_commit is None else options.after_commit


def _sending(ready: PreparedJob) -> Sending:
    connection = current.application().connection(ready.options.connection)
    now, randomness = time.time(), os.urandom(ID_BYTES)
    new = new_job(
        ready,
        now=now,
        randomness=randomness,
        default_queue=connection.default_queue,
        lanes=connection.lanes,
    )
    return Sending(connection, [new], [ready.job])


class Sending:
    """
    Jobs on their way to one connection, now or after a commit.

    Implements `broadcaster.jobs.after_commit.Action`.

    Args:
        connection: where they go.
        jobs: as they are queued.
        sources: what they were made of, for listeners; as many, or none.

    Attributes:
        known: ids of those that the queue had before, once they were sent.
    """

    known: Collection[str] = ()

    def __init__(
        self,
        connection: QueueConnection,
        jobs: Sequence[NewJob],
        sources: Sequence[Job] = (),
    ) -> None:
        self.connection = connection
        self.jobs = jobs
        self._sources: Sequence[Job | None] = sources or [None for _ in jobs]

    @property
    def new(self) -> NewJob:
        """The only one."""
        return self.jobs[0]

    def leave_out(self, job_ids: Collection[str]) -> None:
        """Send all but these."""
        kept = [
            (job, source)
            for job, source in zip(self.jobs, self._sources, strict=True)
            if job.id not in job_ids
        ]
        self.jobs = [job for job, _ in kept]
        self._sources = [source for _, source in kept]

    def send(self) -> str | Skipped:
        """Push them; return the id of the first ("": there is none), or who keeps it out."""
        tell_queueing(self.connection.name, self.jobs, self._sources)
        return self._sent(self.connection.queue.push(self.jobs))

    async def asend(self) -> str | Skipped:
        """Push them from a coroutine; see `send`."""
        tell_queueing(self.connection.name, self.jobs, self._sources)
        return self._sent(await self.connection.queue.apush(self.jobs))

    def run(self) -> None:
        """See `Action.run`."""
        self.send()

    async def arun(self) -> None:
        """See `Action.arun`."""
        await self.asend()

    def _sent(self, pushed: Pushed) -> str | Skipped:
        self.known = pushed.known
        for new, job in zip(self.jobs, self._sources, strict=True):
            if new.id in pushed.locked:
                self._announce_skipped(new, job, pushed.locked[new.id])
            elif wanted(JobQueued) and (new.link is None or new.id not in pushed.known):
                tell_queued(self.connection.name, [new], [job])  # a known link was told of
        first = self.jobs[0].id if self.jobs else ""
        return Skipped(pushed.locked[first]) if first in pushed.locked else first

    def _announce_skipped(self, new: NewJob, job: Job | None, owner: str) -> None:
        if wanted(UniqueJobSkipped):
            announce(
                UniqueJobSkipped(
                    connection_name=self.connection.name, queue=new.queue, job=job, owner=owner
                )
            )
