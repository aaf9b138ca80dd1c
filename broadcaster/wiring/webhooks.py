"""What sends webhooks: settings in, two workers on the queues of facts and webhooks out."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING

from broadcaster.drivers.http.webhooks import HttpWebhooks
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.gateway.tasks import TaskOwner
from broadcaster.protocol.addresses import parse_allowed
from broadcaster.protocol.fact_jobs import WEBHOOK_QUEUE
from broadcaster.protocol.facts import FACT_QUEUE
from broadcaster.webhooks.deliveries import Chances, DeliveryRunner
from broadcaster.webhooks.facts import FactRunner
from broadcaster.wiring.process_name import process_name
from broadcaster.worker.heartbeat import Heartbeat
from broadcaster.worker.options import WorkerOptions
from broadcaster.worker.worker import Worker

if TYPE_CHECKING:
    from broadcaster.contracts.apps import AppProvider
    from broadcaster.contracts.webhooks import WebhookSender
    from broadcaster.protocol.addresses import AddressRules
    from broadcaster.settings import Settings
    from broadcaster.worker.contract import Runner

_log = logging.getLogger("broadcaster.webhooks")

FACTS_AT_ONCE = 50
WEBHOOKS_AT_ONCE = 1_000
"""Of all receivers together; most of them wait for a turn (`broadcaster.webhooks.receiver`)."""
MAX_CRASHES = 1_000
"""Lapses that fail a job: what a gateway was doing when it was killed is not to blame."""
GRACE_SECONDS = 5.0
STOP_SECONDS = 8.0


class WebhookService:
    """
    Sends the webhooks of a gateway process, and of others that were killed.

    Args:
        settings: how.
        apps: who has which endpoints; those of the gateway.
        clients: the gateway's connections; not closed here.

    Raises:
        ConfigurationError: `webhooks.allowed` names what is no host or network.
    """

    def __init__(self, settings: Settings, apps: AppProvider, clients: RedisClients) -> None:
        self._settings = settings
        self._apps = apps
        self._clients = clients
        self._heartbeat_clients = RedisClients(clients.url, clients.prefix)
        self._rules = address_rules(settings)
        self._sender: WebhookSender | None = None
        self._tasks = TaskOwner()
        self._workers: set[Worker] = set()
        self._stopped = asyncio.Event()
        self._stopped.set()

    def start(self) -> None:
        """Begin, unless settings leave it to other gateways."""
        if self._settings.webhooks.drain:
            self._tasks.keep(self._spread_facts, "facts for webhooks")
            self._tasks.keep(self._send_webhooks, "webhooks")

    async def aclose(self) -> None:
        """Finish the requests under way, for a few seconds; the rest stays in the queue."""
        for worker in self._workers:
            worker.stop()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._stopped.wait()
        except TimeoutError:
            _log.warning("webhooks do not stop in time", extra={"event": "stopping"})
        await self._tasks.aclose()
        if self._sender is not None:
            await self._sender.aclose()
        self._heartbeat_clients.close()

    async def _spread_facts(self) -> None:
        events = self._settings.queue.default
        runner = FactRunner(self._apps, RedisQueue(self._clients), events=events)
        await self._work(FACT_QUEUE, runner, FACTS_AT_ONCE)

    async def _send_webhooks(self) -> None:
        if self._sender is None:
            self._sender = HttpWebhooks(self._rules, timeout=self._settings.webhooks.timeout)
        runner = DeliveryRunner(
            self._apps,
            self._sender,
            Chances(time.time, time.monotonic, random.random),
            places=WEBHOOKS_AT_ONCE,
            at_once=self._settings.webhooks.concurrency,
            gather=self._settings.webhooks.batch_seconds,
        )
        await self._work(WEBHOOK_QUEUE, runner, WEBHOOKS_AT_ONCE)

    async def _work(self, queue: str, runner: Runner, at_once: int) -> None:
        lease = self._settings.queue.lease
        options = WorkerOptions(
            queues=(queue,),
            ordered=frozenset(),
            concurrency=at_once,
            lease=lease,
            max_crashes=MAX_CRASHES,
            grace=GRACE_SECONDS,
            trusted=True,
            lanes=0,
        )
        worker = Worker(
            process_name(),
            queue=RedisQueue(self._clients),
            heartbeat=Heartbeat(RedisQueue(self._heartbeat_clients), lease),
            runner=runner,
            options=options,
            stopping=asyncio.Event(),
        )
        self._workers.add(worker)
        self._stopped.clear()
        try:
            await worker.run()
        finally:
            self._workers.discard(worker)
            if not self._workers:
                self._stopped.set()


def address_rules(settings: Settings) -> AddressRules:
    """
    Return which addresses receivers may have.

    Raises:
        ConfigurationError: `webhooks.allowed` names what is no host or network.
    """
    return parse_allowed(settings.webhooks.allowed, private=settings.webhooks.allow_private)
