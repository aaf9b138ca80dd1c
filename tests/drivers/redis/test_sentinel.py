"""A server that Sentinel chooses, before and after a failover."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from broadcaster.contracts.queue import NewJob, QueueSizes
from broadcaster.drivers.redis.client import RedisClients, address_of, check_server
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.sentinel import (
    FRESH_SECONDS,
    MasterFinder,
    SentinelUrl,
    parse_sentinel_url,
)
from broadcaster.errors import ConfigurationError, DriverUnavailable
from tests.drivers.redis.test_pubsub import Recorder, listening
from tests.faults import BareServer
from tests.polling import eventually
from tests.sentinels import Watched
from tests.tls import self_signed, tls_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults import FaultyServer


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        (
            "redis+sentinel://a:1,b/shop",
            SentinelUrl((("a", 1), ("b", 26_379)), "shop", 0, {}, {}, secure=False),
        ),
        (
            "rediss+sentinel://me:p%40ss@[::1]:5/shop/3?sentinel_password=s",
            SentinelUrl(
                (("::1", 5),),
                "shop",
                3,
                {"username": "me", "password": "p@ss"},
                {"password": "s"},
                secure=True,
            ),
        ),
        (
            "rediss+sentinel://a/shop?sentinel_ssl=true&ssl_ca_certs=/ca.pem&ssl_check_hostname=no",
            SentinelUrl(
                (("a", 26_379),),
                "shop",
                0,
                {},
                {},
                secure=True,
                sentinel_secure=True,
                tls={"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
            ),
        ),
    ],
)
def test_the_url_names_sentinels_and_service(url: str, parsed: SentinelUrl) -> None:
    assert parse_sentinel_url(url) == parsed


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://a:1", "must name the sentinels"),
        ("redis+sentinel:///shop", "must name the sentinels"),
        ("redis+sentinel://a:x/shop", "the port"),
        ("redis+sentinel://a/shop/x", "the database"),
        ("redis+sentinel://a/shop?sentinel_pass=s", "an option 'sentinel_pass'"),
        ("redis+sentinel://a/shop?sentinel_ssl=maybe", "sentinel_ssl in the Redis URL must be"),
    ],
)
def test_wrong_urls_are_explained(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        RedisClients(url)


def test_messages_name_the_service_and_no_password() -> None:
    clients = RedisClients("redis+sentinel://me:secret@127.0.0.1:1/shop?sentinel_password=hush")

    assert address_of(clients.sync) == "the master of shop (Sentinel)"
    with pytest.raises(
        DriverUnavailable, match=r"the master of shop .* no sentinel names"
    ) as caught:
        RedisQueue(clients).sizes("default")
    assert "secret" not in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Watched]:
    """Three sentinels, and passwords everywhere."""
    made = Watched(
        tmp_path, sentinels=3, password="of servers", sentinel_password="of sentinels", database=2
    )
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.redis
async def test_pubsub_goes_to_the_new_master_with_passwords_and_a_database(
    guarded: Watched,
) -> None:
    clients, recorder = RedisClients(guarded.url), Recorder()
    try:
        await check_server(clients)
        async with listening(clients, recorder) as subscriptions:
            subscriptions.want(b"news")
            await eventually(lambda: b"news" in recorder.acknowledged)

            await asyncio.to_thread(guarded.kill_master)
            await eventually(lambda: recorder.acknowledged.count(b"news") > 1, within=20)
            await clients.aio.publish("news", b"after")
            await eventually(lambda: recorder.messages)
            databases = {each["name"]: each["db"] for each in await clients.aio.client_list()}
    finally:
        await clients.aclose()

    assert recorder.heard[:5] == ["made", "subscribed news", "lost", "made", "subscribed news"]
    assert recorder.messages == [(b"news", b"after")]
    assert databases["broadcaster-pubsub"] == databases["broadcaster"] == "2"


@pytest.mark.redis
async def test_pubsub_leaves_a_frozen_master_when_another_is_named(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own PINGs would find that out ten seconds later, and never if it woke up before."""
    clients, recorder = RedisClients(watched.url), Recorder()
    try:
        async with listening(clients, recorder, follow_seconds=0.1) as subscriptions:
            subscriptions.want(b"news")
            await eventually(lambda: b"news" in recorder.acknowledged)

            watched.freeze_master()
            await eventually(lambda: watched.moved, within=20)
            watched.thaw_master()
            moved = time.monotonic()
            await eventually(lambda: recorder.acknowledged.count(b"news") > 1)
            took = time.monotonic() - moved
    finally:
        await clients.aclose()

    assert "the sentinels name another master" in caplog.text
    assert took < 4


