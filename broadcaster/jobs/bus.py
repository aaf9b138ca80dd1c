"""
The enqueue side: a job becomes a payload, a payload goes to its queue.

`new_job` decides everything and does no I/O; `dispatch` and `adispatch` hand its result
to the current application's queue.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.contracts.queue import NewJob
from broadcaster.jobs.delay import as_seconds
from broadcaster.protocol.ids import uuid7
from broadcaster.protocol.payload import Payload, encode_payload

if TYPE_CHECKING:
    from broadcaster.jobs.delay import Duration
    from broadcaster.jobs.job import Job

ID_BYTES = 10


def new_job(
    job: Job,
    *,
    now: float,
    randomness: bytes,
    default_queue: str,
    delay: Duration = 0.0,
    queue: str | None = None,
) -> NewJob:
    """
    Return `job` as it goes into a queue.

    Args:
        now: Unix seconds, for the id.
        randomness: 10 bytes, for the id.
        default_queue: for a class that names no queue.
        delay: wait at least this long before it runs.
        queue: instead of the class's queue.

    Raises:
        InvalidJob: its fields have no JSON form, do not fit their types, or are too large.
        ValueError: a delay that is negative or over a year.
    """
    options = job.options
    payload = Payload(
        id=uuid7(now, randomness),
        job=options.name,
        data=job.encode_fields(),
        tries=options.tries,
        backoff=options.backoff,
        timeout=options.timeout,
    )
    return NewJob(
        id=payload.id,
        queue=queue or options.queue or default_queue,
        body=encode_payload(payload),
        delay=as_seconds(delay, "delay"),
    )


def dispatch(job: Job, *, delay: Duration = 0.0, queue: str | None = None) -> str:
    """Queue `job` and return its id; see `Job.dispatch`."""
    application = current.application()
    new = new_job(
        job,
        now=time.time(),
        randomness=os.urandom(ID_BYTES),
        default_queue=application.default_queue,
        delay=delay,
        queue=queue,
    )
    application.queue.push([new])
    return new.id


async def adispatch(job: Job, *, delay: Duration = 0.0, queue: str | None = None) -> str:
    """Queue `job` from a coroutine and return its id; see `Job.dispatch`."""
    application = current.application()
    new = new_job(
        job,
        now=time.time(),
        randomness=os.urandom(ID_BYTES),
        default_queue=application.default_queue,
        delay=delay,
        queue=queue,
    )
    await application.queue.apush([new])
    return new.id
