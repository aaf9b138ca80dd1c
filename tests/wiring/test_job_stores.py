from __future__ import annotations

from typing import Literal

import pytest

from broadcaster.drivers.null import NullLimiter, NullLocks
from broadcaster.drivers.redis.batches import RedisBatches
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.job_statuses import RedisJobStatuses
from broadcaster.drivers.redis.limits import RedisLimiter
from broadcaster.drivers.redis.locks import RedisLocks
from broadcaster.drivers.sync_batches import SyncBatches
from broadcaster.errors import NotConfigured
from broadcaster.settings import ConnectionSettings, QueueSettings, Settings
from broadcaster.wiring.backend import Backend
from broadcaster.wiring.failed_stores import FailedJobsOfConnections

URL = "redis://127.0.0.1:1/0"
OTHER = "redis://127.0.0.1:1/1"


@pytest.mark.parametrize("driver", ["sync", "null"])
def test_jobs_that_run_inline_need_no_server(driver: Literal["sync", "null"]) -> None:
    backend = Backend(Settings(queue=QueueSettings(driver=driver)))

    assert isinstance(backend.batches, SyncBatches)
    assert backend.batches is backend.batches
    assert isinstance(backend.locks, NullLocks)
    assert isinstance(backend.limiter, NullLimiter)


def test_with_a_server_limits_hold_for_inline_jobs_too() -> None:
    backend = Backend(Settings(redis_url=URL, queue=QueueSettings(driver="sync")))

    assert isinstance(backend.limiter, RedisLimiter)
    assert isinstance(backend.locks, RedisLocks)
    assert isinstance(backend.batches, SyncBatches)
    backend.close()


def mixed(redis_url: str | None = None, **urls: str | None) -> Backend:
    """Jobs run inline unless they name a connection."""
    queues = {name: ConnectionSettings(redis_url=url) for name, url in urls.items()}
    return Backend(Settings(redis_url=redis_url, queue=QueueSettings(driver="sync"), queues=queues))


@pytest.mark.parametrize(
    "backend", [mixed(URL, long=None), mixed(long=URL), mixed(URL, long=OTHER, other=None)]
)
def test_jobs_of_workers_are_counted_where_the_workers_count_them(backend: Backend) -> None:
    assert isinstance(backend.batches, RedisBatches)
    assert isinstance(backend.locks, RedisLocks)
    assert isinstance(backend.limiter, RedisLimiter)
    assert isinstance(backend.job_statuses, RedisJobStatuses)
    backend.close()


def test_a_connection_without_any_server_leaves_inline_jobs_alone() -> None:
    backend = mixed(long=None)

    assert isinstance(backend.batches, SyncBatches)
    assert isinstance(backend.locks, NullLocks)


def test_one_of_several_servers_must_be_chosen() -> None:
    backend = mixed(long=URL, other=OTHER)

    with pytest.raises(NotConfigured, match="set redis_url"):
        _ = backend.batches


def test_queued_jobs_share_what_is_on_the_server() -> None:
    backend = Backend(Settings(redis_url=URL))

    assert isinstance(backend.batches, RedisBatches)
    assert isinstance(backend.failed_jobs, FailedJobsOfConnections)
    assert backend.failed_jobs is backend.failed_jobs
    assert isinstance(backend.clients, RedisClients)
    backend.close()


@pytest.mark.parametrize("store", ["batches", "failed_jobs", "locks", "limiter"])
def test_a_missing_server_is_said_when_it_is_needed(store: str) -> None:
    backend = Backend(Settings())

    with pytest.raises(NotConfigured, match="no Redis server was found"):
        getattr(backend, store)
