"""
Chains: jobs of which each is queued when the one before it is done.

::

    chain([Charge(order=7), Pack(order=7), Ship(order=7)]).catch(Refund(order=7)).dispatch()

A link that fails for good ends the chain and queues the jobs of `catch`, once; they find what
went wrong in `current_job().cause`. If that link is retried by hand later, and done then, the
chain goes on.

Each job carries the links after it, so a chain of many large jobs may be too large for a
payload. Every link is queued exactly once, whatever is killed when, and like every job it
runs at least once. Unique locks are for jobs that are dispatched by themselves: links take none.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.jobs import after_commit
from broadcaster.jobs.bus import Sending, follower, fresh_id, prepared
from broadcaster.jobs.sequels import chained
from broadcaster.protocol.lanes import LANES
from broadcaster.protocol.payload import MAX_LINKS, ChainPlace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.settlements import NewJob
    from broadcaster.jobs.bus import PreparedJob
    from broadcaster.jobs.job import Job


def chain(jobs: Sequence[Job | PreparedJob]) -> Chain:
    """
    Return a chain of `jobs`, which runs when it is dispatched.

    Raises:
        ValueError: no job, or over 1,000.
    """
    return Chain(tuple(prepared(job) for job in jobs))


@dataclasses.dataclass(frozen=True, slots=True)
class Chain:
    """
    Jobs to run one after the other; every method returns a changed copy.

    Attributes:
        jobs: the links.
        catches: jobs to queue when a link fails for good.
        queue: where links wait whose class and options name no queue.
        connection: name of the queue connection; None is that of the first link.
    """

    jobs: tuple[PreparedJob, ...]
    catches: tuple[PreparedJob, ...] = ()
    queue: str | None = None
    connection: str | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.jobs) <= MAX_LINKS:
            raise ValueError(f"a chain has 1 to {MAX_LINKS:,} jobs, not {len(self.jobs)}")

    def catch(self, *jobs: Job | PreparedJob) -> Chain:
        """Queue `jobs` too when a link fails for good."""
        return dataclasses.replace(self, catches=(*self.catches, *(prepared(job) for job in jobs)))

    def on(self, *, queue: str | None = None, connection: str | None = None) -> Chain:
        """Put links that name no queue into `queue`, and all of them on `connection`."""
        return dataclasses.replace(
            self, queue=queue or self.queue, connection=connection or self.connection
        )

    def dispatch(self, *, after_commit: bool | None = None) -> str:
        """
        Queue the first link, and return the id of the chain; blocks for one round trip.

        Args:
            after_commit: wait until the open transaction commits; None is the first link's
                choice.

        Raises:
            InvalidJob: a job cannot be queued, or all together are too large.
            ValueError: links on different connections.
            DriverUnavailable: the queue cannot be reached.
        """
        chain_id, sending = self._sending()
        if not self._waits(sending, after_commit):
            sending.send()
        return chain_id

    async def adispatch(self, *, after_commit: bool | None = None) -> str:
        """Queue the first link from a coroutine; see `dispatch`."""
        chain_id, sending = self._sending()
        if not self._waits(sending, after_commit):
            await sending.asend()
        return chain_id

    def new_job(
        self, *, chain_id: str, default_queue: str, now: float, lanes: int = LANES
    ) -> NewJob:
        """Return the first link as it goes into a queue, with all that follows."""
        queue = self.queue or default_queue
        links = [follower(job, queue, chain_id, lanes) for job in self.jobs]
        catches = tuple(follower(job, queue, chain_id, lanes) for job in self.catches)
        place = ChainPlace(id=chain_id, index=0, next=tuple(links[1:]), catch=catches)
        return chained(place, links[0], now=now)

    def _sending(self) -> tuple[str, Sending]:
        name = one_connection(self.connection, (*self.jobs, *self.catches))
        application = current.application()
        connection = application.connection(name)
        chain_id = fresh_id()
        new = self.new_job(
            chain_id=chain_id,
            default_queue=connection.default_queue,
            now=time.time(),
            lanes=application.rules.lanes,
        )
        return chain_id, Sending(connection, [new], [self.jobs[0].job])

    def _waits(self, sending: Sending, chosen: bool | None) -> bool:  # noqa: FBT001 - as given
        first = self.jobs[0].options.after_commit if chosen is None else chosen
        waits = sending.connection.after_commit if first is None else first
        return waits and after_commit.postpone(sending)


def one_connection(chosen: str | None, jobs: Sequence[PreparedJob]) -> str | None:
    """
    Return the connection that all `jobs` go to.

    Raises:
        ValueError: they name several and none was chosen.
    """
    if chosen is not None:
        return chosen
    named = {job.options.connection for job in jobs} - {None}
    if len(named) > 1:
        shown = ", ".join(sorted(str(name) for name in named))
        raise ValueError(
            f"these jobs name the connections {shown}, and one queue hands them on: "
            "choose it with on(connection=...)"
        )
    return next(iter(named), None)