@pytest.mark.redis
async def test_idle_connections_are_not_used_to_a_master_that_was_replaced(
    watched: Watched,
) -> None:
    """It wakes up as a master for ten seconds, and forgets what it accepts in them."""
    clients = RedisClients(watched.url)
    queue = RedisQueue(clients)
    try:
        queue.push([NewJob("a", "sync", b"{}")])
        await queue.apush([NewJob("b", "async", b"{}")])

        watched.freeze_master()
        await eventually(lambda: watched.moved, within=20)
        watched.thaw_master()
        await asyncio.sleep(FRESH_SECONDS)  # for so long an answer of the sentinels is believed
        queue.push([NewJob("c", "sync", b"{}")])
        await queue.apush([NewJob("d", "async", b"{}")])
        new = RedisClients(f"redis://127.0.0.1:{watched.ports[1]}")
        found = [RedisQueue(new).sizes(name) for name in ("sync", "async")]
        new.close()
    finally:
        await clients.aclose()

    assert found == [QueueSizes(ready=2), QueueSizes(ready=2)]


@pytest.mark.redis
async def test_tls_is_spoken_with_the_servers_that_sentinels_name(
    redis_server: FaultyServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate, recorder = self_signed(tmp_path), Recorder()
    path = redis_server.url.removeprefix("unix://").partition("?")[0]
    async with tls_proxy(path, certificate) as port:

        async def find(_: MasterFinder) -> tuple[str, int]:
            return "localhost", port

        monkeypatch.setattr(MasterFinder, "find", find)
        clients = RedisClients(f"rediss+sentinel://a/shop?ssl_ca_certs={certificate.cert}")
        async with listening(clients, recorder) as subscriptions:
            subscriptions.want(b"news")
            await eventually(lambda: b"news" in recorder.acknowledged)

    pool = clients.sync.connection_pool
    assert issubclass(pool.connection_class, redis.SSLConnection)
    assert pool.connection_kwargs["ssl_ca_certs"] == str(certificate.cert)


def test_sentinels_speak_tls_only_when_told_to() -> None:
    url = "rediss+sentinel://a/shop?ssl_cert_reqs=none&sentinel_ssl="
    pools: list[Any] = [RedisClients(url + said).sync.connection_pool for said in ("no", "yes")]

    sentinels = [pool.sentinel_manager.sentinels[0] for pool in pools]
    classes = [sentinel.connection_pool.connection_class for sentinel in sentinels]

    assert [issubclass(each, redis.SSLConnection) for each in classes] == [False, True]


async def test_a_wait_for_hints_is_short_so_that_it_is_not_at_an_old_master_for_long(
    watched: Watched,
) -> None:
    clients = RedisClients(watched.url)
    try:
        async with asyncio.timeout(FRESH_SECONDS + 10):
            hint = await RedisQueue(clients).wait("mail", 60)
    finally:
        await clients.aclose()

    assert hint is None


@pytest.mark.redis
async def test_who_waited_for_a_connection_asks_again_where_the_master_is(tmp_path: Path) -> None:
    """A server that hangs while we connect may wake up as an old master."""
    server = BareServer(tmp_path / "redis")
    server.start()
    admin = redis.Redis(port=server.port)
    clients = RedisClients("redis+sentinel://127.0.0.1:1/shop")
    try:
        pools: list[Any] = [clients.aio.connection_pool, clients.sync.connection_pool]
        answers = [("127.0.0.1", server.port), ("127.0.0.1", 1)] * 2
        pools[0].sentinel_manager.discover_master = AsyncMock(side_effect=answers[:2])
        pools[1].sentinel_manager.discover_master = Mock(side_effect=answers[2:])

        admin.client_pause(300)
        with pytest.raises(RedisConnectionError, match="replaced meanwhile"):
            await clients.aio.ping()
        admin.client_pause(300)
        with pytest.raises(RedisConnectionError, match="replaced meanwhile"):
            await asyncio.to_thread(clients.sync.ping)
    finally:
        admin.close()
        await clients.aclose()
        server.kill()
