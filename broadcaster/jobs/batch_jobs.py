"""
The jobs of a batch: which index each has, and how it is queued. Pure.

A chain in a batch has an index for each of its links, one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.jobs.bus import PreparedJob, follower, prepared
from broadcaster.jobs.chain import BatchLink, Chain
from broadcaster.protocol.ids import derived_id
from broadcaster.protocol.payload import BatchPlace, ChainPlace, NextJob

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.jobs.job import Job

Member = PreparedJob | Chain
"""What a batch is made of."""


def as_member(job: Job | PreparedJob | Chain) -> Member:
    """
    Return `job` as a batch keeps it.

    Raises:
        TypeError: it is no job.
        ValueError: a chain that has batches itself.
    """
    if not isinstance(job, Chain):
        return prepared(job)
    if any(isinstance(link, BatchLink) for link in job.jobs):
        raise ValueError(
            "a chain in a batch cannot have batches of its own: give it a job that dispatches one"
        )
    return job


def size(members: Iterable[Member]) -> int:
    """Return how many jobs these are."""
    return sum(len(each.jobs) if isinstance(each, Chain) else 1 for each in members)


def involved(members: Iterable[Member]) -> list[PreparedJob]:
    """Return all their jobs, callbacks of chains included."""
    found: list[PreparedJob] = []
    for each in members:
        found += each.involved if isinstance(each, Chain) else [each]
    return found


def heads(members: Iterable[Member]) -> list[Job]:
    """Return the jobs that are queued first: of a chain the first link."""
    return [_links(each)[0].job for each in members]


def placed(
    members: Iterable[Member], batch_id: str, first: int, *, default_queue: str, lanes: int
) -> list[NextJob]:
    """
    Return what is queued first, one for each of `members`, with ids and places.

    Args:
        first: index of the first job.
        default_queue: for jobs that name no queue.
        lanes: of each queue.
    """
    made: list[NextJob] = []
    for each in members:
        queue = (isinstance(each, Chain) and each.queue) or default_queue
        links = [
            _placed(job, batch_id, first + at, queue, lanes) for at, job in enumerate(_links(each))
        ]
        made.append(_chained(each, links, queue, lanes) if isinstance(each, Chain) else links[0])
        first += len(links)
    return made


def job_id(batch_id: str, index: int) -> str:
    """Return the id of the job `index` of a batch."""
    return derived_id("batch", batch_id, index)


def job_ids(batch_id: str, indices: Iterable[int]) -> frozenset[str]:
    """Return the ids of these jobs of a batch."""
    return frozenset(job_id(batch_id, index) for index in indices)


def _links(member: Member) -> Sequence[PreparedJob]:
    if isinstance(member, PreparedJob):
        return [member]
    return [link for link in member.jobs if isinstance(link, PreparedJob)]


def _placed(job: PreparedJob, batch_id: str, index: int, queue: str, lanes: int) -> NextJob:
    carried = follower(job, queue, job_id(batch_id, index), lanes)
    place = BatchPlace(id=batch_id, index=index, always=not job.options.skip_cancelled)
    payload = msgspec.structs.replace(carried.payload, batch=place)
    return msgspec.structs.replace(carried, payload=payload)


def _chained(chain: Chain, links: Sequence[NextJob], queue: str, lanes: int) -> NextJob:
    head, *rest = links
    chain_id = derived_id("chain in a batch", head.payload.id)
    catches = tuple(follower(job, queue, chain_id, lanes) for job in chain.catches)
    place = ChainPlace(id=chain_id, index=0, next=tuple(rest), catch=catches)
    payload = msgspec.structs.replace(head.payload, chain=place)
    return msgspec.structs.replace(head, payload=payload)
