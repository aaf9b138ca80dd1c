"""
How jobs and effects are written down, until somebody does what they say.

JSON with a schema: an outbox entry is a list of tagged objects, the callbacks of a batch a
list of jobs. Bodies are base64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.queue import BatchMark, Link, NewJob, Owed, Push, Unique
from broadcaster.contracts.settlements import Culprit
from broadcaster.drivers.redis.stored_numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.contracts.queue import Effect
    from broadcaster.contracts.settlements import GivenUp


class _Job(msgspec.Struct, tag="push", omit_defaults=True, frozen=True):
    id: str
    queue: str
    body: bytes
    delay: float = 0.0
    unique: tuple[str, float] | None = None
    link: tuple[str, int] | None = None


class _Mark(msgspec.Struct, tag="mark", omit_defaults=True, frozen=True):
    batch: str
    index: int
    failed: bool = False
    culprit: Culprit | None = None


_GIVEN_UP: dict[bytes, GivenUp] = {b"c": "crashed", b"x": "cancelled"}

MAX_ERROR = 2_000
"""Characters of an error that are kept of who failed first in a batch."""

_jobs = msgspec.json.Decoder(list[_Job])
_effects = msgspec.json.Decoder(list[_Job | _Mark])
_culprit = msgspec.json.Decoder(Culprit)


def encode_effects(effects: Iterable[Effect]) -> bytes:
    """Return `effects` as they lie in an outbox."""
    return msgspec.json.encode([_written(effect) for effect in effects])


def encode_jobs(jobs: Iterable[NewJob]) -> bytes:
    """Return `jobs` as they lie in a batch."""
    return msgspec.json.encode([_job(job) for job in jobs])


def decode_jobs(data: bytes) -> list[NewJob]:
    """Return the jobs that `encode_jobs` wrote; nothing for anything else."""
    try:
        return [_read_job(job) for job in _jobs.decode(data)]
    except (ValueError, RecursionError):
        return []


def encode_culprit(culprit: Culprit) -> bytes:
    """Return `culprit` as it lies in a batch: of bounded size, whatever was raised."""
    error = culprit.error[:MAX_ERROR].encode("utf-8", "replace").decode()
    return msgspec.json.encode(culprit._replace(error=error))


def decode_culprit(data: bytes) -> Culprit | None:
    """Return what `encode_culprit` wrote; None for anything else."""
    try:
        return _culprit.decode(data) if data else None
    except (ValueError, RecursionError):
        return None


def decode_owed(entry: str, value: bytes) -> Owed:
    """
    Return an entry of an outbox.

    Anything that was not written here owes nothing, and is forgotten when that is done.
    """
    job_id = entry.partition(":")[0]
    if value[:1] in _GIVEN_UP:
        tries, _, body = value[1:].partition(b":")
        return Owed(entry, (), job_id, body, number(tries), _GIVEN_UP[value[:1]])
    try:
        read = _effects.decode(value[1:])
    except (ValueError, RecursionError):
        return Owed(entry, (), job_id)
    return Owed(entry, tuple(_read(effect) for effect in read), job_id)


def pushes(owed: Sequence[Owed]) -> list[NewJob]:
    """Return the jobs to queue, in order."""
    return [
        effect.job
        for entry in owed
        for effect in entry.effects
        if not isinstance(effect, BatchMark)
    ]


def marks(owed: Sequence[Owed]) -> dict[str, list[BatchMark]]:
    """Return the marks of each batch, in order."""
    found: dict[str, list[BatchMark]] = {}
    for entry in owed:
        for effect in entry.effects:
            if isinstance(effect, BatchMark):
                found.setdefault(effect.batch_id, []).append(effect)
    return found


def _written(effect: Effect) -> _Job | _Mark:
    if isinstance(effect, BatchMark):
        return _Mark(effect.batch_id, effect.index, effect.failed, effect.culprit)
    return _job(effect.job)


def _job(job: NewJob) -> _Job:
    unique = None if job.unique is None else (job.unique.key, job.unique.seconds)
    link = None if job.link is None else (job.link.row, job.link.index)
    return _Job(job.id, job.queue, job.body, job.delay, unique, link)


def _read(effect: _Job | _Mark) -> Effect:
    if isinstance(effect, _Mark):
        return BatchMark(effect.batch, effect.index, effect.failed, effect.culprit)
    return Push(_read_job(effect))


def _read_job(job: _Job) -> NewJob:
    unique = None if job.unique is None else Unique(*job.unique)
    link = None if job.link is None else Link(*job.link)
    return NewJob(job.id, job.queue, job.body, job.delay, unique, link)
