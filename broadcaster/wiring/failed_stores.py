"""
Failed jobs of all queue connections, in Redis or in a database.

Each connection keeps its failed jobs beside its queues. With ``failed.driver = "sql"`` they
are carried over from there: by workers every few seconds, and by whoever looks at them before
each look, so nobody sees less than there is.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from broadcaster.contracts.stores import FailedFilter
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import ConfigurationError, DriverError
from broadcaster.settings_queues import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from broadcaster.contracts.queue import NewJob, Pushed
    from broadcaster.contracts.stores import FailedJob, FailedJobs
    from broadcaster.integrations.sqlalchemy_failed import SqlFailedJobs
    from broadcaster.settings import Settings

_log = logging.getLogger("broadcaster.queue")
_ALL = FailedFilter()


class FailedJobsOfConnections:
    """
    Implements `FailedJobs` over several stores.

    Args:
        stores: by the name of their connection.
    """

    def __init__(self, stores: Mapping[str, FailedJobs]) -> None:
        self._stores = stores

    def find(
        self, *, queue: str | None = None, limit: int = 100, where: FailedFilter | None = None
    ) -> Sequence[FailedJob]:
        """See `FailedJobs.find`."""
        found = [each.find(queue=queue, limit=limit, where=where) for each in self._meant(where)]
        newest = merge(*found, key=lambda job: (job.failed_at, job.id), reverse=True)
        return list(islice(newest, limit))

    def get(self, job_id: str) -> FailedJob | None:
        """See `FailedJobs.get`."""
        found = (each.get(job_id) for each in self._stores.values())
        return next((job for job in found if job is not None), None)

    def get_many(self, job_ids: Sequence[str]) -> Sequence[FailedJob]:
        """See `FailedJobs.get_many`."""
        found: dict[str, FailedJob] = {}
        for each in self._stores.values():
            left = [job_id for job_id in job_ids if job_id not in found]
            found |= {job.id: job for job in each.get_many(left)}
        return [found[job_id] for job_id in dict.fromkeys(job_ids) if job_id in found]

    def retry(self, job_ids: Sequence[str], *, insist: bool = True) -> Sequence[str]:
        """See `FailedJobs.retry`."""
        return [
            job_id
            for each in self._stores.values()
            for job_id in each.retry(job_ids, insist=insist)
        ]

    def retry_all(
        self, queue: str | None = None, *, where: FailedFilter | None = None
    ) -> Sequence[str]:
        """See `FailedJobs.retry_all`."""
        return [
            job_id for each in self._meant(where) for job_id in each.retry_all(queue, where=where)
        ]

    def forget(self, job_ids: Sequence[str], *, until: float | None = None) -> int:
        """See `FailedJobs.forget`."""
        return sum(each.forget(job_ids, until=until) for each in self._stores.values())

    def flush(self, *, where: FailedFilter | None = None) -> int:
        """See `FailedJobs.flush`."""
        return sum(each.flush(where=where) for each in self._meant(where))

    def prune(self, older_than: float) -> int:
        """See `FailedJobs.prune`."""
        return sum(each.prune(older_than) for each in self._stores.values())

    def _meant(self, where: FailedFilter | None) -> Sequence[FailedJobs]:
        name = (where or _ALL).connection
        if name is None:
            return list(self._stores.values())
        return [self._stores[name]] if name in self._stores else []


class CarriedFailedJobs:
    """
    Implements `FailedJobs` on a database into which those of Redis are carried.

    Args:
        fresh: where jobs fail, by the name of the connection.
        archive: where they are kept.
        carry: moves them from the one to the other, and returns how many there were.
    """

    def __init__(
        self,
        fresh: Mapping[str, FailedJobs],
        archive: SqlFailedJobs,
        carry: Callable[[FailedJobs, SqlFailedJobs], int],
    ) -> None:
        self._fresh = fresh
        self._archive = archive
        self._move = carry
        self._made = False

    def carry(self) -> int:
        """
        Carry over what has failed; return how many jobs.

        Raises:
            DriverUnavailable, DriverRefused: Redis or the database cannot be used; what was
                carried is carried.
        """
        if not self._made:
            self._archive.create()
            self._made = True
        return sum(self._move(each, self._archive) for each in self._fresh.values())

    def counts(self) -> Mapping[str, int]:
        """Return how many failed jobs of these connections nobody put back, by queue or lane."""
        found = self._looked_after().counts().items()
        return {queue: count for (name, queue), count in found if name in self._fresh}

    def find(
        self, *, queue: str | None = None, limit: int = 100, where: FailedFilter | None = None
    ) -> Sequence[FailedJob]:
        """See `FailedJobs.find`."""
        return self._looked_after().find(queue=queue, limit=limit, where=where)

    def get(self, job_id: str) -> FailedJob | None:
        """See `FailedJobs.get`."""
        return self._looked_after().get(job_id)

    def get_many(self, job_ids: Sequence[str]) -> Sequence[FailedJob]:
        """See `FailedJobs.get_many`."""
        return self._looked_after().get_many(job_ids)

    def retry(self, job_ids: Sequence[str], *, insist: bool = True) -> Sequence[str]:
        """See `FailedJobs.retry`."""
        return self._looked_after().retry(job_ids, insist=insist)

    def retry_all(
        self, queue: str | None = None, *, where: FailedFilter | None = None
    ) -> Sequence[str]:
        """See `FailedJobs.retry_all`."""
        return self._looked_after().retry_all(queue, where=where)

    def forget(self, job_ids: Sequence[str], *, until: float | None = None) -> int:
        """See `FailedJobs.forget`."""
        return self._looked_after().forget(job_ids, until=until)

    def flush(self, *, where: FailedFilter | None = None) -> int:
        """See `FailedJobs.flush`."""
        return self._looked_after().flush(where=where)

    def prune(self, older_than: float) -> int:
        """See `FailedJobs.prune`."""
        return self._looked_after().prune(older_than)

    def _looked_after(self) -> SqlFailedJobs:
        """Return the archive with all that can be carried; whoever looks is told of the rest."""
        try:
            self.carry()
        except DriverError as error:
            text = "failed jobs of the last moments may be missing: %s"
            _log.warning(text, error, extra={"event": "failed_not_carried"})
        return self._archive


class FailedStores:
    """
    Where failed jobs are found.

    Args:
        settings: say where they are kept.
        clients: connections to the servers on which jobs fail, by the name of the queue
            connection (`servers`); whoever made them closes them.

    Attributes:
        carried: the database, or None if they stay in Redis.
        store: the one or the other.

    Raises:
        ConfigurationError: the database is not named, or cannot be used.
    """

    def __init__(self, settings: Settings, clients: Mapping[str, RedisClients]) -> None:
        self._clients = clients
        fresh = {name: RedisFailedJobs(each, name) for name, each in clients.items()}
        self.carried = None if settings.failed.driver == "redis" else self._sql(settings, fresh)
        self.store: FailedJobs = self.carried or FailedJobsOfConnections(fresh)

    def _sql(self, settings: Settings, fresh: Mapping[str, FailedJobs]) -> CarriedFailedJobs:
        try:
            from broadcaster.integrations import sqlalchemy_failed as sql
        except ImportError as error:
            raise ConfigurationError(
                'failed.driver is "sql", and SQLAlchemy is not installed: '
                "pip install 'broadcaster-server[sql]'"
            ) from error
        said = settings.failed
        if not said.url:
            raise ConfigurationError(
                'failed.driver is "sql", so failed.url must name the database: '
                "postgresql+psycopg://user:password@host/name, sqlite:///failed.db"
            )
        return CarriedFailedJobs(
            fresh, sql.open_archive(said.url, said.table, self._push), sql.move_failed
        )

    def _push(self, connection: str, jobs: Sequence[NewJob]) -> Pushed:
        clients = self._clients.get(connection)
        if clients is None:
            raise ConfigurationError(
                f"a failed job came from queue connection {connection}, which there is no longer: "
                f"add [queues.{connection}] to broadcaster.toml, or forget the job"
            )
        return RedisQueue(clients).push(jobs)


@contextmanager
def open_failed_jobs(settings: Settings) -> Generator[FailedJobs, None, None]:
    """
    Return the failed jobs of all queues, for a block.

    Raises:
        NotConfigured: no server is configured.
        ConfigurationError: see `FailedStores`.
    """
    found = servers(settings).items()
    clients = {name: RedisClients(url, settings.prefix) for name, url in found}
    try:
        yield FailedStores(settings, clients).store
    finally:
        for each in clients.values():
            each.close()


def servers(settings: Settings) -> dict[str, str]:
    """
    Return the URLs of the servers on which jobs fail, by the name of their connection.

    Connections that share a server share their failed jobs, under the name of the first.

    Raises:
        NotConfigured: there is none.
    """
    found: dict[str, str] = {}
    if settings.queue.driver == "redis":
        found[DEFAULT_CONNECTION] = settings.require_redis()
    for name, said in settings.queues.items():
        if said.driver == "redis":
            url = said.redis_url or settings.require_redis()
            if url not in found.values():
                found[name] = url
    return found or {DEFAULT_CONNECTION: settings.require_redis()}
