"""What fakes write down, and how they tell it apart. Nothing here is ever run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from broadcaster.errors import JobError
from broadcaster.events.listener_jobs import PLACE, decode_event
from broadcaster.jobs.job import Job
from broadcaster.jobs.nested_batch import StartBatch
from broadcaster.jobs.registry import registry
from broadcaster.protocol.payload import Payload, decode_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.batches import Moment
    from broadcaster.contracts.settlements import NewJob

SHOWN = 20
"""Most entries of a list in a message."""

_WIDTH = 200
_SHORT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedJob:
    """
    A job that was to be queued.

    Attributes:
        id: what `dispatch` returned.
        name: registered name of its class.
        job: the job, made of its payload again as a worker would; None: nobody knows its name.
        event: what a queued listener would get; None for other jobs.
        queue: where it would wait.
        connection: name of the queue connection.
        delay: seconds that it would wait.
        payload: all that would be queued.
        chain: what would follow it.
        catch: what would be queued if a link of its chain failed.
        batch_id: of its batch, or None.
    """

    id: str
    name: str
    job: Job | None
    queue: str
    connection: str
    delay: float
    payload: Payload
    event: object = None
    chain: tuple[Job, ...] = ()
    catch: tuple[Job, ...] = ()
    batch_id: str | None = None

    @property
    def subject(self) -> object:
        """What predicates get: the event of a queued listener, else the job."""
        return self.event if self.event is not None else self.job

    def __str__(self) -> str:
        where = [f"on {self.queue}"]
        if self.connection != "default":
            where.append(f"of {self.connection}")
        if self.delay:
            where.append(f"after {self.delay:g} s")
        if self.chain:
            where.append(f"then {shown_jobs(self.chain)}")
        if self.catch:
            where.append(f"caught by {shown_jobs(self.catch)}")
        what = self.name if self.job is None else shortened(self.job)
        if self.event is not None:
            what = f"{self.name} for {shortened(self.event)}"
        return f"{what} {', '.join(where)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBatch:
    """
    A batch that was to be dispatched.

    Attributes:
        id: of the batch.
        name: what people would call it.
        jobs: what it began with and what was added, in order.
        options: what was kept with it.
        allow_failures: a failure would not cancel it.
        callbacks: jobs by the moment of their call: ``then``, ``catch``, ``finally``.
    """

    id: str
    name: str
    jobs: tuple[Job, ...]
    options: dict[str, Any]
    allow_failures: bool
    callbacks: dict[Moment, tuple[Job, ...]]

    def __str__(self) -> str:
        called = f"{self.name!r} " if self.name else ""
        options = f" with options {shortened(self.options)}" if self.options else ""
        return f"batch {called}of {shown_jobs(self.jobs)}{options}"


def read_push(new: NewJob, connection: str) -> PushedJob:
    """Return what would be queued, in the words of tests."""
    payload = decode_payload(new.body)
    job = _job_of(payload)
    place = payload.chain
    return PushedJob(
        id=new.id,
        name=payload.job,
        job=job,
        event=_event_of(job),
        queue=new.queue,
        connection=connection,
        delay=new.delay,
        payload=payload,
        chain=jobs_of([link.payload for link in place.next]) if place else (),
        catch=jobs_of([link.payload for link in place.catch]) if place else (),
        batch_id=payload.batch.id if payload.batch else None,
    )


def jobs_of(payloads: Sequence[Payload]) -> tuple[Job, ...]:
    """Return the jobs that these payloads carry; those of unknown classes are left out."""
    found = [_job_of(payload) for payload in payloads]
    return tuple(job for job in found if job is not None)


def is_of(pushed: PushedJob, target: object) -> bool:
    """Whether `target` means this job: a job class, a listener, or a registered name."""
    return _means(pushed.name, pushed.job, target)


def place_of(pushed: PushedJob, target: object) -> str:
    """Return where in the chain of `pushed` there is a job that `target` means, or ""."""
    first = pushed.name if pushed.job is None else shortened(pushed.job, _SHORT)
    if any(_has(job, target) for job in pushed.chain):
        return f"a later link of the chain of {first} (assert_pushed_with_chain)"
    if any(_has(job, target) for job in pushed.catch):
        return f"what is queued if the chain of {first} fails (catch)"
    return ""


def is_job(job: Job, wanted: object) -> bool:
    """
    Whether `wanted` means `job`: an equal job, its class, or what returns True for it.

    A list means a batch that is a link of a chain, by its jobs.
    """
    if isinstance(wanted, list | tuple):
        members = cast("Sequence[object]", wanted)
        return isinstance(job, StartBatch) and are_jobs(job.members, members)
    if isinstance(wanted, Job):
        return job == wanted
    if isinstance(wanted, type) and issubclass(wanted, Job):
        return isinstance(job, wanted)
    if callable(wanted):
        return bool(wanted(job))
    raise TypeError(
        f"{shortened(wanted)} is no job, no job class, no list for a batch, and nothing to ask"
    )


def are_jobs(jobs: Sequence[Job], wanted: Sequence[object]) -> bool:
    """Whether `wanted` means these jobs, one by one, and no other."""
    return len(jobs) == len(wanted) and all(map(is_job, jobs, wanted))


def title_of(target: object) -> str:
    """Return how messages name a class, a listener, or a name."""
    if isinstance(target, str):
        return repr(target)
    return getattr(target, "__name__", repr(target))


def shown_jobs(jobs: Sequence[object]) -> str:
    """Return some jobs with their fields, classes of jobs and questions, for messages."""
    texts = [
        shortened(job, _SHORT) if isinstance(job, Job) else title_of(job) for job in jobs[:SHOWN]
    ]
    more = f", and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
    return f"[{', '.join(texts)}{more}]"


def shortened(thing: object, width: int = _WIDTH) -> str:
    """Return the repr of something, cut where it gets long."""
    text = repr(thing)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def listed(title: str, things: Sequence[object], otherwise: str) -> str:
    """Return a paragraph that lists `things`, or says `otherwise` if there are none."""
    if not things:
        return otherwise
    more = [f"  and {len(things) - SHOWN} more"] if len(things) > SHOWN else []
    return "\n".join([title, *(f"  {thing}" for thing in things[:SHOWN]), *more])


def chosen(
    pushed: Sequence[PushedJob], target: object, predicate: Callable[[Any], object] | None
) -> list[PushedJob]:
    """Return those that `target` means and for which `predicate` holds."""
    return [
        one
        for one in pushed
        if is_of(one, target) and (predicate is None or predicate(one.subject))
    ]


def _job_of(payload: Payload) -> Job | None:
    try:
        return registry.find(payload.job).decode_fields(payload.data)
    except JobError:
        return None


def _event_of(job: Any) -> object:
    if not hasattr(type(job), PLACE):
        return None
    try:
        return decode_event(job.options.name, job.event, job.data)
    except JobError:
        return None


def _has(job: Job, target: object) -> bool:
    members = job.members if isinstance(job, StartBatch) else ()
    return any(_means(each.options.name, each, target) for each in (job, *members))


def _means(name: str, job: Job | None, target: object) -> bool:
    if isinstance(target, str):
        return name == target
    if isinstance(target, type) and issubclass(target, Job):
        return name == target.options.name
    return getattr(type(job), PLACE, None) == _place(target)


def _place(target: object) -> str:
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"
