"""
What follows from a job that has ended: the next link of its chain, its part in a batch. Pure.

The effects are settled together with the job, so they happen if and only if it ended so,
and applying them again changes nothing: the jobs that they queue have ids derived from the
chain's, and a queue remembers which link of a chain it has had.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.settlements import BatchMark, Culprit, Effect, Link, NewJob, Push
from broadcaster.errors import InvalidJob
from broadcaster.jobs.outcome import Finished, GiveUp
from broadcaster.protocol.ids import derived_id
from broadcaster.protocol.payload import (
    BATCH_JOB,
    Cause,
    ChainPlace,
    NextJob,
    encode_payload,
    outline,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.jobs.outcome import Outcome
    from broadcaster.protocol.payload import Payload


def sequels(payload: Payload, outcome: Outcome, *, now: float) -> tuple[Effect, ...]:
    """
    Return what follows from the job `payload`, which became `outcome`.

    A job that is to run again has no sequels. A failed link queues the callbacks of its chain;
    if it is retried by hand later and done then, the chain goes on. In a batch the links that
    will not run now have failed with it, or are done if the chain ends without a failure, or
    was skipped: workers learn of a cancellation one after the other, and may be told that it
    was taken back, so a link is not left to skip itself. The job that starts a batch leaves
    the next link to that batch.

    Args:
        now: Unix seconds, for jobs with a time in which they may be tried.

    Raises:
        InvalidJob: of a job that is done: the next link cannot be written. That of one which
            was given up is always known.
    """
    if payload.chain is None and payload.batch is None:
        return ()
    match outcome:
        case Finished(ends_chain=True):
            return (*_mark(payload), *_mark_rest(payload))
        case Finished(skipped=True):
            return _skip(payload, now=now)
        case Finished():
            link = None if payload.job == BATCH_JOB else next_link(payload, now=now)
            return (*([] if link is None else [Push(link)]), *_mark(payload))
        case GiveUp(_, error):
            culprit = Culprit(payload.job, payload.id, error)
            cause = Cause(job=payload.job, job_id=payload.id, error=error)
            caught = map(Push, caught_by(payload, cause, now=now))
            return (*caught, *_mark(payload, culprit), *_mark_rest(payload, culprit))
        case _:
            return ()


def sequels_of_body(
    body: bytes, given_up: GiveUp, *, job_id: str, now: float
) -> tuple[Effect, ...]:
    """
    Return what follows from a job that cannot be run, as far as its body says.

    Args:
        job_id: its own; a body that was copied from another job says nothing of that.
        now: as of `sequels`.
    """
    known = outline(body)
    return () if known is None or known.id != job_id else sequels(known, given_up, now=now)


def chained(place: ChainPlace, link: NextJob, *, now: float) -> NewJob:
    """
    Return `link` as the job at `place` of its chain.

    Raises:
        InvalidJob: it is too large with all that follows it.
    """
    payload = link.payload
    # A job of a batch has its id from there, by which a failed one of the batch is found.
    job_id = payload.id if payload.batch else derived_id("chain", place.id, place.index)
    placed = msgspec.structs.replace(payload, id=job_id, chain=place)
    return queued(msgspec.structs.replace(link, payload=placed), now=now)


def queued(job: NextJob, *, now: float) -> NewJob:
    """
    Return `job`, which has its id and all its places, as it is queued now.

    Raises:
        InvalidJob: it is too large.
    """
    payload = job.payload
    if payload.retry_for is not None:
        payload = msgspec.structs.replace(payload, retry_until=_deadline(job, now))
    place = payload.chain
    link = None if place is None else Link(place.id, place.index)
    return NewJob(payload.id, job.queue, encode_payload(payload), job.delay, link=link)


def called_back(link: NextJob, row: str, index: int, cause: Cause, *, now: float) -> NewJob:
    """
    Return `link` as a callback, told of its `cause`; of less where a payload has no room for it.

    Args:
        row: what it belongs to, unique for each kind of callback of one chain or batch.
        index: which of these it is.
    """
    job_id = derived_id("callback", row, index)
    plain = msgspec.structs.replace(link.payload, id=job_id)
    until = _deadline(link, now)
    fits = (
        msgspec.structs.replace(plain, cause=told, retry_until=until)
        for told in (cause, msgspec.structs.replace(cause, error=""), Cause(), plain.cause)
    )
    body = _first_encoded((*fits, plain))
    return NewJob(job_id, link.queue, body, link.delay, link=Link(row, index))


def next_link(payload: Payload, *, now: float) -> NewJob | None:
    """Return what follows `payload` in its chain, or None."""
    here = payload.chain
    if here is None or not here.next:
        return None
    return _link(here, 0, now=now)


def caught_by(payload: Payload, cause: Cause, *, now: float) -> list[NewJob]:
    """Return the callbacks of the chain of `payload`, which broke there, told of its `cause`."""
    here = payload.chain
    if here is None:
        return []
    row, cause = f"{here.id}:catch", msgspec.structs.replace(cause, chain=here.id)
    return [called_back(link, row, index, cause, now=now) for index, link in enumerate(here.catch)]


def _link(here: ChainPlace, at: int, *, now: float) -> NewJob:
    """Return the link `at` of those behind `here`."""
    rest = here.next[at + 1 :]
    place = ChainPlace(id=here.id, index=here.index + 1 + at, next=rest, catch=here.catch)
    return chained(place, here.next[at], now=now)


def _skip(payload: Payload, *, now: float) -> tuple[Effect, ...]:
    """Return what follows when `payload` is skipped with the links behind it, up to one."""
    here, marks = payload.chain, _mark(payload)
    for at, link in enumerate(() if here is None else here.next):
        batch = link.payload.batch
        if here is not None and (batch is None or batch.always):
            return (Push(_link(here, at, now=now)), *marks)
        marks += _mark(link.payload)
    return marks


def _first_encoded(payloads: Iterable[Payload]) -> bytes:
    """Return the first of these that is not too large; the last one lay in a payload itself."""
    *longer, last = payloads
    for payload in longer:
        with contextlib.suppress(InvalidJob):
            return encode_payload(payload)
    return encode_payload(last)


def _mark(payload: Payload, culprit: Culprit | None = None) -> tuple[BatchMark, ...]:
    place = payload.batch
    if place is None:
        return ()
    return (BatchMark(place.id, place.index, failed=culprit is not None, culprit=culprit),)


def _mark_rest(payload: Payload, culprit: Culprit | None = None) -> tuple[BatchMark, ...]:
    links = () if payload.chain is None else payload.chain.next
    return tuple(mark for link in links for mark in _mark(link.payload, culprit))


def _deadline(link: NextJob, now: float) -> float | None:
    within = link.payload.retry_for
    return link.payload.retry_until if within is None else now + link.delay + within
