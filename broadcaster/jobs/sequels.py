"""
What follows from a job that has ended: the next link of its chain, its part in a batch. Pure.

The effects are settled together with the job, so they happen if and only if it ended so,
and applying them again changes nothing: the jobs that they queue have ids derived from the
chain's, and a queue remembers which link of a chain it has had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.settlements import BatchMark, Culprit, Effect, Link, NewJob, Push
from broadcaster.jobs.outcome import Finished, GiveUp
from broadcaster.protocol.ids import derived_id
from broadcaster.protocol.payload import Cause, ChainPlace, NextJob, encode_payload

if TYPE_CHECKING:
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.protocol.payload import Payload


def sequels(payload: Payload, outcome: Outcome, *, now: float) -> tuple[Effect, ...]:
    """
    Return what follows from the job `payload`, which became `outcome`.

    A job that is to run again has no sequels. A failed link queues the callbacks of its chain;
    if it is retried by hand later and done then, the chain goes on.

    Args:
        now: Unix seconds, for jobs with a time in which they may be tried.
    """
    match outcome:
        case Finished(ends_chain):
            following = () if ends_chain else _next_link(payload, now)
            return (*following, *_mark(payload, None))
        case GiveUp(_, error):
            return (*_catch(payload, error, now), *_mark(payload, error))
        case _:
            return ()


def chained(place: ChainPlace, link: NextJob, *, now: float) -> NewJob:
    """
    Return `link` as the job at `place` of its chain.

    Raises:
        InvalidJob: it is too large with all that follows it.
    """
    job_id = derived_id("chain", place.id, place.index)
    payload = msgspec.structs.replace(
        link.payload, id=job_id, chain=place, retry_until=_deadline(link, now)
    )
    return NewJob(
        job_id, link.queue, encode_payload(payload), link.delay, link=Link(place.id, place.index)
    )


def called_back(link: NextJob, row: str, index: int, cause: Cause, *, now: float) -> NewJob:
    """
    Return `link` as a callback, told of its `cause`.

    Args:
        row: what it belongs to, unique for each kind of callback of one chain or batch.
        index: which of these it is.
    """
    job_id = derived_id("callback", row, index)
    payload = msgspec.structs.replace(
        link.payload, id=job_id, cause=cause, retry_until=_deadline(link, now)
    )
    return NewJob(job_id, link.queue, encode_payload(payload), link.delay, link=Link(row, index))


def _next_link(payload: Payload, now: float) -> tuple[Push, ...]:
    here = payload.chain
    if here is None or not here.next:
        return ()
    link, *rest = here.next
    place = ChainPlace(id=here.id, index=here.index + 1, next=tuple(rest), catch=here.catch)
    return (Push(chained(place, link, now=now)),)


def _catch(payload: Payload, error: str, now: float) -> tuple[Push, ...]:
    here = payload.chain
    if here is None:
        return ()
    cause = Cause(chain=here.id, job=payload.job, job_id=payload.id, error=error)
    row = f"{here.id}:catch"
    return tuple(
        Push(called_back(link, row, index, cause, now=now)) for index, link in enumerate(here.catch)
    )


def _mark(payload: Payload, error: str | None) -> tuple[BatchMark, ...]:
    place = payload.batch
    if place is None:
        return ()
    if error is None:
        return (BatchMark(place.id, place.index),)
    culprit = Culprit(payload.job, payload.id, error)
    return (BatchMark(place.id, place.index, failed=True, culprit=culprit),)


def _deadline(link: NextJob, now: float) -> float | None:
    within = link.payload.retry_for
    return link.payload.retry_until if within is None else now + link.delay + within
