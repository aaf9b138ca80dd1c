"""
Celery: jobs of broadcaster that Celery's workers run.

::

    # shop/celery.py
    app = Celery("shop", broker="redis://...")
    install(app)                                # adds the one task that runs every job

    # broadcaster.toml
    [queues.celery]
    driver = "celery"
    celery_app = "shop.celery:app"
    default = "celery"

    SendMail(user_id=7).dispatch(connection="celery")

A job travels as one task, ``broadcaster.run``, whose argument is the same JSON that lies in our
queues, and is found by its name in the registry of Celery's worker: modules with jobs must be
imported there. Tries, backoff, `release`, `failed` and middleware are as everywhere.

What Celery cannot keep is refused when the job is dispatched (`Unsupported`), not found out
later; `KEEPS` is what it can, and `needs` what a job asks for.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import random
import time
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from kombu.pools import producers

from broadcaster.contracts.queue import Pushed
from broadcaster.contracts.unserved import UnservedQueue
from broadcaster.errors import (
    DriverUnavailable,
    InvalidJob,
    NotConfigured,
    UnknownJob,
    Unsupported,
)
from broadcaster.jobs.execution import all_middleware, is_async
from broadcaster.jobs.middleware import WithoutOverlapping
from broadcaster.jobs.outcome import Finished, GiveUp, Past, PutOff, TryAgain, refuse_start
from broadcaster.jobs.registry import registry
from broadcaster.jobs.running import CurrentJob
from broadcaster.jobs.tries import (
    ASYNC_TIMEOUT,
    Terms,
    Tried,
    failure_of,
    give_up,
    is_no_failure,
    limits_of,
    outcome_of,
    run_once,
    unreadable,
)
from broadcaster.protocol.channels import shown
from broadcaster.protocol.fact_jobs import EVENT_JOB
from broadcaster.protocol.lanes import split_lane
from broadcaster.protocol.payload import BROADCAST_JOB, decode_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import NewJob
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.protocol.payload import Payload

# How billiard's handler of signals ends a process.
_EXITS_BY_SIGNAL = range(-255, -191)

TASK = "broadcaster.run"
"""The name of the one task."""

CONNECT_SECONDS = 2.0
"""How long a push waits for the broker."""

VISIBILITY_SECONDS = 3_600.0
"""How long Celery's Redis and SQS transports leave a task to its worker, unless it is set."""

KEEPS = frozenset({"a delay in whole seconds", "a timeout of an async job"})
"""What may be asked of Celery, beyond what needs nothing of a queue."""


def needs(
    new: NewJob,
    payload: Payload,
    *,
    asynchronous: bool,
    longest_delay: float,
    locks: bool = False,
) -> list[str]:
    """
    Return what a job asks of its queue, in words; nothing that every queue can do. Pure.

    Args:
        asynchronous: its `handle` is a coroutine.
        longest_delay: seconds for which the broker leaves a task to the worker that waits
            with it; after that another one would run it too.
        locks: it is kept from overlapping with others.
    """
    asked = {
        "a broadcast, which has an order": payload.job in (BROADCAST_JOB, EVENT_JOB),
        "an order (ordered_by)": split_lane(new.queue)[1] is not None,
        "a lock that dies with its worker (WithoutOverlapping)": locks,
        "a unique lock": new.unique is not None or bool(payload.unlock),
        "a chain": payload.chain is not None,
        "a batch": payload.batch is not None,
        "a callback": payload.cause is not None,
        "a delay in milliseconds": new.delay != int(new.delay),
        "a delay in whole seconds": new.delay == int(new.delay) != 0,
        f"a delay over {longest_delay:,.0f} s": new.delay > longest_delay,
        f"a backoff over {longest_delay:,.0f} s": max(payload.backoff, default=0) > longest_delay,
        "a timeout of a sync job": bool(payload.timeout) and not asynchronous,
        "a timeout of an async job": bool(payload.timeout) and asynchronous,
    }
    return [words for words, needed in asked.items() if needed]


