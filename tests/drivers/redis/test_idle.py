"""Connections that broke while nobody used them."""

from __future__ import annotations

import asyncio
import hashlib
import select
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from broadcaster.contracts.broker import Outgoing
from broadcaster.contracts.queue import NewJob
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.idle import distrust
from broadcaster.drivers.redis.publish import RedisBroker
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.scripts_loader import Script, arun, run
from tests.tls import Certificate, self_signed, tls_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from tests.faults import FaultyServer

SOURCE = "return redis.call('INCR', KEYS[1])"
COUNT = Script("count", SOURCE, hashlib.sha1(SOURCE.encode()).hexdigest())

pytestmark = pytest.mark.usefixtures("patient")


async def count(clients: RedisClients) -> int:
    """Do what may not be done twice, and so is not repeated."""
    return int(await arun(clients.aio, COUNT, ["n"], []))


def pooled(clients: RedisClients) -> list[Any]:
    """Return the idle connections of this loop."""
    pool: Any = clients.aio.connection_pool
    return list(pool._available_connections)


async def connection_id(connection: Any) -> int:
    await connection.send_command("CLIENT", "ID")
    return int(await connection.read_response())


RUNNERS = [pytest.param(asyncio.run, id="asyncio"), pytest.param(uvloop.run, id="uvloop")]


@pytest.mark.parametrize("run_loop", RUNNERS)
def test_a_call_after_a_restart_that_the_loop_slept_through_runs_once(
    redis_server: FaultyServer, run_loop: Callable[[Coroutine[Any, Any, list[int]]], list[int]]
) -> None:
    """Many connections broke, and none of them is written to."""

    async def main() -> list[int]:
        clients = RedisClients(redis_server.url)
        await asyncio.gather(*(count(clients) for _ in range(5)))
        redis_server.restart(keep_data=True)  # the loop sees nothing of it
        found = await asyncio.gather(*(count(clients) for _ in range(5)))
        await clients.aclose()
        return sorted(found)

    assert run_loop(main()) == [6, 7, 8, 9, 10]


def test_a_plain_call_after_a_restart_runs_once(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)
    run(clients.sync, COUNT, ["n"], [])

    redis_server.restart(keep_data=True)

    assert run(clients.sync, COUNT, ["n"], []) == 2
    clients.close()


async def test_jobs_and_broadcasts_after_a_restart_go_out_once(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)
    queue, broker = RedisQueue(clients), RedisBroker(clients)
    await queue.apush([NewJob("a" * 32, "q", b"{}")])

    redis_server.restart(keep_data=True)
    await queue.apush([NewJob("b" * 32, "q", b"{}")])
    redis_server.restart(keep_data=True)
    await broker.relay([Outgoing("app", "news", b"e" * 16, b"{}")])
    redis_server.restart(keep_data=True)
    sizes = await queue.asizes("q")

    assert sizes.ready == 2
    await clients.aclose()


async def test_a_connection_that_the_loop_saw_break_is_not_used(redis_server: FaultyServer) -> None:
    """It broke with an error, which is not the end of a stream for redis-py."""
    clients = RedisClients(redis_server.url)
    await count(clients)
    (connection,) = pooled(clients)

    connection._writer.transport._force_close(ConnectionResetError("reset by peer"))
    await asyncio.sleep(0)

    assert await count(clients) == 2
    await clients.aclose()


async def test_a_connection_that_was_closed_in_the_pool_is_opened_again(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    await count(clients)
    (connection,) = pooled(clients)

    connection._writer.close()
    found = await count(clients)
    connection._writer.transport.abort()

    assert (found, await count(clients)) == (2, 3)
    await clients.aclose()


async def test_connections_that_may_be_broken_too_are_renewed_and_none_that_is_used(
    redis_server: FaultyServer,
) -> None:
    """Who begins to use one while others are given up keeps it, for what may not be repeated."""
    clients = RedisClients(redis_server.url)
    await asyncio.gather(count(clients), count(clients))
    before = {await connection_id(each) for each in pooled(clients)}

    counting = asyncio.create_task(count(clients))
    distrust(clients.aio.connection_pool)
    found = await counting
    await asyncio.gather(count(clients), count(clients))
    after = {await connection_id(each) for each in pooled(clients)}

    assert found == 3
    assert len(before) == len(after) == 2
    assert not before & after
    await clients.aclose()


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_connection_that_was_idle_for_long_is_tried_first(
    redis_server: FaultyServer, tmp_path: Path, kind: str
) -> None:
    """What drops a connection on the way does not tell; the PING finds out, and nothing is lost."""
    cutter = Cutter(redis_server.url.removeprefix("unix://").partition("?")[0])
    server = await asyncio.start_unix_server(cutter.serve, tmp_path / "s")
    clients = RedisClients(f"unix://{tmp_path}/s")

    async def once() -> Any:
        if kind == "async":
            return await count(clients)
        return await asyncio.to_thread(run, clients.sync, COUNT, ["n"], [])

    await once()
    plain: Any = clients.sync.connection_pool
    for connection in plain._connections if kind == "plain" else pooled(clients):
        connection.next_health_check = 0
    cutter.cuts = b"PING"

    assert await once() == 2
    assert cutter.cut == 1
    server.close()
    await clients.aclose()


async def test_a_connection_with_tls_is_looked_at_too(
    redis_server: FaultyServer, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path)
    with tls_in_a_thread(
        redis_server.url.removeprefix("unix://").partition("?")[0], certificate
    ) as port:
        clients = RedisClients(f"rediss://localhost:{port}?ssl_ca_certs={certificate.cert}")
        await asyncio.gather(*(count(clients) for _ in range(3)))
        sockets = [one._writer.get_extra_info("socket") for one in pooled(clients)]
        redis_server.restart(keep_data=True)
        await_ends(sockets)

        found = await asyncio.gather(*(count(clients) for _ in range(3)))
        await clients.aclose()

    assert sorted(found) == [4, 5, 6]


async def test_a_sound_connection_is_kept(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)
    await count(clients)
    (connection,) = pooled(clients)
    writer = connection._writer

    for _ in range(5):
        await count(clients)

    assert connection._writer is writer
    await clients.aclose()


async def test_without_poll_the_event_loop_is_asked(
    redis_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(select, "poll")  # as on Windows
    clients = RedisClients(redis_server.url)
    await count(clients)
    (connection,) = pooled(clients)

    connection._writer.close()

    assert await count(clients) == 2
    await clients.aclose()


class Cutter:
    """A proxy that cuts connections that carry what `cuts` says, but once."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.cuts = b""
        self.cut = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, to_above = await asyncio.open_unix_connection(self._target)
        try:
            while data := await reader.read(65_536):
                if self.cuts and self.cuts in data:
                    self.cuts = b""
                    self.cut += 1
                    break
                to_above.write(data)
                writer.write(await above.read(65_536))
        finally:
            writer.close()
            to_above.close()


@contextmanager
def tls_in_a_thread(target: str, certificate: Certificate) -> Iterator[int]:
    """Run `tests.tls.tls_proxy` where a loop that is busy does not stop it."""
    ports: list[int] = []
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with tls_proxy(target, certificate) as port:
            ports.append(port)
            ready.set()
            await asyncio.to_thread(over.wait, 60)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        over.set()
        thread.join(10)


def await_ends(sockets: list[Any]) -> None:
    """Wait, with this loop, until the kernel knows that the peers have closed."""
    for sock in sockets:
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        assert poll.poll(10_000)
