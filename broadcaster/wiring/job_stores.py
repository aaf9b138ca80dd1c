"""What jobs share besides their queues: batches, failed jobs, locks and limits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broadcaster.drivers.null import NullLimiter, NullLocks
from broadcaster.drivers.sync_batches import SyncBatches
from broadcaster.drivers.sync_statuses import SyncJobStatuses
from broadcaster.errors import NotConfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.batches import Batches
    from broadcaster.contracts.job_status import JobStatuses
    from broadcaster.contracts.limits import Limiter, Locks
    from broadcaster.contracts.stores import FailedJobs
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.settings import Settings


class JobStores:
    """
    The stores of one application.

    Where all jobs run inline, batches are counted in this process, and without a server nothing
    limits them. Where workers serve a connection, they and those who dispatch share a server:
    that of the settings, or the only one of their connections.

    Args:
        settings: which drivers the queues have.
        clients: opens the connections to Redis.
        server: opens those to the server of this URL.

    Its properties raise `NotConfigured` if a server is needed, and none is named or several.
    """

    def __init__(
        self,
        settings: Settings,
        clients: Callable[[], RedisClients],
        server: Callable[[str], RedisClients],
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._server = server
        self._failed_jobs: FailedJobs | None = None
        self._inline = settings.queue.driver in {"sync", "null"}
        self._urls = _served_urls(settings)
        self._batches = SyncBatches()
        self._statuses = SyncJobStatuses(time.time)

    @property
    def batches(self) -> Batches:
        """See `Application.batches`."""
        if self._inline and not self._urls:
            return self._batches
        from broadcaster.drivers.redis.batches import RedisBatches

        return RedisBatches(self._shared)

    @property
    def failed_jobs(self) -> FailedJobs:
        """See `Application.failed_jobs`."""
        if self._failed_jobs is None:
            from broadcaster.wiring.failed_stores import FailedStores, servers

            clients = {name: self._server(url) for name, url in servers(self._settings).items()}
            self._failed_jobs = FailedStores(self._settings, clients).store
        return self._failed_jobs

    @property
    def locks(self) -> Locks:
        """See `Application.locks`."""
        if self._serverless:
            return NullLocks()
        from broadcaster.drivers.redis.locks import RedisLocks

        return RedisLocks(self._shared)

    @property
    def limiter(self) -> Limiter:
        """See `Application.limiter`."""
        if self._serverless:
            return NullLimiter()
        from broadcaster.drivers.redis.limits import RedisLimiter

        return RedisLimiter(self._shared)

    @property
    def job_statuses(self) -> JobStatuses:
        """See `Application.job_statuses`."""
        if self._serverless:
            return self._statuses
        from broadcaster.drivers.redis.job_statuses import RedisJobStatuses

        return RedisJobStatuses(self._shared)

    @property
    def _serverless(self) -> bool:
        return self._inline and not self._urls and not self._settings.redis_url

    @property
    def _shared(self) -> RedisClients:
        """The server that workers use for this, too."""
        if self._settings.redis_url or not self._inline:
            return self._clients()
        if len(self._urls) > 1:
            raise NotConfigured(
                "queue connections have several servers, and batches, locks and limits are on one "
                "for all of them: set redis_url"
            )
        return self._server(*self._urls)


def _served_urls(settings: Settings) -> frozenset[str]:
    """Return the servers on which jobs of named connections wait."""
    urls = (
        one.redis_url or settings.redis_url
        for one in settings.queues.values()
        if one.driver == "redis"
    )
    return frozenset(url for url in urls if url)
