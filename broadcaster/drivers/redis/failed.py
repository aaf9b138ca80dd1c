"""Failed jobs on Redis, each beside its queue; see `broadcaster.contracts.stores`."""

from __future__ import annotations

import time
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from broadcaster.contracts.stores import FailedFilter, FailedJob
from broadcaster.drivers.redis.client import translated
from broadcaster.drivers.redis.queue import list_queues
from broadcaster.drivers.redis.queue_wire import (
    FORGET_FAILED_KEYS,
    RETRY_KEYS,
    Argument,
    decode_note,
    hint_of,
    queue_keys,
    read_id,
)
from broadcaster.drivers.redis.scripts_loader import load_behind, load_script, read, run
from broadcaster.drivers.redis.stored_numbers import number, unix_seconds
from broadcaster.protocol.lanes import split_lane
from broadcaster.protocol.payload import refreshed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.drivers.redis.client import RedisClients

_PAGE = 100  # of up to a megabyte each, and all in the time of one call
_ALL = FailedFilter()


class _Entry(NamedTuple):
    id: bytes
    job: FailedJob


class RedisFailedJobs:
    """
    Implements `broadcaster.contracts.stores.FailedJobs`.

    Args:
        connection: the queue connection whose server this is.
    """

    def __init__(self, clients: RedisClients, connection: str = "default") -> None:
        self._clients = clients
        self._connection = connection

    def find(
        self, *, queue: str | None = None, limit: int = 100, where: FailedFilter | None = None
    ) -> Sequence[FailedJob]:
        """See `FailedJobs.find`."""
        pages = [self._newest(name, where or _ALL) for name in self._names(queue, where)]
        # As Redis has those of one queue: of one millisecond, the higher id first.
        newest = merge(*pages, key=lambda entry: (entry.job.failed_at, entry.id), reverse=True)
        return [entry.job for entry in islice(newest, limit)]

    def get(self, job_id: str) -> FailedJob | None:
        """See `FailedJobs.get`."""
        return next(iter(self.get_many([job_id])), None)

    def get_many(self, job_ids: Sequence[str]) -> Sequence[FailedJob]:
        """See `FailedJobs.get_many`. Pages of ids share the round trips, and queues the first."""
        queues = self._names(None, None)
        found: dict[str, FailedJob] = {}
        for first in range(0, len(job_ids), _PAGE):
            page = list(dict.fromkeys(job_ids[first : first + _PAGE]))
            looks = [("ZMSCORE", self._key(queue, "failed"), *page) for queue in queues]
            told = read(self._clients.sync, looks) if looks else []
            for queue, scores in zip(queues, told, strict=True):
                there = [
                    (job_id.encode(), float(score))
                    for job_id, score in zip(page, scores, strict=True)
                    if score is not None and job_id not in found
                ]
                found |= {entry.job.id: entry.job for entry in self._load(queue, there)}
        return [found[job_id] for job_id in dict.fromkeys(job_ids) if job_id in found]

    def retry(self, job_ids: Sequence[str], *, insist: bool = True) -> Sequence[str]:
        """See `FailedJobs.retry`."""
        return [
            job_id
            for queue in self._names(None, None)
            for first in range(0, len(job_ids), _PAGE)
            for job_id in self._retry(queue, job_ids[first : first + _PAGE], insist=insist)
        ]

    def retry_all(
        self, queue: str | None = None, *, where: FailedFilter | None = None
    ) -> Sequence[str]:
        """See `FailedJobs.retry_all`. Jobs that fail meanwhile may be left."""
        put_back: list[str] = []
        for name in self._names(queue, where):
            for page in self._meant(name, where):
                put_back += self._retry(name, page)
        return put_back

    def forget(self, job_ids: Sequence[str], *, until: float | None = None) -> int:
        """See `FailedJobs.forget`."""
        return sum(
            self._forget(queue, job_ids[first : first + _PAGE], until)
            for queue in self._names(None, None)
            for first in range(0, len(job_ids), _PAGE)
        )

    def flush(self, *, where: FailedFilter | None = None) -> int:
        """See `FailedJobs.flush`."""
        return sum(
            self._forget(name, page)
            for name in self._names(None, where)
            for page in self._meant(name, where)
        )

    def prune(self, older_than: float) -> int:
        """See `FailedJobs.prune`."""
        with translated(self._clients.sync):
            seconds, micros = self._clients.sync.time()
        return self.flush(where=FailedFilter(until=seconds + micros / 1e6 - older_than))

    def _names(self, queue: str | None, where: FailedFilter | None) -> list[str]:
        if queue is None and where is not None:
            queue = where.queue
        names = list_queues(self._clients)
        if queue is not None:
            names = sorted({queue, *(name for name in names if split_lane(name)[0] == queue)})
        # Most queues, and most of their lanes, have none.
        counts = read(self._clients.sync, [("ZCARD", self._key(name, "failed")) for name in names])
        return [name for name, count in zip(names, counts, strict=True) if count]

    def _key(self, queue: str, suffix: str) -> str:
        return self._clients.keys.queue(queue, suffix)

    def _meant(self, queue: str, where: FailedFilter | None) -> Iterator[list[bytes]]:
        """Return pages of ids as they are now, so that changing them moves no page."""
        meant = [entry.id for entry in self._newest(queue, where or _ALL)]
        return (meant[first : first + _PAGE] for first in range(0, len(meant), _PAGE))

    def _newest(self, queue: str, where: FailedFilter) -> Iterator[_Entry]:
        """Return entries as they were found, each once, whatever fails or is forgotten meanwhile."""
        seen = set[bytes]()
        top: float | str = "+inf"
        beside = 0  # of those that were looked at, how many failed in the moment `top`
        while True:
            size = _PAGE + beside
            with translated(self._clients.sync):
                page: Any = self._clients.sync.zrevrangebyscore(
                    self._key(queue, "failed"), top, "-inf", start=0, num=size, withscores=True
                )
            for entry in self._load(queue, [one for one in page if one[0] not in seen]):
                if where.since is not None and entry.job.failed_at < where.since:
                    return
                if where.fits(entry.job):
                    yield entry
            if len(page) < size:
                return
            seen.update(job_id for job_id, _ in page)
            top = page[-1][1]
            beside = sum(score == top for _, score in page)

    def _load(self, queue: str, scored: Sequence[tuple[bytes, float]]) -> list[_Entry]:
        if not scored:
            return []
        ids = [job_id for job_id, _ in scored]
        suffixes = ("failed_jobs", "failed_notes", "failed_retried")
        parts = read(
            self._clients.sync, [("HMGET", self._key(queue, suffix), *ids) for suffix in suffixes]
        )
        entries: list[_Entry] = []
        for (job_id, score), body, note, retried in zip(scored, *parts, strict=True):
            kept = decode_note(note)
            job = FailedJob(
                id=read_id(job_id),
                queue=queue,
                failed_at=unix_seconds(score),
                reason=kept.reason,
                error=kept.error,
                attempts=kept.attempts,
                body=body or b"",
                job=kept.job,
                exception=kept.exception,
                traceback=kept.traceback,
                retried_at=None if retried is None else unix_seconds(number(retried)),
                connection=self._connection,
            )
            entries.append(_Entry(job_id, job))
        return entries

    def _retry(
        self, queue: str, job_ids: Sequence[str | bytes], *, insist: bool = True
    ) -> list[str]:
        args: list[Argument] = [hint_of(queue)]
        bodies: list[Any]
        (bodies,) = read(self._clients.sync, [("HMGET", self._key(queue, "failed_jobs"), *job_ids)])
        now = time.time()
        for job_id, body in zip(job_ids, bodies, strict=True):
            args += (job_id, b"" if body is None else refreshed(body, now=now, insist=insist))
        keys = queue_keys(self._clients.keys, queue, RETRY_KEYS)
        # Safe to repeat: what was put back is no longer failed.
        ids = run(
            self._clients.sync,
            load_behind("queue_retry", "queue_start"),
            keys,
            args,
            repeat_lost=True,
        )
        return [read_id(job_id) for job_id in ids]

    def _forget(
        self, queue: str, job_ids: Sequence[str | bytes], until: float | None = None
    ) -> int:
        if not job_ids:
            return 0
        keys = queue_keys(self._clients.keys, queue, FORGET_FAILED_KEYS)
        script = load_script("queue_forget_failed")
        latest = "" if until is None else round(until * 1000)
        args: list[Argument] = [latest, *job_ids]
        return int(run(self._clients.sync, script, keys, args, repeat_lost=True))
