"""
The verb that takes a job back: ``cancel_job(job_id)``, and its coroutine `acancel_job`.

A job that waits is forgotten. One that runs ends in peace and is not tried again. For its batch
it has failed, its chain breaks, and a worker calls its `failed`. The command ``broadcaster queue
cancel`` does the same.
"""

from __future__ import annotations

from broadcaster import current
from broadcaster.protocol.ids import may_be_id


def cancel_job(job_id: str, *, connection: str | None = None) -> bool:
    """
    Take a job back; return False if it has ended, or never was.

    A job that has failed is no longer there to be cancelled: ``broadcaster failed forget``.

    Args:
        job_id: what `dispatch` returned. What is no id is no job.
        connection: the queue connection that it is on; None is that of ``[queue]``.

    Raises:
        NotConfigured: no Redis server was found.
        ConfigurationError: no such connection, or its jobs wait nowhere (``sync``, ``null``) or
            with somebody else (``celery``).
        DriverUnavailable: Redis did not answer within 2 s; repeating it does no harm.
    """
    admin = current.application().served(connection).admin
    return may_be_id(job_id) and admin.cancel(None, [job_id]) > 0


async def acancel_job(job_id: str, *, connection: str | None = None) -> bool:
    """Take a job back, from a coroutine; see `cancel_job`."""
    admin = current.application().served(connection).admin
    return may_be_id(job_id) and await admin.acancel(None, [job_id]) > 0
