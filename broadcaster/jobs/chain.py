"""
Chains: jobs of which each is queued when the one before it is done.

::

    chain([Charge(order=7), Pack(order=7), Ship(order=7)]).catch(Refund(order=7)).dispatch()
    chain([Open(7), batch([Check(7, 1), Check(7, 2)]), Close(7)]).dispatch()

A link that fails for good ends the chain and queues the jobs of `catch`, once; they find what
went wrong in `current_job().cause`. If that link is retried by hand later, and done then, the
chain goes on. A link may be a batch (`broadcaster.jobs.pending_batch`), which is started when
it is its turn; the next link comes when its last job has ended, unless it was cancelled.

Each job carries the links after it, so a chain of many large jobs may be too large for a
payload. Every link is queued exactly once, whatever is killed when, and like every job it
runs at least once. Unique locks are for jobs that are dispatched by themselves: links take none.
"""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.jobs import after_commit
from broadcaster.jobs.bus import PreparedJob, Sending, follower, fresh_id, prepared
from broadcaster.jobs.sequels import chained
from broadcaster.protocol.payload import MAX_LINKS, ChainPlace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.contracts.connections import QueueConnection
    from broadcaster.jobs.job import Job

_SHOWN = 3


def chain(jobs: Sequence[Job | PreparedJob | BatchLink]) -> Chain:
    """
    Return a chain of `jobs`, which runs when it is dispatched.

    Args:
        jobs: the links, jobs and batches (what `batch` returns).

    Raises:
        ValueError: no job, or over 1,000.
    """
    return Chain(tuple(job if isinstance(job, BatchLink) else prepared(job) for job in jobs))


class BatchLink(ABC):
    """
    A batch as a link of a chain: `broadcaster.jobs.pending_batch.PendingBatch`.

    Attributes:
        connection: name of the queue connection that it wants, or None.
    """

    __slots__ = ()

    connection: str | None

    @property
    @abstractmethod
    def involved(self) -> Sequence[PreparedJob]:
        """All its jobs, those of its chains and its callbacks included."""

    @abstractmethod
    def as_link(self, *, queue: str, connection: str | None, lanes: int) -> PreparedJob:
        """
        Return the job that starts the batch, under a new id.

        Args:
            queue: where jobs wait that name no queue.
            connection: name of the queue connection of the chain.
            lanes: of each queue.
        """


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

    jobs: tuple[PreparedJob | BatchLink, ...]
    catches: tuple[PreparedJob, ...] = ()
    queue: str | None = None
    connection: str | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.jobs) <= MAX_LINKS:
            raise ValueError(f"a chain has 1 to {MAX_LINKS:,} jobs, not {len(self.jobs)}")

    def __repr__(self) -> str:
        """Show the first links; there may be a thousand."""
        links = [*map(repr, self.jobs[:_SHOWN]), *(["..."] if len(self.jobs) > _SHOWN else [])]
        return f"<Chain of {len(self.jobs)} links: {', '.join(links)}>"

    def catch(self, *jobs: Job | PreparedJob) -> Chain:
        """Queue `jobs` too when a link fails for good."""
        return dataclasses.replace(self, catches=(*self.catches, *(prepared(job) for job in jobs)))

    def on_queue(self, queue: str) -> Chain:
        """Put links that name no queue into this one."""
        return dataclasses.replace(self, queue=queue)

    def on_connection(self, connection: str) -> Chain:
        """Put all links on the queue connection of this name."""
        return dataclasses.replace(self, connection=connection)

    def dispatch(self, *, after_commit: bool | None = None) -> str:
        """
        Queue the first link, and return the id of the chain; blocks for one round trip.

        Args:
            after_commit: wait until the open transaction commits; None is the choice of the
                first job.

        Raises:
            InvalidJob: a job cannot be queued, or all together are too large.
            ValueError: links on different connections.
            DriverUnavailable: the queue cannot be reached.
        """
        chain_id, sending = self._sending()
        if not self._waits(sending, chosen=after_commit):
            sending.send()
        return chain_id

    async def adispatch(self, *, after_commit: bool | None = None) -> str:
        """Queue the first link from a coroutine; see `dispatch`."""
        chain_id, sending = self._sending()
        if not self._waits(sending, chosen=after_commit):
            await sending.asend()
        return chain_id

    @property
    def involved(self) -> Sequence[PreparedJob]:
        """All its jobs, those of its batches and its callbacks included."""
        found: list[PreparedJob] = []
        for link in self.jobs:
            found += link.involved if isinstance(link, BatchLink) else [link]
        return [*found, *self.catches]

    def _sending(self) -> tuple[str, Sending]:
        own = [link.connection for link in self.jobs if isinstance(link, BatchLink)]
        name = one_connection(self.connection, self.involved, own)
        connection = current.application().connection(name)
        queue, lanes = self.queue or connection.default_queue, connection.lanes
        links = [
            link.as_link(queue=queue, connection=name, lanes=lanes)
            if isinstance(link, BatchLink)
            else link
            for link in self.jobs
        ]
        chain_id = fresh_id()
        carried = [follower(link, queue, chain_id, lanes) for link in links]
        catches = tuple(follower(job, queue, chain_id, lanes) for job in self.catches)
        place = ChainPlace(id=chain_id, index=0, next=tuple(carried[1:]), catch=catches)
        new = chained(place, carried[0], now=time.time())
        return chain_id, Sending(connection, [new], [links[0].job])

    def _waits(self, sending: Sending, *, chosen: bool | None) -> bool:
        waiting = waits(sending.connection, self.involved, chosen=chosen)
        return waiting and after_commit.postpone(sending)


def waits(connection: QueueConnection, jobs: Sequence[PreparedJob], *, chosen: bool | None) -> bool:
    """Whether `jobs` wait for the commit: as was chosen, or the first one or `connection` says."""
    said = jobs[0].options.after_commit if jobs and chosen is None else chosen
    return connection.after_commit if said is None else said


def one_connection(
    chosen: str | None, jobs: Iterable[PreparedJob], others: Iterable[str | None] = ()
) -> str | None:
    """
    Return the name of the connection that all `jobs` go to.

    Args:
        chosen: it, if it was chosen for all of them.
        others: names that must be the same.

    Raises:
        ValueError: they name several and none was chosen.
    """
    if chosen is not None:
        return chosen
    named = {*(job.options.connection for job in jobs), *others} - {None}
    if len(named) > 1:
        shown = ", ".join(sorted(str(name) for name in named))
        raise ValueError(
            f"these jobs name the connections {shown}, and one queue hands them on: "
            "choose it with on(connection=...)"
        )
    return next(iter(named), None)
