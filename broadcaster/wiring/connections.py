"""Queue connections by name, opened when they are first used."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.connections import QueueConnection
from broadcaster.drivers.registry import QUEUES, load
from broadcaster.errors import NotConfigured
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.queue import Queue
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.sync import InlineRunner
    from broadcaster.settings import Settings

DEFAULT = "default"
"""What the connection of ``[queue]`` is called."""


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

    def find(self, name: str | None = None) -> QueueConnection:
        """
        Return the connection called `name`; None is the one of ``[queue]``.

        Raises:
            NotConfigured: there is none, or it lacks what it needs.
            UnknownDriver: its driver does not exist.
        """
        name = name or DEFAULT
        with self._lock:
            known = self._opened.get(name)
            if known is None:
                known = self._opened[name] = self._open(name)
            return known

    def _open(self, name: str) -> QueueConnection:
        if name != DEFAULT:
            raise NotConfigured(f"no queue connection is called {shown(name)}")
        said = self._settings.queue
        driver: Any = load(QUEUES, said.driver)
        queue: Queue = driver(self._clients() if said.driver == "redis" else self._runner)
        return QueueConnection(name=name, queue=queue, default_queue=said.default)
