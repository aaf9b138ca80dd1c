r"""
What happens to jobs, queues and workers, as events for listeners in the same process.

::

    @listen(JobProcessed)
    def count(event: JobProcessed) -> None: ...

`broadcaster.jobs.announcing` says how they are told.

Source: Laravel, ``Illuminate\Queue\Events``; fields have its names in snake_case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broadcaster.contracts.stores import FailedJob
    from broadcaster.jobs.job import Job
    from broadcaster.protocol.payload import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenJob:
    """
    A job that a worker has taken from its queue.

    Attributes:
        id: as pushed.
        name: registered name of its class.
        queue: where it came from.
        attempts: number of this try, from 1.
        payload: as pushed.
        job: the job itself; None before it was decoded, or if it cannot be.
    """

    id: str
    name: str
    queue: str
    attempts: int
    payload: Payload | None = None
    job: Job | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleEvent:
    """What all of them are: listen to it to hear everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQueueing(LifecycleEvent):
    """
    A job is about to be pushed: it was dispatched, or follows from another.

    Attributes:
        connection_name: the queue connection.
        queue: where it will wait.
        job: the job; None for those without a class, such as broadcasts, and for those that
            follow from others if this process does not know their class.
        payload: as it will be pushed.
        delay: seconds before it may run.
    """

    connection_name: str
    queue: str
    job: Job | None
    payload: Payload
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQueued(LifecycleEvent):
    """
    A job was pushed; a link or a callback is told at most once.

    Attributes:
        id: of the job.
        connection_name, queue, job, payload, delay: see `JobQueueing`.
    """

    connection_name: str
    queue: str
    id: str
    job: Job | None
    payload: Payload
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueJobSkipped(LifecycleEvent):
    """
    A unique job was not pushed, because another one has its lock.

    Attributes:
        owner: id of the job that has the lock.
        connection_name, queue, job: see `JobQueueing`.
    """

    connection_name: str
    queue: str
    job: Job | None
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarting(LifecycleEvent):
    """
    A worker begins to work.

    Attributes:
        connection_name: the queue connection that it takes jobs from.
        queue: its queues, the most urgent first, separated by commas.
        worker_options: the `WorkerOptions` that it was given.
        worker: its name.
    """

    connection_name: str
    queue: str
    worker_options: Any = None
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looping(LifecycleEvent):
    """
    A worker is about to look for jobs; a listener that returns False keeps it from it.

    Attributes:
        connection_name, queue: see `WorkerStarting`.
    """

    connection_name: str
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPopping(LifecycleEvent):
    """
    A worker asks its queue for jobs.

    Attributes:
        connection_name: the queue connection.
        queue: the queue that is asked.
    """

    connection_name: str
    queue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfTakenJob(LifecycleEvent):
    """
    What events about a job in a worker have.

    Attributes:
        connection_name: the queue connection.
        job: the job.
    """

    connection_name: str
    job: TakenJob


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPopped(_OfTakenJob):
    """A worker got a job from its queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProcessing(_OfTakenJob):
    """A try of a job begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAttempted(_OfTakenJob):
    """
    A try of a job has ended, in whichever way.

    Attributes:
        exception: what it ended with, or None.
    """

    exception: BaseException | None = None

    @property
    def exception_occurred(self) -> bool:
        """Whether it ended with an exception."""
        return self.exception is not None

    @property
    def successful(self) -> bool:
        """Whether it ended without one."""
        return self.exception is None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProcessed(_OfTakenJob):
    """
    A try of a job ended without an exception; the job may have released itself, too.

    Attributes:
        seconds: how long the try took.
    """

    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobExceptionOccurred(_OfTakenJob):
    """
    A try of a job ended with an exception.

    Attributes:
        exception: what it was.
    """

    exception: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReleasedAfterException(_OfTakenJob):
    """
    A job goes back to its queue after an exception.

    Attributes:
        backoff: seconds until it may run again.
        exception: what the try ended with.
    """

    backoff: float = 0.0
    exception: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRetryRequested(LifecycleEvent):
    """
    Somebody wants a failed job to run again.

    Attributes:
        job: the failed job.
    """

    job: FailedJob


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimedOut(_OfTakenJob):
    """A try of a job took longer than its `timeout`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(_OfTakenJob):
    """
    A job was given up and is kept with the failed ones, unless it was cancelled.

    Attributes:
        exception: what its last try ended with; None if no try began.
        reason: a stable word (``exception``, ``timeout``, ``unknown_job``, ``crashed``,
            ``cancelled``, ...).
    """

    exception: BaseException | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBusy(LifecycleEvent):
    """
    A queue has grown over the bound of its monitor.

    Attributes:
        connection_name: the queue connection.
        queue: its name.
        size: jobs that wait, are delayed, or run.
    """

    connection_name: str
    queue: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFailedOver(LifecycleEvent):
    """
    A job goes to the next connection, because this one cannot be reached.

    Attributes:
        connection_name: the queue connection that failed.
        exception: how.
        command: what was to be pushed: registered names of the jobs, separated by commas.
    """

    connection_name: str
    exception: BaseException
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePaused(LifecycleEvent):
    """
    A queue was paused: its jobs wait.

    Attributes:
        connection_name: the queue connection.
        queue: its name.
        ttl: seconds after which it resumes by itself, or None.
    """

    connection_name: str
    queue: str
    ttl: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueResumed(LifecycleEvent):
    """
    A paused queue goes on.

    Attributes:
        connection_name: the queue connection.
        queue: its name.
    """

    connection_name: str
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopping(LifecycleEvent):
    """
    A worker has settled what it ran, and stops.

    Attributes:
        status: exit code of its process.
        worker_options: the `WorkerOptions` that it was given.
        reason: why it stops (``interrupted``, ``memory``, ``max_jobs``, ``empty``, ...).
        worker: its name.
    """

    status: int = 0
    worker_options: Any = None
    reason: str = ""
    worker: str = ""


LIFECYCLE_EVENTS: tuple[type[LifecycleEvent], ...] = (
    JobQueueing,
    JobQueued,
    WorkerStarting,
    Looping,
    JobPopping,
    JobPopped,
    JobProcessing,
    JobAttempted,
    JobProcessed,
    JobExceptionOccurred,
    JobReleasedAfterException,
    JobRetryRequested,
    JobTimedOut,
    JobFailed,
    QueueBusy,
    QueueFailedOver,
    QueuePaused,
    QueueResumed,
    WorkerStopping,
    UniqueJobSkipped,
)
"""All of them, in the order in which a job meets them."""
