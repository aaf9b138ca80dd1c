"""Facts, queues and a gateway's webhook service on a Redis prefix of the test's own."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.apps import StaticApps
from broadcaster.drivers.redis.facts import QueuedFacts
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.protocol.app import App, Webhook
from broadcaster.protocol.fact_jobs import WEBHOOK_QUEUE
from broadcaster.protocol.facts import FACT_QUEUE, Fact, fact_id
from broadcaster.settings import QueueSettings, Settings, WebhookSettings
from broadcaster.wiring.webhooks import WebhookService
from tests.polling import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.contracts.queue import QueueSizes
    from broadcaster.contracts.stores import FailedJob
    from broadcaster.drivers.redis.client import RedisClients

APP = App(id="1234", key="app-key", secret="0123456789abcdef0123456789abcdef")


def fact(channel: str = "orders", name: str = "channel_occupied", **more: Any) -> Fact:
    given: dict[str, Any] = {
        "id": fact_id(channel, name, repr(sorted(more.items()))),
        "app_id": APP.id,
        "time_ms": int(time.time() * 1000),
    }
    return Fact(name=name, channel=channel, **(given | more))  # type: ignore[arg-type]  # any name


class WebhookWorld:
    """Puts facts, and runs what gateways run."""

    def __init__(self, clients: RedisClients) -> None:
        self.clients = clients
        self.queue = RedisQueue(clients)
        self.facts = QueuedFacts(self.queue)

    async def put(self, *facts: Fact) -> None:
        await self.facts.put(facts)

    @asynccontextmanager
    async def service(
        self, *webhooks: Webhook, lease: float = 5.0, app: App = APP, **settings: Any
    ) -> AsyncIterator[WebhookService]:
        """Run a gateway's webhook service until the block ends."""
        app = replace(app, webhooks=webhooks or app.webhooks)
        given: dict[str, Any] = {"allow_private": True, "batch_seconds": 0.05} | settings
        made = Settings(
            app=app,
            redis_url=self.clients.url,
            prefix=self.clients.prefix,
            queue=QueueSettings(lease=lease),
            webhooks=WebhookSettings(**given),
        )
        service = WebhookService(made, StaticApps(app), self.clients)
        service.start()
        try:
            yield service
        finally:
            await service.aclose()

    async def sizes(self, queue: str = WEBHOOK_QUEUE) -> QueueSizes:
        return await self.queue.asizes(queue)

    async def nothing_waits(self, *, within: float = 15.0) -> None:
        """Wait until every fact and webhook is done or failed."""

        async def idle() -> bool:
            both = [await self.sizes(FACT_QUEUE), await self.sizes(WEBHOOK_QUEUE)]
            return all(one.ready == one.delayed == one.held == 0 for one in both)

        await eventually_async(idle, within=within)

    async def failed(self) -> Sequence[FailedJob]:
        return await asyncio.to_thread(RedisFailedJobs(self.clients).find)
