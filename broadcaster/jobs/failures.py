"""
What people do to failed jobs, over their store and the listeners of this process.

::

    retry_failed(current.application().failed_jobs, [job_id])

The command ``broadcaster failed`` and `Batch.retry_failed` go the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.jobs.announcing import announce, wanted
from broadcaster.jobs.lifecycle import JobRetryRequested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.stores import FailedFilter, FailedJob, FailedJobs

MAX_SEARCHED = 100_000
"""Failed jobs, the newest, that a search looks at."""
_PAGE = 200


def find_failed(
    store: FailedJobs, where: FailedFilter, search: str = "", limit: int = MAX_SEARCHED
) -> list[FailedJob]:
    """
    Return failed jobs, the newest first.

    Args:
        search: text that the class, the exception or the error has, in any case; empty is
            anything. What jobs carry is not searched.
        limit: how many at most.
    """
    if not search:
        return list(store.find(limit=limit, where=where))
    text = search.casefold()
    jobs = store.find(limit=MAX_SEARCHED, where=where)
    hits = [job for job in jobs if text in f"{job.job} {job.exception} {job.error}".casefold()]
    return hits[:limit]


def retry_failed(store: FailedJobs, job_ids: Sequence[str], *, insist: bool = True) -> int:
    """
    Queue these failed jobs again with all their tries; return how many were.

    `JobRetryRequested` is told before of each that was not retried yet, and the time of `retry_until` begins anew.

    Args:
        insist: they run even if their batch is cancelled.
    """
    if not wanted(JobRetryRequested):
        return len(store.retry(job_ids, insist=insist))
    count = 0
    for first in range(0, len(job_ids), _PAGE):
        page = job_ids[first : first + _PAGE]
        _announce(store.get_many(page))
        count += len(store.retry(page, insist=insist))
    return count


def retry_found(store: FailedJobs, where: FailedFilter, search: str = "") -> int:
    """Queue all failed jobs again that are meant; return how many were; see `retry_failed`."""
    if not search and not wanted(JobRetryRequested):
        return len(store.retry_all(where=where))
    jobs = find_failed(store, where, search)
    count = 0
    for first in range(0, len(jobs), _PAGE):
        page = jobs[first : first + _PAGE]
        _announce(page)
        count += len(store.retry([job.id for job in page]))
    return count


def _announce(jobs: Sequence[FailedJob]) -> None:
    for job in jobs:
        if job.retried_at is None:
            announce(JobRetryRequested(job=job))
