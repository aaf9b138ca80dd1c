"""Queue connections by name, opened when they are first used."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.connections import QueueConnection, ServedConnection
from broadcaster.drivers.failover import FailoverQueue, Fallback
from broadcaster.drivers.registry import QUEUES, load
from broadcaster.jobs.announcing import announce, wanted
from broadcaster.jobs.lifecycle import QueueFailedOver
from broadcaster.protocol.payload import decode_payload
from broadcaster.settings_queues import DEFAULT_CONNECTION, find_connection, served_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.queue import NewJob, Queue
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.sync import InlineRunner
    from broadcaster.errors import DriverUnavailable
    from broadcaster.settings import ConnectionSettings, Settings


class QueueConnections:
    """
    The connections of one application.

    Args:
        settings: what ``[queue]`` and ``[queues.<name>]`` say.
        clients: opens the connections to the server of ``redis_url``.
        runner: runs what is pushed to a ``sync`` connection.
    """

    def __init__(
        self, settings: Settings, clients: Callable[[], RedisClients], runner: InlineRunner
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._runner = runner
        self._lock = threading.RLock()
        self._opened: dict[str, QueueConnection] = {}
        self._servers: dict[str, RedisClients] = {}

    def find(self, name: str | None = None) -> QueueConnection:
        """
        Return the connection called `name`; None is the one of ``[queue]``.

        Raises:
            NotConfigured: there is none, or it lacks what it needs.
        """
        name = name or DEFAULT_CONNECTION
        with self._lock:
            known = self._opened.get(name)
            if known is None:
                known = self._opened[name] = self._open(name)
            return known

    def served(self, name: str | None = None) -> ServedConnection:
        """
        Return what handles the queues of a connection from outside; None is that of ``[queue]``.

        Raises:
            ConfigurationError: there is none of this name, or its jobs do not wait in Redis.
            NotConfigured: no server is configured.
        """
        from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin

        found, said = served_connection(name or "", self._settings.queue, self._settings.queues)
        admin = RedisQueueAdmin(self.server(said.redis_url))
        return ServedConnection(name=found, admin=admin, lanes=said.lanes)

    def close(self) -> None:
        """Close the connections to servers of their own that were opened without a loop."""
        with self._lock:
            for server in self._servers.values():
                server.close()

    async def aclose(self) -> None:
        """Close every connection to servers of their own."""
        for server in list(self._servers.values()):
            await server.aclose()

    def _open(self, name: str) -> QueueConnection:
        said = self._said(name)
        return QueueConnection(
            name=name,
            queue=self._queue(said),
            default_queue=said.default,
            after_commit=said.after_commit,
            lanes=said.lanes,
            has_batches=self._has_batches(said),
        )

    def _has_batches(self, said: ConnectionSettings) -> bool:
        """Whether the connection, or the one that it falls back from, knows what batches are."""
        if said.driver == "failover":
            return self._has_batches(self._said(said.connections[0]))
        return said.driver != "celery"

    def _said(self, name: str) -> ConnectionSettings:
        return find_connection(name, self._settings.queue, self._settings.queues)

    def _queue(self, said: ConnectionSettings) -> Queue:
        driver: Any
        if said.driver == "failover":
            return FailoverQueue(
                [Fallback(name, partial(self._queue_of, name)) for name in said.connections],
                clock=time.monotonic,
                failed_over=_tell_failed_over,
            )
        driver = load(QUEUES, said.driver)
        made: Queue
        if said.driver == "redis":
            made = driver(self.server(said.redis_url), replicas=said.replicas)
        elif said.driver == "celery":
            made = driver.of(said.celery_app)
        else:
            made = driver(self._runner)
        return made

    def _queue_of(self, name: str) -> Queue:
        return self.find(name).queue

    def server(self, url: str | None) -> RedisClients:
        """Return the connections to the server of this URL; None is that of ``redis_url``."""
        from broadcaster.drivers.redis.client import RedisClients

        if url is None or url == self._settings.redis_url:
            return self._clients()
        with self._lock:
            if url not in self._servers:
                self._servers[url] = RedisClients(url, self._settings.prefix)
            return self._servers[url]


def _tell_failed_over(name: str, error: DriverUnavailable, jobs: Sequence[NewJob]) -> None:
    if wanted(QueueFailedOver):
        names = sorted({decode_payload(job.body).job for job in jobs})
        announce(QueueFailedOver(connection_name=name, exception=error, command=", ".join(names)))
