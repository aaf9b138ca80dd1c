"""Failed jobs on Redis, each beside its queue; see `broadcaster.contracts.stores`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broadcaster.contracts.stores import FailedJob
from broadcaster.drivers.redis.client import translated
from broadcaster.drivers.redis.queue import decode_note, list_queues, queue_keys, read_id
from broadcaster.drivers.redis.scripts_loader import load_script, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis

    from broadcaster.drivers.redis.client import RedisClients

_PAGE = 500
_RETRY_KEYS = ["failed", "failed_jobs", "failed_notes", "jobs", "ready", "notify"]


class RedisFailedJobs:
    """Implements `broadcaster.contracts.stores.FailedJobs`."""

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients

    def find(self, *, queue: str | None = None, limit: int = 100) -> Sequence[FailedJob]:
        """See `FailedJobs.find`."""
        found: list[FailedJob] = []
        for name in self._names(queue):
            found += self._read(name, limit)
        found.sort(key=lambda job: job.failed_at, reverse=True)
        return found[:limit]

    def get(self, job_id: str) -> FailedJob | None:
        """See `FailedJobs.get`."""
        for queue in self._names(None):
            with translated(self._clients.sync):
                score: Any = self._clients.sync.zscore(self._key(queue, "failed"), job_id)
            if score is not None and (jobs := self._load(queue, [(job_id.encode(), score)])):
                return jobs[0]
        return None

    def retry(self, job_ids: Sequence[str]) -> int:
        """See `FailedJobs.retry`."""
        return sum(self._retry(queue, job_ids) for queue in self._names(None))

    def retry_all(self, queue: str | None = None) -> int:
        """See `FailedJobs.retry_all`. Jobs that fail meanwhile may be left."""
        return sum(self._page_through(name, self._retry) for name in self._names(queue))

    def forget(self, job_ids: Sequence[str]) -> int:
        """See `FailedJobs.forget`."""
        return sum(self._forget(queue, job_ids) for queue in self._names(None))

    def _names(self, queue: str | None) -> list[str]:
        return [queue] if queue is not None else list_queues(self._clients)

    def _key(self, queue: str, suffix: str) -> str:
        return self._clients.keys.queue(queue, suffix)

    def _read(self, queue: str, limit: int) -> list[FailedJob]:
        with translated(self._clients.sync):
            newest: Any = self._clients.sync.zrevrange(
                self._key(queue, "failed"), 0, limit - 1, withscores=True
            )
        return self._load(queue, newest)

    def _load(self, queue: str, scored: Sequence[tuple[bytes, float]]) -> list[FailedJob]:
        if not scored:
            return []
        ids = [job_id for job_id, _ in scored]
        with translated(self._clients.sync):
            bodies: Any = self._clients.sync.hmget(self._key(queue, "failed_jobs"), ids)
            notes: Any = self._clients.sync.hmget(self._key(queue, "failed_notes"), ids)
        jobs: list[FailedJob] = []
        for (job_id, score), body, note in zip(scored, bodies, notes, strict=True):
            if body is not None:
                reason, error, attempts = decode_note(note)
                jobs.append(
                    FailedJob(
                        id=read_id(job_id),
                        queue=queue,
                        failed_at=score / 1000,
                        reason=reason,
                        error=error,
                        attempts=attempts,
                        body=body,
                    )
                )
        return jobs

    def _page_through(self, queue: str, act: Callable[[str, Sequence[str | bytes]], int]) -> int:
        with translated(self._clients.sync):
            ids: Any = self._clients.sync.zrange(self._key(queue, "failed"), 0, -1)
        pages = (ids[first : first + _PAGE] for first in range(0, len(ids), _PAGE))
        return sum(act(queue, page) for page in pages)

    def _retry(self, queue: str, job_ids: Sequence[str | bytes]) -> int:
        keys = queue_keys(self._clients.keys, queue, _RETRY_KEYS)
        script = load_script("queue_retry")
        # Safe to repeat: what was put back is no longer failed.
        return int(run(self._clients.sync, script, keys, job_ids, repeat_lost=True))

    def _forget(self, queue: str, job_ids: Sequence[str | bytes]) -> int:
        client: redis.Redis = self._clients.sync
        with translated(client):
            pipeline = client.pipeline(transaction=True)
            pipeline.zrem(self._key(queue, "failed"), *job_ids)
            pipeline.hdel(self._key(queue, "failed_jobs"), *job_ids)
            pipeline.hdel(self._key(queue, "failed_notes"), *job_ids)
            removed: int = pipeline.execute()[0]
        return removed
