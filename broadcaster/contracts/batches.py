"""
Batches: what many jobs have come to together.

A job of a batch is known by its index, from 0; its job id is derived from both, so whoever
pushes or marks it again changes nothing. An index is *done* once one run of its job was
done, and *failed* when its job failed for good and no retry of it was done since: done is
final, whatever comes later.

Callbacks become due once each and are queued by whoever marks:

- ``then``: when every job is done, and it is not cancelled (a job that was skipped is done),
- ``catch``: when the first one fails,
- ``finally``: when every job is done or failed,
- ``next``: when every job is done, or failed where failures are allowed, and it is not
  cancelled: the chain that it is a link of goes on,
- ``broken``: when every job is done or failed, and it was cancelled without a failure that
  ``catch`` has told: that chain ends.

`mark` returns what is due until `called` takes it off the list, so a worker that dies in
between leaves it to the next one; a callback is a job with a `Link`, so it is queued once.
Those of ``catch`` are left to who marks a failure, so that not everybody who marks queues them
meanwhile; what a dead worker has marked is marked again (`due_by`). They are told of the job
that was marked first of those that failed, whoever queues them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from broadcaster.protocol.payload import blaming, refreshed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from broadcaster.contracts.settlements import BatchMark, Culprit, NewJob

Moment = Literal["then", "catch", "finally", "next", "broken"]

MAX_BATCH = 1_000_000
"""Jobs a batch may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """
    A batch to be kept.

    Attributes:
        id: 32 hex digits.
        name: for people.
        total: number of jobs at the start.
        allow_failures: the first failure does not cancel it.
        options: what the caller wants to find with it; JSON types.
        callbacks: jobs to queue, each with a `Link`, in their order.
    """

    id: str
    name: str = ""
    total: int = 0
    allow_failures: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    callbacks: Mapping[Moment, Sequence[NewJob]] = field(
        default_factory=dict[Moment, "Sequence[NewJob]"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """
    A batch as it is now.

    Attributes:
        total: number of jobs.
        pending: jobs that are not done; failed ones are among them.
        failed: jobs that failed.
        created_at: Unix seconds, by the store's clock, as are the others.
        cancelled_at: when it was cancelled, or None.
        finished_at: when every job had run, or None.
    """

    id: str
    name: str
    total: int
    pending: int
    failed: int
    allow_failures: bool
    options: Mapping[str, Any]
    created_at: float
    cancelled_at: float | None = None
    finished_at: float | None = None

    @property
    def processed(self) -> int:
        """Number of jobs that are done."""
        return self.total - self.pending

    @property
    def progress(self) -> int:
        """Jobs that are done, in per cent; 0 for a batch without jobs."""
        return round(self.processed / self.total * 100) if self.total else 0

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.cancelled_at is not None

    @property
    def finished(self) -> bool:
        """Whether every job has run."""
        return self.finished_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """
    What marking one job of a batch has brought.

    Attributes:
        found: the batch exists.
        first: this call changed the batch; it was no repetition.
        batch: afterwards.
        due: callbacks to queue now and then to report by `Batches.called`; see `due_by`.
        culprit: what failed first, for those of ``catch``, while they are due.
    """

    found: bool
    first: bool = False
    batch: BatchRecord | None = None
    due: Mapping[Moment, Sequence[NewJob]] = field(default_factory=dict[Moment, "Sequence[NewJob]"])
    culprit: Culprit | None = None


def due_by(
    due: Mapping[Moment, Sequence[NewJob]], marks: Iterable[BatchMark]
) -> dict[Moment, Sequence[NewJob]]:
    """Return what of `due`, as `Marked.due`, is to be queued by who has made `marks`."""
    failed = any(mark.failed for mark in marks)
    return {moment: jobs for moment, jobs in due.items() if failed or moment != "catch"}


def callbacks_due(
    due: Mapping[Moment, Sequence[NewJob]], culprit: Culprit | None = None, *, now: float
) -> list[NewJob]:
    """
    Return the jobs to queue, those of ``catch`` told who failed first.

    Args:
        due, culprit: as of `Marked`.
        now: Unix seconds; the time in which they may be tried begins.
    """
    return [
        _called(job, culprit if moment == "catch" else None, now)
        for moment, jobs in due.items()
        for job in jobs
    ]


class Batches(Protocol):
    """
    A store of batches; those that finished are kept for a week.

    Drivers raise `DriverUnavailable` and `DriverRefused`. Every call is one atomic step and
    may be repeated.
    """

    def create(self, batch: NewBatch) -> bool:
        """Keep `batch`; False if it is there already. One without jobs is finished at once."""
        ...

    async def acreate(self, batch: NewBatch) -> bool:
        """See `create`."""
        ...

    def add(self, batch_id: str, request_id: str, count: int) -> int | None:
        """
        Add `count` jobs while the batch runs; return the index of the first.

        The same `request_id` gets the same index again. None: it does not exist, is
        finished or cancelled, or would have over `MAX_BATCH` jobs.
        """
        ...

    async def aadd(self, batch_id: str, request_id: str, count: int) -> int | None:
        """See `add`."""
        ...

    def mark(
        self, batch_id: str, index: int, *, failed: bool = False, culprit: Culprit | None = None
    ) -> Marked:
        """
        Note how the job `index` ended; a first failure cancels the batch unless allowed.

        Args:
            culprit: what callbacks are told if it is the first that failed.
        """
        ...

    async def amark(
        self, batch_id: str, index: int, *, failed: bool = False, culprit: Culprit | None = None
    ) -> Marked:
        """See `mark`."""
        ...

    def called(self, batch_id: str, moments: Sequence[Moment]) -> None:
        """Take callbacks off the list of those that are due: they are queued."""
        ...

    async def acalled(self, batch_id: str, moments: Sequence[Moment]) -> None:
        """See `called`."""
        ...

    def due(self, batch_id: str) -> Marked:
        """Return what is due, marking nothing; for a batch that was created without jobs."""
        ...

    async def adue(self, batch_id: str) -> Marked:
        """See `due`."""
        ...

    def ended(self, batch_id: str) -> Collection[int]:
        """Return the indices that are done or failed, to leave them out where it is begun again."""
        ...

    async def aended(self, batch_id: str) -> Collection[int]:
        """See `ended`."""
        ...

    def cancel(self, batch_id: str) -> bool:
        """Cancel it; False if it does not exist, was cancelled or is finished."""
        ...

    async def acancel(self, batch_id: str) -> bool:
        """See `cancel`."""
        ...

    def reopen(self, batch_id: str) -> Sequence[int]:
        """
        Return the indices that failed, to run them again, and take back a cancellation.

        One of a batch in which nothing failed stays.
        """
        ...

    async def areopen(self, batch_id: str) -> Sequence[int]:
        """See `reopen`."""
        ...

    def find(self, batch_id: str) -> BatchRecord | None:
        """Return a batch, or None."""
        ...

    async def afind(self, batch_id: str) -> BatchRecord | None:
        """See `find`."""
        ...

    def callbacks(self, batch_id: str) -> Mapping[Moment, Sequence[NewJob]]:
        """Return the callbacks of a batch that were not queued yet; none if it is not there."""
        ...

    def newest(self, limit: int = 100, before: float | None = None) -> Sequence[BatchRecord]:
        """Return the latest batches, newest first, created before `before` (Unix seconds)."""
        ...

    def prune(self, older_than: float, *, unfinished: bool = False) -> int:
        """
        Delete batches that finished over `older_than` seconds ago; return their number.

        Args:
            unfinished: those that began so long ago instead, whatever became of them.
        """
        ...


def _called(job: NewJob, culprit: Culprit | None, now: float) -> NewJob:
    body = job.body
    if culprit is not None:
        body = blaming(body, job=culprit.job, job_id=culprit.id, error=culprit.error)
    if b'"retry_for"' in body:
        body = refreshed(body, now=now + job.delay)
    return job if body is job.body else replace(job, body=body)
