"""The worker's side: settings in, a worker out."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

# Workers know the job that starts a batch in a chain, whatever their modules import.
import broadcaster.jobs.nested_batch  # noqa: F401  # pyright: ignore[reportUnusedImport]
from broadcaster import current
from broadcaster.contracts.connections import QueueConnection
from broadcaster.drivers.redis.batches import RedisBatches
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.continuity import RedisContinuity
from broadcaster.drivers.redis.fleet import RedisFleet
from broadcaster.drivers.redis.locks import RedisLocks
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.events.listening import hears_facts, listener_jobs
from broadcaster.jobs.injection import unprovided
from broadcaster.jobs.modules import imported
from broadcaster.jobs.registry import registry
from broadcaster.settings_queues import served_connection
from broadcaster.wiring.failed_stores import FailedStores, servers
from broadcaster.wiring.process_name import process_name
from broadcaster.worker.broadcasts import BroadcastPublisher
from broadcaster.worker.carrying import FailedCarrier
from broadcaster.worker.facts import FactSpreader
from broadcaster.worker.heartbeat import Heartbeat
from broadcaster.worker.own_jobs import OwnJobsJournal
from broadcaster.worker.pulse import Pulse, described
from broadcaster.worker.runner import JobRunner
from broadcaster.worker.runtimes import Runtimes
from broadcaster.worker.stores import QueueStores
from broadcaster.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from broadcaster.settings import Settings
    from broadcaster.worker.heartbeat import HeldJob
    from broadcaster.worker.options import WorkerOptions

_log = logging.getLogger("broadcaster.worker")


class OpenWorker(NamedTuple):
    """
    What a worker process consists of.

    Attributes:
        worker: ready to run.
        runner: knows whether threads are still running when the worker has stopped.
        clients: connections to check and to close.
        pulse: describes it to monitors, once it is started.
        carrier: carries failed jobs into their database, once it is started; None if they
            stay in Redis.
    """

    worker: Worker
    runner: JobRunner
    clients: RedisClients
    heartbeat_clients: RedisClients
    lock_clients: RedisClients
    pulse: Pulse
    carrier: FailedCarrier | None

    @asynccontextmanager
    async def beside(self) -> AsyncGenerator[None]:
        """Describe the worker to monitors and look after its failed jobs, for a block."""
        self.pulse.start()
        if self.carrier is not None:
            self.carrier.start()
        try:
            yield
        finally:
            if self.carrier is not None:
                await self.carrier.stop()
            await self.pulse.stop()

    async def aclose(self) -> None:
        """Close all connections of the process."""
        await current.application().aclose()
        await self.clients.aclose()
        self.heartbeat_clients.close()
        await self.lock_clients.aclose()


def open_worker(
    settings: Settings, options: WorkerOptions, stuck: Callable[[HeldJob], object] | None = None
) -> OpenWorker:
    """
    Return a worker; call it inside a running event loop.

    It makes an application of `settings` the current one, so that jobs dispatch and
    broadcast with them.

    Args:
        stuck: called from another thread when the event loop does not run, so that a job
            could not be stopped at its timeout.

    Raises:
        NotConfigured: no Redis server.
        ConfigurationError: the connection that it is to serve is none with jobs in Redis, or
            the database of failed jobs is not named or cannot be used.
        UnknownDriver: the broadcast driver does not exist.
    """
    name, connection = served_connection(options.connection, settings.queue, settings.queues)
    url = connection.redis_url or settings.require_redis()
    application = current.configure(settings)
    clients = RedisClients(url, settings.prefix)
    heartbeat_clients = RedisClients(url, settings.prefix)
    # Locks and batches are shared by all connections: they are on the server of the settings.
    shared = settings.redis_url or url
    lock_clients = RedisClients(shared, settings.prefix)
    batches = RedisBatches(clients if shared == url else lock_clients)
    stopping = asyncio.Event()
    runtimes = Runtimes(RedisQueueAdmin(clients))
    journal = OwnJobsJournal(options.connection, runtimes)
    broadcasts = BroadcastPublisher(application.publisher(), stopping, journal)
    queue = RedisQueue(clients, batches=batches)
    facts = FactSpreader(
        QueueConnection(name=name, queue=queue, default_queue=connection.default),
        partial(listener_jobs, default_queue=connection.default),
        journal,
    )
    stores = QueueStores(queue, batches)
    runner = JobRunner(registry, options, broadcasts, facts, stores, runtimes)
    _warn_of_deaf_listeners(settings)
    _warn_of_missing_services()
    worker = Worker(
        process_name(),
        queue=queue,
        heartbeat=Heartbeat(
            RedisQueue(heartbeat_clients), options.lease, stuck, locks=RedisLocks(lock_clients)
        ),
        runner=runner,
        options=options,
        stopping=stopping,
        after_crash=runner.after_crash,
        continuity=RedisContinuity(clients),
    )
    fleet = RedisFleet(clients)
    pulse = Pulse(
        fleet,
        lambda: described(worker, time.monotonic()),
        worker.restart,
        runtimes=runtimes,
    )
    carrier = _failed_carrier(settings, url, clients)
    return OpenWorker(worker, runner, clients, heartbeat_clients, lock_clients, pulse, carrier)


def _failed_carrier(settings: Settings, url: str, clients: RedisClients) -> FailedCarrier | None:
    own = {name: clients for name, server in servers(settings).items() if server == url}
    carried = FailedStores(settings, own).carried
    return None if carried is None else FailedCarrier(carried.carry)


def _warn_of_deaf_listeners(settings: Settings) -> None:
    if hears_facts() and settings.apps and not any(app.server_events for app in settings.apps):
        _log.warning(
            "functions listen to events, but app.server_events is off: set it to true for the "
            "gateways, or they are never called",
            extra={"event": "no_server_events"},
        )


def _warn_of_missing_services() -> None:
    for name in registry.names():
        for sentence in unprovided(registry.find(name)):
            _log.warning("%s", sentence, extra={"event": "not_provided", "job": name})


def import_jobs(modules: Sequence[str]) -> None:
    """
    Import the modules that define jobs and listeners, the working directory first.

    Raises:
        ConfigurationError: a module does not exist; what it raises itself comes through.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    for module in modules:
        imported(module, partial(_not_found, module, here))


def _not_found(module: str, here: str, _missing: str) -> str:
    return (
        f"no module is called {module!r}, seen from {here}: name modules as in an import "
        "(shop.jobs), and start the worker where that import works"
    )
