from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.worker_world import WorkerWorld

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients


@pytest.fixture
def world(clients: RedisClients) -> WorkerWorld:
    return WorkerWorld(clients)
