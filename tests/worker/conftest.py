from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker import sample_jobs
from tests.worker.worker_world import WorkerWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.drivers.redis.client import RedisClients


@pytest.fixture
def world(clients: RedisClients) -> WorkerWorld:
    return WorkerWorld(clients)


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[str]]:
    """What the sample jobs have noted; nothing of another test, and no gate of its either."""
    sample_jobs.seen.clear()
    sample_jobs.gates.clear()
    yield sample_jobs.seen
    sample_jobs.seen.clear()
