"""
Watching jobs: what happens to them, how long their queues are, and which may be tried again.

A worker that imports this module writes a journal; `broadcaster schedule run` queues what is
due. See README.md.
"""

from __future__ import annotations

import logging

from broadcaster import Job, current, emit, hours, listen, schedule
from broadcaster.contracts.stores import FailedFilter
from broadcaster.jobs.completed import CompletedJobLog
from broadcaster.jobs.failures import retry_failed
from broadcaster.jobs.lifecycle import (
    JobExceptionOccurred,
    JobFailed,
    JobPopping,
    JobReleasedAfterException,
    JobRetryRequested,
    JobTimedOut,
    LifecycleEvent,
    Looping,
    QueueBusy,
    QueueFailedOver,
    QueuePaused,
)

log = logging.getLogger("operations")
log.setLevel(logging.INFO)

QUEUES = {"critical": 100, "default": 1_000, "mail": 1_000}  # how many may wait
CRITICAL = {"operations.TakePayment"}
PASSING = {"ConnectionError", "TimeoutError", "HTTPStatusError"}  # may work tomorrow
ALERTS: list[str] = []  # Slack, a pager, a mail in earnest

LEVELS: dict[type[LifecycleEvent], int] = {
    Looping: logging.DEBUG,
    JobPopping: logging.DEBUG,
    JobExceptionOccurred: logging.WARNING,
    JobReleasedAfterException: logging.WARNING,
    JobRetryRequested: logging.WARNING,
    JobTimedOut: logging.ERROR,
    JobFailed: logging.ERROR,
    QueueBusy: logging.WARNING,
    QueueFailedOver: logging.ERROR,
    QueuePaused: logging.WARNING,
}

# Jobs that were done are forgotten; this keeps a list of them for a day.
done = CompletedJobLog(max=10_000, ttl=hours(24)).listen()


class TakePayment(Job, name="operations.TakePayment", queue="critical", tries=2, backoff=30):
    order_id: int

    def handle(self) -> None:
        if self.order_id < 0:
            raise ConnectionError("the bank does not answer")


@listen(LifecycleEvent)
def write_journal(event: LifecycleEvent) -> None:
    """Hear of everything; plain and quick, because the worker waits for it."""
    level = LEVELS.get(type(event), logging.INFO)
    if log.isEnabledFor(level):
        log.log(level, "%s %s", type(event).__name__, described(event))


def described(event: LifecycleEvent) -> str:
    """Return what an event is about, without the fields of jobs: they are nobody's business."""
    job = getattr(event, "job", None)
    found = {
        "connection": getattr(event, "connection_name", None),
        "queue": getattr(event, "queue", None) or getattr(job, "queue", None),
        "job": getattr(job, "name", None) or (job and type(job).__name__),
        "attempt": getattr(job, "attempts", None),
        "backoff": getattr(event, "backoff", None),
        "size": getattr(event, "size", None),
        "status": getattr(event, "status", None),
        "error": getattr(event, "exception", None),
    }
    return " ".join(f"{word}={value}" for word, value in found.items() if value is not None)


@listen(JobFailed)
def alert(event: JobFailed) -> None:
    if event.job.name in CRITICAL:
        ALERTS.append(f"{event.job.name} failed: {event.exception or event.reason}")


@listen(QueueBusy)
def tell_of_backlog(event: QueueBusy) -> None:
    ALERTS.append(f"{event.size} jobs on {event.queue}")


@schedule("*/5 * * * *", without_overlapping=True)
def watch_queues() -> None:
    """What `broadcaster queue monitor` does from cron, as a scheduled job."""
    connection = current.application().connection()
    for queue, most in QUEUES.items():
        sizes = connection.queue.sizes(queue)
        waiting = sizes.ready + sizes.delayed + sizes.held
        if waiting >= most:
            emit(QueueBusy(connection_name=connection.name, queue=queue, size=waiting))


@schedule("15 3 * * *", timezone="Europe/Berlin")
def retry_what_may_work() -> None:
    """Put failed jobs back whose error was a passing one; each once."""
    store = current.application().failed_jobs
    found = store.find(limit=1_000, where=FailedFilter(retried=False))
    passing = [job.id for job in found if job.exception in PASSING]
    log.info("%d of %d failed jobs are tried again", retry_failed(store, passing), len(found))


@schedule("30 3 * * *", timezone="Europe/Berlin")
def forget_old_failures() -> None:
    current.application().failed_jobs.prune(hours(72))
