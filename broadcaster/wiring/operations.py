"""What people and supervisors do to queues, opened from settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.fleet import RedisFleet
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.protocol.lanes import lane_names, split_lane
from broadcaster.settings_queues import served_connection
from broadcaster.supervisor.backlog import Backlog, Reading, backlogs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.fleet import WorkerRecord
    from broadcaster.settings import Settings


class Operations(NamedTuple):
    """
    The queues of one connection, seen from outside.

    Attributes:
        connection: its name.
        clients: to be closed after use.
        lanes: lanes of each queue.
    """

    connection: str
    clients: RedisClients
    queue: RedisQueue
    admin: RedisQueueAdmin
    fleet: RedisFleet
    failed: RedisFailedJobs
    lanes: int

    def backlogs(
        self, names: Sequence[str] = (), workers: Sequence[WorkerRecord] | None = None
    ) -> list[Backlog]:
        """
        Return how these queues are, or all there are, by name; blocking.

        Args:
            workers: those that serve them; they are asked for if they are not given.
        """
        known = self.queue.queues()
        told = self.fleet.workers() if workers is None else workers
        served = {queue for worker in told for queue in worker.queues}
        wanted = set(names) or {split_lane(name)[0] for name in known} | served
        parts = [name for name in known if split_lane(name)[0] in wanted]
        readings = [self._read(name) for name in dict.fromkeys([*parts, *sorted(wanted)])]
        return backlogs(readings, told)

    def parts(self, queue: str) -> list[str]:
        """Return `queue` and all its lanes, also those without a job; of a lane, itself."""
        return (
            [queue] if split_lane(queue)[1] is not None else [queue, *lane_names(queue, self.lanes)]
        )

    def known_parts(self, queue: str) -> list[str]:
        """Return `queue` and those of its lanes that were pushed to."""
        return [name for name in self.parts(queue) if name in {queue, *self.queue.queues()}]

    def _read(self, name: str) -> Reading:
        sizes = self.queue.sizes(name)
        pause = self.admin.paused(name) if sizes.paused else None
        return Reading(name, sizes, self.admin.stats(name), pause)


def open_operations(settings: Settings, connection: str = "") -> Operations:
    """
    Return the queues of `connection`; empty is the default one.

    Raises:
        ConfigurationError: there is no such connection, or its jobs do not wait in Redis.
        NotConfigured: no server is configured.
    """
    name, said = served_connection(connection, settings.queue, settings.queues)
    url = said.redis_url or settings.require_redis()
    clients = RedisClients(url, settings.prefix)
    return Operations(
        connection=name,
        clients=clients,
        queue=RedisQueue(clients),
        admin=RedisQueueAdmin(clients),
        fleet=RedisFleet(clients),
        failed=RedisFailedJobs(clients),
        lanes=said.lanes,
    )
