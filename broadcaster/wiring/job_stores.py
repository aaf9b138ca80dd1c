"""What jobs share besides their queues: batches, failed jobs, locks and limits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broadcaster.drivers.null import NullLimiter, NullLocks
from broadcaster.drivers.sync_batches import SyncBatches
from broadcaster.drivers.sync_statuses import SyncJobStatuses

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

    Jobs that run inline count their batches in this process, and without a server nothing
    limits them.

    Args:
        settings: which driver the queue has.
        clients: opens the connections to Redis.
        server: opens those to the server of this URL.
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
        self._batches = SyncBatches()
        self._statuses = SyncJobStatuses(time.time)

    @property
    def batches(self) -> Batches:
        """See `Application.batches`."""
        if self._inline:
            return self._batches
        from broadcaster.drivers.redis.batches import RedisBatches

        return RedisBatches(self._clients())

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

        return RedisLocks(self._clients())

    @property
    def limiter(self) -> Limiter:
        """See `Application.limiter`."""
        if self._serverless:
            return NullLimiter()
        from broadcaster.drivers.redis.limits import RedisLimiter

        return RedisLimiter(self._clients())

    @property
    def job_statuses(self) -> JobStatuses:
        """See `Application.job_statuses`."""
        if self._serverless:
            return self._statuses
        from broadcaster.drivers.redis.job_statuses import RedisJobStatuses

        return RedisJobStatuses(self._clients())

    @property
    def _serverless(self) -> bool:
        return self._inline and not self._settings.redis_url
