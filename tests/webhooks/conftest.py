from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.webhooks.receiving import WebhookReceiver, receiving
from tests.webhooks.webhook_world import WebhookWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.drivers.redis.client import RedisClients


@pytest.fixture
def world(clients: RedisClients) -> WebhookWorld:
    return WebhookWorld(clients)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving() as made:
        yield made
