"""
The job that starts a batch which is a link of a chain: ``broadcaster.batch``.

It carries all jobs of the batch, as a chain carries its links. Run twice it starts the batch
once: ids and places were decided when the chain was dispatched. The batch then has the rest
of the chain among its callbacks (``next``, ``broken``; see `broadcaster.contracts.batches`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from broadcaster import current
from broadcaster.contracts.batches import Moment, NewBatch
from broadcaster.jobs.batch import CONNECTION, abegin_batch
from broadcaster.jobs.bus import Sending
from broadcaster.jobs.job import Job
from broadcaster.jobs.registry import registry
from broadcaster.jobs.running import require_current_job
from broadcaster.jobs.sequels import called_back, caught_by, next_link, queued
from broadcaster.protocol.payload import BATCH_JOB, Cause, NextJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.settlements import NewJob
    from broadcaster.protocol.payload import Payload


class StartBatch(Job, name=BATCH_JOB, tries=25, backoff=[1, 2, 5, 10, 30, 60], timeout=0):
    """
    Starts a batch.

    Attributes:
        batch_id: of the batch.
        title, failures_allowed, bag: as of `broadcaster.jobs.pending_batch.PendingBatch`.
        total: number of its jobs, links of chains included.
        jobs: what is queued at once, with ids and places.
        callbacks: jobs to queue, by moment.
    """

    batch_id: str
    title: str
    failures_allowed: bool
    bag: dict[str, Any]
    total: int
    jobs: list[NextJob]
    callbacks: dict[Moment, list[NextJob]]

    async def handle(self) -> None:
        """Keep the batch and queue its jobs; of one without jobs, its callbacks."""
        payload, application = require_current_job("StartBatch").payload, current.application()
        connection, store = application.connection(self.bag.get(CONNECTION)), application.batches
        now = time.time()
        sending = Sending(connection, self.first_jobs(now=now))
        await abegin_batch(store, self.new_batch(payload, now=now), sending)

    def new_batch(self, payload: Payload, *, now: float) -> NewBatch:
        """
        Return the batch with what it calls back, the rest of the chain included.

        Args:
            payload: of this job.
            now: Unix seconds.
        """
        callbacks = called_at(self.batch_id, self.callbacks, now=now)
        following = next_link(payload, now=now)
        if following is not None:
            callbacks["next"] = [following]
        if not self.failures_allowed:  # told of the job by which it failed
            caught = caught_by(payload, Cause(batch=self.batch_id), now=now)
            callbacks["catch"] = [*callbacks.get("catch", ()), *caught]
        cancelled = f"the batch {self.title or self.batch_id} was cancelled"
        callbacks["broken"] = caught_by(
            payload, Cause(batch=self.batch_id, error=cancelled), now=now
        )
        return NewBatch(
            id=self.batch_id,
            name=self.title,
            total=self.total,
            allow_failures=self.failures_allowed,
            options=self.bag,
            callbacks={moment: jobs for moment, jobs in callbacks.items() if jobs},
        )

    @property
    def members(self) -> list[Job]:
        """
        All jobs of the batch, links of its chains included.

        Raises:
            UnknownJob, InvalidJob: one cannot be made of its payload here.
        """
        payloads: list[Payload] = []
        for job in self.jobs:
            rest = job.payload.chain.next if job.payload.chain else ()
            payloads += [job.payload, *(link.payload for link in rest)]
        return [registry.find(each.job).decode_fields(each.data) for each in payloads]

    def __repr__(self) -> str:
        name = f" {self.title!r}" if self.title else ""
        return f"batch{name} of {self.total} jobs"

    def first_jobs(self, *, now: float) -> list[NewJob]:
        """Return the jobs that are queued at once."""
        return [queued(job, now=now) for job in self.jobs]


def called_at(
    batch_id: str, callbacks: Mapping[Moment, Sequence[NextJob]], *, now: float
) -> dict[Moment, Sequence[NewJob]]:
    """Return the callbacks of a batch as they are kept with it."""
    cause = Cause(batch=batch_id)
    return {
        moment: [
            called_back(link, f"{batch_id}:{moment}", index, cause, now=now)
            for index, link in enumerate(links)
        ]
        for moment, links in callbacks.items()
    }
