"""What people and supervisors do to queues, opened from settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.contracts.connections import ServedConnection
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.fleet import RedisFleet
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.drivers.redis.supervisors import RedisSupervisorBoard
from broadcaster.protocol.lanes import is_queue, parts_of, split_lane
from broadcaster.settings_queues import served_connection
from broadcaster.supervisor.backlog import Backlog, Reading, backlogs
from broadcaster.wiring.failed_stores import FailedStores, servers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.fleet import WorkerRecord
    from broadcaster.contracts.queue_admin import QueueState
    from broadcaster.contracts.supervision import SupervisorStatus
    from broadcaster.settings import Settings
    from broadcaster.wiring.failed_stores import CarriedFailedJobs


class Operations(NamedTuple):
    """
    The queues of one connection, seen from outside.

    Attributes:
        connection: its name.
        clients: of the server on which its jobs wait.
        lanes: lanes of each queue.
        failed: the database of failed jobs, or None if they stay in Redis.
        main: of the server of ``redis_url``, where supervisors of all connections tell.
    """

    connection: str
    clients: RedisClients
    queue: RedisQueue
    admin: RedisQueueAdmin
    fleet: RedisFleet
    lanes: int
    failed: CarriedFailedJobs | None
    main: RedisClients

    def close(self) -> None:
        """Close what was opened."""
        self.clients.close()
        self.main.close()

    def backlogs(
        self,
        names: Sequence[str] = (),
        workers: Sequence[WorkerRecord] | None = None,
        *,
        archived: bool = False,
    ) -> list[Backlog]:
        """
        Return how these queues are, or all there are, by name; blocking.

        Args:
            workers: those that serve them; they are asked for if they are not given.
            archived: count failed jobs in their database, if they have one.

        Raises:
            DriverUnavailable: Redis or that database cannot be reached.
        """
        known = self.queue.queues()
        counts = self.failed.counts() if archived and self.failed is not None else {}
        told = self.fleet.workers() if workers is None else workers
        served = {queue for worker in told for queue in worker.queues if is_queue(queue)}
        wanted = set(names) or {split_lane(name)[0] for name in known} | served
        parts = [name for name in known if split_lane(name)[0] in wanted]
        every = list(dict.fromkeys([*parts, *sorted(wanted)]))
        states = zip(every, self.admin.states(every), strict=True)
        return backlogs([_reading(name, one, counts.get(name, 0)) for name, one in states], told)

    @property
    def served(self) -> ServedConnection:
        """The connection, for those who handle its queues."""
        return ServedConnection(name=self.connection, admin=self.admin, lanes=self.lanes)

    def supervisors(self) -> Sequence[SupervisorStatus]:
        """Return what the supervisors of all hosts have told lately; blocking."""
        return RedisSupervisorBoard(self.main).read()

    def parts(self, queue: str) -> list[str]:
        """Return `queue` and those of its lanes that were pushed to; of a lane, itself."""
        return parts_of(queue, 0, self.queue.queues())


def _reading(name: str, state: QueueState, archived: int) -> Reading:
    sizes = replace(state.sizes, failed=state.sizes.failed + archived)
    return Reading(name, sizes, state.stats, state.pause)


def open_operations(settings: Settings, connection: str = "") -> Operations:
    """
    Return the queues of `connection`; empty is the default one.

    Raises:
        ConfigurationError: there is no such connection, or its jobs do not wait in Redis.
        NotConfigured: no server is configured.
    """
    name, said = served_connection(connection, settings.queue, settings.queues)
    url = said.redis_url or settings.require_redis()
    main = settings.redis_url or url
    clients = RedisClients(url, settings.prefix)
    own = {each: clients for each, server in servers(settings).items() if server == url}
    return Operations(
        connection=name,
        clients=clients,
        queue=RedisQueue(clients),
        admin=RedisQueueAdmin(clients),
        fleet=RedisFleet(clients),
        lanes=said.lanes,
        failed=FailedStores(settings, own).carried,
        main=clients if main == url else RedisClients(main, settings.prefix),
    )
