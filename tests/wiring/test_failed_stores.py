"""Failed jobs of several connections, in Redis and in a database (row 43)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import NullPool, create_engine, inspect

from broadcaster.contracts.queue import Fail, NewJob, StepRequest
from broadcaster.contracts.stores import FailedFilter
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import ConfigurationError, DriverUnavailable, NotConfigured
from broadcaster.settings import ConnectionSettings, FailedSettings, QueueSettings, Settings
from broadcaster.wiring.failed_stores import FailedStores, open_failed_jobs, servers
from broadcaster.wiring.operations import open_operations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.contracts.stores import FailedJobs

FIRST, SECOND = "1" * 32, "2" * 32


async def fail(url: str, prefix: str, job_id: str, queue: str = "mail") -> None:
    clients = RedisClients(url, prefix)
    store = RedisQueue(clients)
    try:
        await store.apush([NewJob(id=job_id, queue=queue, body=b"{}")])
        request = StepRequest(queue=queue, reserve=1, worker="w", ordered="#" in queue)
        (held,) = (await store.step(request)).reserved
        settled = Fail(held.id, held.token, "exception", "OSError: no", job="Send")
        await store.step(StepRequest(queue=queue, settlements=[settled], worker="w"))
    finally:
        await clients.aclose()


@pytest.fixture
def spare_url(redis_url: str) -> str:
    """Another database of the server: nobody of the first one sees what is in it."""
    return redis_url.replace("db=0", "db=1")


@pytest.fixture
def two(redis_url: str, prefix: str, spare_url: str) -> Settings:
    """The default connection, where `FIRST` has failed, and another, where `SECOND` has."""
    asyncio.run(fail(redis_url, prefix, FIRST))
    asyncio.run(fail(spare_url, prefix, SECOND))
    return Settings(
        redis_url=redis_url,
        prefix=prefix,
        queues={
            "same": ConnectionSettings(),
            "spare": ConnectionSettings(redis_url=spare_url),
        },
    )


@pytest.fixture(params=["redis", "sql"])
def kept(request: pytest.FixtureRequest, two: Settings, tmp_path: Path) -> Settings:
    """Settings that keep failed jobs there or there."""
    url = f"sqlite:///{tmp_path / 'failed.db'}"
    return replace(two, failed=FailedSettings(driver=request.param, url=url))


@pytest.fixture
def store(kept: Settings) -> Iterator[FailedJobs]:
    with open_failed_jobs(kept) as made:
        yield made


def ready(url: str, prefix: str) -> int:
    with contextlib.closing(RedisClients(url, prefix)) as clients:
        return RedisQueue(clients).sizes("mail").ready


def ids(store: FailedJobs, **where: Any) -> list[str]:
    return [job.id for job in store.find(where=FailedFilter(**where))]


@pytest.mark.redis
def test_row_43_failed_jobs_of_all_connections_are_found(store: FailedJobs) -> None:
    assert [(job.id, job.connection) for job in store.find()] == [
        (SECOND, "spare"),
        (FIRST, "default"),
    ]
    assert ids(store, connection="spare") == [SECOND]
    assert ids(store, connection="nobody") == []
    found = store.get(SECOND)
    assert found is not None
    assert found.error == "OSError: no"
    many = store.get_many([FIRST, "x", SECOND, FIRST])
    assert [(job.id, job.connection) for job in many] == [(FIRST, "default"), (SECOND, "spare")]
    assert store.get_many([]) == []


@pytest.mark.redis
def test_row_43_each_goes_back_to_the_connection_that_it_came_from(
    store: FailedJobs, redis_url: str, spare_url: str, prefix: str
) -> None:
    assert store.retry([SECOND, "x"]) == [SECOND]
    assert (ready(redis_url, prefix), ready(spare_url, prefix)) == (0, 1)
    assert store.retry_all(where=FailedFilter(queue="mail")) == [FIRST]
    assert (ready(redis_url, prefix), ready(spare_url, prefix)) == (1, 1)
    assert store.retry_all() == []


@pytest.mark.redis
def test_row_43_failed_jobs_of_all_connections_are_deleted(store: FailedJobs) -> None:
    assert store.prune(3_600) == 0
    assert store.forget([FIRST]) == 1
    assert store.flush(where=FailedFilter(connection="spare")) == 1
    assert ids(store) == []


@pytest.mark.redis
def test_status_counts_those_of_its_connection(kept: Settings) -> None:
    for name in ("", "spare"):
        operations = open_operations(kept, name)
        with contextlib.closing(operations.clients):
            (mail,) = operations.backlogs(archived=True)
        assert (mail.queue, mail.failed) == ("mail", 1)


@pytest.mark.redis
def test_those_of_lanes_are_those_of_their_queue(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    asyncio.run(fail(redis_url, prefix, FIRST, "orders#3"))
    asyncio.run(fail(redis_url, prefix, SECOND, "orders_3"))
    said = FailedSettings(driver="sql", url=f"sqlite:///{tmp_path / 'failed.db'}")
    with open_failed_jobs(Settings(redis_url=redis_url, prefix=prefix, failed=said)) as store:
        assert ids(store, queue="orders") == ids(store, queue="orders#3") == [FIRST]
        assert store.retry_all("orders") == [FIRST]


@pytest.mark.redis
def test_a_database_that_is_away_leaves_failed_jobs_in_redis(
    two: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = FailedSettings(driver="sql", url=f"sqlite:///{tmp_path / 'nowhere' / 'failed.db'}")

    with (
        open_failed_jobs(replace(two, failed=away)) as store,
        pytest.raises(DriverUnavailable, match="the database of failed jobs"),
    ):
        store.find()

    assert "may be missing" in caplog.text
    with open_failed_jobs(two) as store:
        assert len(store.find()) == 2


@pytest.mark.redis
def test_a_redis_that_is_away_leaves_what_is_in_the_database(
    two: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = FailedSettings(driver="sql", url=f"sqlite:///{tmp_path / 'failed.db'}")
    with open_failed_jobs(replace(two, failed=said)) as store:
        assert len(store.find()) == 2

    gone = replace(two, failed=said, redis_url="redis://127.0.0.1:1/0")
    with caplog.at_level(logging.WARNING), open_failed_jobs(gone) as store:
        assert len(store.find()) == 2
        with pytest.raises(DriverUnavailable):
            store.retry([FIRST])
    assert "may be missing" in caplog.text


@pytest.mark.redis
def test_the_table_is_made_once_whoever_comes_first(two: Settings, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'failed.db'}"
    said = replace(two, failed=FailedSettings(driver="sql", url=url, table="jobs_that_failed"))

    with open_failed_jobs(said) as one, open_failed_jobs(said) as other:
        assert ids(one) == ids(other)

    engine = create_engine(url, poolclass=NullPool)
    assert inspect(engine).get_table_names() == ["jobs_that_failed"]


def test_connections_that_share_a_server_share_their_failed_jobs() -> None:
    here, there = "redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0"
    queues = {
        "same": ConnectionSettings(redis_url=here),
        "spare": ConnectionSettings(redis_url=there),
        "inline": ConnectionSettings(driver="sync"),
    }
    given = Settings(redis_url=here, queues=queues)
    over = QueueSettings(driver="failover", connections=("same", "spare"))

    assert servers(given) == {"default": here, "spare": there}
    assert servers(replace(given, queue=over)) == {"same": here, "spare": there}
    assert servers(Settings(redis_url=here, queue=QueueSettings(driver="sync"))) == {
        "default": here
    }
    with pytest.raises(NotConfigured, match="no Redis server was found"):
        servers(Settings())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "failed.url must name the database"),
        ("nonsense", "failed.url must be the URL"),
        ("nosuchdb+driver://ada:hunter2@127.0.0.1/x", "whose driver is installed"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_without_its_password(
    url: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        FailedStores(Settings(failed=FailedSettings(driver="sql", url=url)), {})

    assert "hunter2" not in str(refused.value)


@pytest.mark.redis
def test_a_job_of_a_connection_that_is_gone_says_what_to_do(two: Settings, tmp_path: Path) -> None:
    said = FailedSettings(driver="sql", url=f"sqlite:///{tmp_path / 'failed.db'}")
    with open_failed_jobs(replace(two, failed=said)) as store:
        assert len(store.find()) == 2

    with (
        open_failed_jobs(replace(two, failed=said, queues={})) as store,
        pytest.raises(ConfigurationError, match=r"add \[queues.spare\]"),
    ):
        store.retry([SECOND])
