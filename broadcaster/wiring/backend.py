"""The backend's side of a process: settings in, an `Application` out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.application import BroadcastRules
from broadcaster.drivers.registry import PUBLISHERS, QUEUES, load
from broadcaster.settings import Settings, load_settings

if TYPE_CHECKING:
    from broadcaster.contracts.publisher import Publisher
    from broadcaster.contracts.queue import Queue
    from broadcaster.drivers.redis.client import RedisClients


def open_backend(settings: Settings | None = None) -> Backend:
    """
    Return the application for `settings`, or for what the environment and files say.

    Nothing is connected, and nothing that is missing is complained about, before it is used.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    return Backend(load_settings() if settings is None else settings)


class Backend:
    """
    Implements `Application` on drivers from the registry.

    Attributes:
        settings: what it was made from.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.RLock()
        self._clients: RedisClients | None = None
        self._queue: Queue | None = None
        self._publishers: dict[str, Any] = {}

    @property
    def app_id(self) -> str:
        """See `Application.app_id`."""
        return self.settings.require_app().id

    @property
    def rules(self) -> BroadcastRules:
        """See `Application.rules`."""
        said = self.settings.broadcast
        return BroadcastRules(
            event_namespace=said.event_namespace,
            queue=said.queue,
            max_data_bytes=said.max_data_bytes,
        )

    @property
    def default_queue(self) -> str:
        """See `Application.default_queue`."""
        return self.settings.queue.default

    @property
    def queue(self) -> Queue:
        """See `Application.queue`."""
        with self._lock:
            if self._queue is None:
                self._queue = self._open_queue()
            return self._queue

    @property
    def clients(self) -> RedisClients:
        """The Redis connections of this application; `NotConfigured` without a server."""
        from broadcaster.drivers.redis.client import RedisClients

        with self._lock:
            if self._clients is None:
                url = self.settings.require_redis()
                self._clients = RedisClients(url, self.settings.prefix)
            return self._clients

    def publisher(self, connection: str | None = None) -> Publisher:
        """See `Application.publisher`."""
        name = connection or self.settings.broadcast.driver
        with self._lock:
            known = self._publishers.get(name)
            if known is None:
                known = self._publishers[name] = self._open_publisher(name)
            opened: Publisher = known
            return opened

    def close(self) -> None:
        """See `Application.close`."""
        with self._lock:
            for driver in self._publishers.values():
                if hasattr(driver, "close"):
                    driver.close()
            if self._clients is not None:
                self._clients.close()

    async def aclose(self) -> None:
        """See `Application.aclose`."""
        for driver in list(self._publishers.values()):
            if hasattr(driver, "aclose"):
                await driver.aclose()
        if self._clients is not None:
            await self._clients.aclose()

    def _open_publisher(self, name: str) -> Any:
        driver = load(PUBLISHERS, name)
        if name == "redis":
            return driver(self.clients, history=self.settings.history)
        if name == "pusher":
            endpoint = self.settings.endpoint
            return driver(
                self.settings.require_app(), base_url=endpoint.url, timeout=endpoint.timeout
            )
        return driver()

    def _open_queue(self) -> Queue:
        name = self.settings.queue.driver
        driver = load(QUEUES, name)
        if name == "redis":
            queue: Queue = driver(self.clients)
            return queue
        raise NotImplementedError(name)
