"""A server that Sentinel chooses, before and after a failover."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from broadcaster.contracts.queue import NewJob, QueueSizes
from broadcaster.drivers.redis import sentinel
from broadcaster.drivers.redis.client import RedisClients, address_of, check_server
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.sentinel import FRESH_SECONDS, MasterFinder
from broadcaster.errors import DriverUnavailable
from tests.drivers.redis.test_pubsub import Recorder, listening
from tests.faults import BareServer
from tests.polling import eventually
from tests.sentinels import Watched
from tests.tls import self_signed, tls_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults import FaultyServer


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


class Sentinels:
    """Name one master, and when `moved` another one: after `gate` is opened."""

    def __init__(self, old: BareServer, new: BareServer) -> None:
        self.old, self.new = ("127.0.0.1", old.port), ("127.0.0.1", new.port)
        self.moved, self.asked = False, threading.Event()
        self.gate = threading.Event()

    def discover(self, _service: str) -> tuple[str, int]:
        if not self.moved:
            return self.old
        self.asked.set()
        assert self.gate.wait(10)
        return self.new

    async def adiscover(self, service: str) -> tuple[str, int]:
        if not self.moved:
            return self.old
        return await asyncio.to_thread(self.discover, service)


@pytest.fixture
def two_masters(tmp_path: Path) -> Iterator[Sentinels]:
    servers = [BareServer(tmp_path / name) for name in ("old", "new")]
    try:
        for server, name in zip(servers, ("old", "new"), strict=True):
            server.start()
            with redis.Redis(port=server.port) as admin:
                admin.set("name", name)
        yield Sentinels(*servers)
    finally:
        for server in servers:
            server.kill()


@pytest.mark.redis
async def test_who_comes_while_the_sentinels_are_asked_waits_for_the_answer(
    two_masters: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so the first of them only: all that comes at once would go to the old master."""
    monkeypatch.setattr(sentinel, "SENTINEL_SECONDS", 10.0)
    clients = RedisClients("redis+sentinel://127.0.0.1:1/shop")
    pools: list[Any] = [clients.aio.connection_pool, clients.sync.connection_pool]
    pools[0].sentinel_manager.discover_master = two_masters.adiscover
    pools[1].sentinel_manager.discover_master = two_masters.discover

    async def name() -> object:
        return await clients.aio.get("name")

    async def plain() -> object:
        return await asyncio.to_thread(clients.sync.get, "name")

    try:
        for get in (name, plain):
            two_masters.moved = False
            before = [await get(), await get()]
            two_masters.moved = True
            for pool in pools:
                pool.ask_at = 0.0
            two_masters.asked.clear()
            two_masters.gate.clear()
            first = asyncio.create_task(get())
            await eventually(two_masters.asked.is_set)
            others = [asyncio.create_task(get()) for _ in range(3)]
            await asyncio.wait(others, timeout=0.2)  # a moment in which to do it wrong
            two_masters.gate.set()
            assert await asyncio.gather(first, *others) == [b"new"] * 4
            assert before == [b"old", b"old"]
    finally:
        two_masters.gate.set()
        await clients.aclose()


async def test_a_question_that_was_given_up_is_asked_by_the_next_one(
    two_masters: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel, "SENTINEL_SECONDS", 10.0)
    clients = RedisClients("redis+sentinel://127.0.0.1:1/shop")
    pool: Any = clients.aio.connection_pool
    pool.sentinel_manager.discover_master = two_masters.adiscover
    try:
        await clients.aio.ping()
        two_masters.moved, pool.ask_at = True, 0.0
        asking = asyncio.ensure_future(clients.aio.get("name"))
        await eventually(two_masters.asked.is_set)
        asking.cancel()
        await asyncio.wait((asking,))
        two_masters.gate.set()
        found = await clients.aio.get("name")
    finally:
        two_masters.gate.set()
        await clients.aclose()

    assert found == b"new"


async def test_who_gives_up_while_asking_again_leaves_no_connection_behind(
    two_masters: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel, "SLOW_SECONDS", -1.0)
    clients = RedisClients("redis+sentinel://127.0.0.1:1/shop")
    pool: Any = clients.aio.connection_pool
    pool.sentinel_manager.discover_master = two_masters.adiscover
    asked = asyncio.Event()

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(pool, "_ask", never)
    try:
        pinging = asyncio.ensure_future(clients.aio.ping())
        await asked.wait()
        used = len(pool._in_use_connections)
        pinging.cancel()
        await asyncio.wait((pinging,))
        left = len(pool._in_use_connections)
    finally:
        await clients.aclose()

    assert (used, left) == (1, 0)


async def test_a_connection_to_a_replaced_master_is_taken_back_at_once(
    two_masters: Sentinels,
) -> None:
    """Without waiting for its end, amid which the caller may be cancelled."""
    clients = RedisClients("redis+sentinel://127.0.0.1:1/shop")
    pool: Any = clients.aio.connection_pool
    pool.sentinel_manager.discover_master = two_masters.adiscover
    try:
        connection = await pool.get_connection()
        pool.master_address = two_masters.new
        with pytest.raises(StopIteration):
            pool.release(connection).send(None)
        left, is_open = len(pool._in_use_connections), connection.is_connected
    finally:
        await clients.aclose()

    assert (left, is_open) == (0, False)


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
