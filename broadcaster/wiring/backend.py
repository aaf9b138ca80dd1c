"""The backend's side of a process: settings in, an `Application` out."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.application import BroadcastRules
from broadcaster.drivers.registry import PUBLISHERS, load
from broadcaster.drivers.routing import RoutingPublisher, SigningPublisher
from broadcaster.errors import NotConfigured
from broadcaster.jobs.inline import BuiltIn, InlineJobs
from broadcaster.protocol.encryption import (
    NONCE_BYTES,
    channel_secret,
    encode_sealed,
    require_encryption_key,
)
from broadcaster.protocol.payload import BROADCAST_JOB
from broadcaster.settings import Settings, load_settings
from broadcaster.wiring.backend_apps import BackendApps
from broadcaster.wiring.connections import QueueConnections
from broadcaster.wiring.job_stores import JobStores
from broadcaster.worker.broadcasts import read_publication

if TYPE_CHECKING:
    from broadcaster.contracts.apps import App
    from broadcaster.contracts.batches import Batches
    from broadcaster.contracts.completed import CompletedJobs
    from broadcaster.contracts.connections import QueueConnection, ServedConnection
    from broadcaster.contracts.job_status import JobStatuses
    from broadcaster.contracts.limits import Limiter, Locks
    from broadcaster.contracts.publisher import Publisher
    from broadcaster.contracts.queue import Queue
    from broadcaster.contracts.revocations import Revoker
    from broadcaster.contracts.stores import FailedJobs
    from broadcaster.contracts.users import OnlineReader
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.protocol.payload import Payload


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
        self._drivers: dict[str, Any] = {}
        self._apps = BackendApps(settings, lambda: self.clients)
        self._router = RoutingPublisher(self.driver)
        self._connections = QueueConnections(
            settings,
            lambda: self.clients,
            InlineJobs(lambda: self.batches, {BROADCAST_JOB: _run_broadcast(self)}),
        )
        self._stores = JobStores(settings, lambda: self.clients, self._connections.server)

    @property
    def app(self) -> App:
        """See `Application.app`."""
        return self._apps.current

    @property
    def debug(self) -> bool:
        """See `Application.debug`."""
        return self.settings.debug

    @property
    def app_id(self) -> str:
        """See `Application.app_id`."""
        return self._apps.current_id

    def find_app(self, app_id: str) -> App:
        """See `Application.find_app`."""
        return self._apps.find(app_id)

    @property
    def rules(self) -> BroadcastRules:
        """See `Application.rules`."""
        said = self.settings.broadcast
        return BroadcastRules(
            event_namespace=said.event_namespace,
            queue=said.queue,
            max_data_bytes=said.max_data_bytes,
            after_commit=self.settings.queue.after_commit,
            lanes=self.settings.queue.lanes,
        )

    @property
    def default_queue(self) -> str:
        """See `Application.default_queue`."""
        return self.settings.queue.default

    @property
    def queue(self) -> Queue:
        """See `Application.queue`."""
        return self.connection().queue

    def connection(self, name: str | None = None) -> QueueConnection:
        """See `Application.connection`."""
        return self._connections.find(name)

    def served(self, name: str | None = None) -> ServedConnection:
        """See `Application.served`."""
        return self._connections.served(name)

    @property
    def batches(self) -> Batches:
        """See `Application.batches`."""
        return self._stores.batches

    @property
    def failed_jobs(self) -> FailedJobs:
        """See `Application.failed_jobs`."""
        return self._stores.failed_jobs

    @property
    def locks(self) -> Locks:
        """See `Application.locks`."""
        return self._stores.locks

    @property
    def limiter(self) -> Limiter:
        """See `Application.limiter`."""
        return self._stores.limiter

    @property
    def job_statuses(self) -> JobStatuses:
        """See `Application.job_statuses`."""
        return self._stores.job_statuses

    @property
    def revoker(self) -> Revoker:
        """See `Application.revoker`."""
        from broadcaster.drivers.redis.revocations import RedisRevocations

        return RedisRevocations(self.clients)

    @property
    def users(self) -> OnlineReader:
        """See `Application.users`."""
        from broadcaster.drivers.redis.online import RedisOnline

        return RedisOnline(self.clients)

    @property
    def completed_jobs(self) -> CompletedJobs:
        """See `Application.completed_jobs`."""
        from broadcaster.drivers.redis.completed import RedisCompletedJobs

        return RedisCompletedJobs(self.clients)

    @property
    def clients(self) -> RedisClients:
        """The Redis connections of this application; `NotConfigured` without a server."""
        from broadcaster.drivers.redis.client import RedisClients

        with self._lock:
            if self._clients is None:
                url = self.settings.require_redis()
                self._clients = RedisClients(url, self.settings.prefix)
            return self._clients

    def encrypt(self, channel: str, data: str) -> str:
        """See `Application.encrypt`."""
        key = require_encryption_key(self.app)
        try:
            from broadcaster.drivers.secretbox import seal
        except ImportError as error:
            raise NotConfigured(
                "encrypting needs PyNaCl: pip install 'broadcaster-server[crypto]'"
            ) from error
        nonce = os.urandom(NONCE_BYTES)
        secret = channel_secret(channel, key)
        return encode_sealed(nonce, seal(data.encode(), nonce=nonce, key=secret))

    def publisher(self) -> Publisher:
        """See `Application.publisher`."""
        return self._router

    def driver(self, name: str | None) -> Publisher:
        """
        Return the publisher called `name`, opening it at the first call.

        Args:
            name: None is the configured one.

        Raises:
            UnknownDriver: no driver has this name.
            NotConfigured: the driver needs a setting that is missing.
        """
        name = name or self.settings.broadcast.driver
        with self._lock:
            known = self._drivers.get(name)
            if known is None:
                known = self._drivers[name] = self._open_driver(name)
            opened: Publisher = known
            return opened

    def close(self) -> None:
        """See `Application.close`."""
        with self._lock:
            for driver in self._drivers.values():
                if hasattr(driver, "close"):
                    driver.close()
            self._connections.close()
            if self._clients is not None:
                self._clients.close()

    async def aclose(self) -> None:
        """See `Application.aclose`."""
        for driver in list(self._drivers.values()):
            if hasattr(driver, "aclose"):
                await driver.aclose()
        await self._connections.aclose()
        if self._clients is not None:
            await self._clients.aclose()

    def _open_driver(self, name: str) -> Any:
        driver = load(PUBLISHERS, name)
        if name == "redis":
            return driver(self.clients, history=self.settings.history)
        if name == "pusher":
            self.settings.require_apps()
            endpoint = self.settings.endpoint
            return SigningPublisher(
                self.find_app,
                lambda app: driver(app, base_url=endpoint.url, timeout=endpoint.timeout),
            )
        return driver()


def _run_broadcast(backend: Backend) -> BuiltIn:
    """Return how the queue ``sync`` publishes an event."""

    def run(payload: Payload) -> None:
        backend.publisher().publish([read_publication(payload)])

    async def arun(payload: Payload) -> None:
        await backend.publisher().apublish([read_publication(payload)])

    return BuiltIn(run, arun)