class CeleryQueue(UnservedQueue):
    """
    Pushes jobs to Celery; see `Queue`.

    They wait with Celery: there is nothing here for a worker to reserve, to count or to watch.
    A push that is repeated queues twice.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    @classmethod
    def of(cls, path: str) -> CeleryQueue:
        """
        Return the queue of the application at ``module:name``.

        Raises:
            NotConfigured: it is not there.
        """
        module, _, name = path.partition(":")
        if not module or not name:
            raise NotConfigured(
                f"celery_app must say where the application is, 'shop.celery:app', not {shown(path)}"
            )
        try:
            return cls(getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError) as error:
            raise NotConfigured(f"celery_app {shown(path)} cannot be imported: {error}") from error

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        """
        Send `jobs` as one task each.

        Raises:
            Unsupported: Celery cannot keep what one of them asks for; none was sent.
            DriverUnavailable: the broker cannot be reached; some may have been sent.
        """
        for job in jobs:
            self._check(job)
        options = {**self._app.conf.broker_transport_options, "max_retries": 1, "interval_start": 0}
        try:
            with (
                self._app.connection_for_write(
                    connect_timeout=CONNECT_SECONDS, transport_options=options
                ) as connection,
                producers[connection].acquire(block=True, timeout=CONNECT_SECONDS) as producer,
            ):
                for job in jobs:
                    self._send(job, producer)
        except (OperationalError, OSError) as error:
            raise DriverUnavailable(f"Celery's broker cannot be reached: {error}") from error
        return Pushed([job.id for job in jobs])

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        """Send `jobs` from a coroutine, in a thread; see `push`."""
        return await asyncio.to_thread(self.push, jobs)

    def _check(self, new: NewJob) -> None:
        payload = decode_payload(new.body)
        try:
            job = registry.find(payload.job).decode_fields(payload.data)
        except (UnknownJob, InvalidJob):  # its worker may know it, or says so
            job = None
        longest = self._app.conf.broker_transport_options.get("visibility_timeout")
        asked = needs(
            new,
            payload,
            asynchronous=job is not None and is_async(job),
            longest_delay=longest or VISIBILITY_SECONDS,
            locks=job is not None and _locks(job),
        )
        refused = tuple(words for words in asked if words not in KEEPS)
        if refused:
            raise Unsupported(
                f"{payload.job} asks for {', '.join(refused)}, which Celery cannot keep: give it "
                "a connection to Redis",
                features=refused,
            )

    def _send(self, new: NewJob, producer: Any) -> None:
        self._app.send_task(
            TASK,
            args=[new.body.decode(), new.queue],
            task_id=new.id,
            queue=new.queue,
            countdown=new.delay or None,
            serializer="json",
            ignore_result=True,
            producer=producer,
            retry=False,
        )


def _locks(job: Job) -> bool:
    return any(isinstance(each, WithoutOverlapping) for each in all_middleware(job))


def install(app: Any) -> Any:
    """
    Add the task that runs jobs to a Celery application, and return it.

    It is acknowledged after it ran, and given to another worker when its own is lost: jobs run
    at least once, as in our queues.
    """
    made: Any = app.task(
        _run_task,
        bind=True,
        name=TASK,
        max_retries=None,
        acks_late=True,
        reject_on_worker_lost=True,
        ignore_result=True,
    )
    return made


def _run_task(
    task: Any, body: str, queue: str, attempts: int = 0, exceptions: int = 0, postponed: int = 0
) -> None:
    past = Past(attempts=attempts, exceptions=exceptions, postponed=postponed)
    outcome, error = run_payload(body.encode(), queue=queue, past=past)
    match outcome:
        case Finished():
            return
        case TryAgain(delay, exception):
            again = [body, queue, attempts + 1, exceptions + exception, postponed]
        case PutOff(delay):
            again = [body, queue, attempts, exceptions, postponed + 1]
        case GiveUp():
            raise failure_of(outcome, error)
    raise task.retry(args=again, countdown=math.ceil(delay), exc=error)


def run_payload(body: bytes, *, queue: str, past: Past) -> Tried:
    """
    Run the job of an encoded payload once, in this thread, and call its `failed` if that was it.

    A job that would end Celery's process fails: that process would be handed it for ever.
    """
    try:
        payload = decode_payload(body)
        job = registry.find(payload.job).decode_fields(payload.data)
    except (InvalidJob, UnknownJob) as refused:
        return Tried(unreadable(refused), refused)
    limits = limits_of(payload, asynchronous=is_async(job))
    current = CurrentJob(payload=payload, queue=queue, limits=limits, past=past)
    refusal = refuse_start(past=past, limits=limits, now=time.time())
    if refusal is not None:
        return give_up(job, current, refusal, _IN_A_TASK)
    return run_once(job, current, _IN_A_TASK)


def _decided(current: CurrentJob, error: BaseException | None) -> Outcome:
    chance = random.random()  # noqa: S311 - spreads retries
    return outcome_of(current, error, now=time.time(), chance=chance)


def _ends_process(error: BaseException) -> bool:
    """Return whether it is Celery that ends its process: by a class of its own, or a signal."""
    if not isinstance(error, SystemExit):
        return is_no_failure(error)
    return type(error) is not SystemExit or error.code in _EXITS_BY_SIGNAL


_IN_A_TASK = Terms(_decided, _ends_process, hook_seconds=ASYNC_TIMEOUT)
