"""Clients that mean harm, many at once, against a real process: it stays small and serves on."""

from __future__ import annotations

import asyncio
import json
import os
import time
from base64 import b64encode
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from broadcaster.protocol.signing import sign_request
from broadcaster.testing.client import connected
from tests.gateway.fakes import client_frame
from tests.gateway.processes import serve_process
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from broadcaster.testing.client import PusherClient
    from tests.gateway.processes import ServeProcess

CONNECTIONS = 100
# Generous: 100 connections that held 64 kB each would take 6 MB, and an unbounded one far more.
GROWTH_BYTES = 64 * 1024 * 1024
SECONDS = 60
PING = client_frame(b'{"event":"pusher:ping","data":{}}')

Attacker = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def attackers(port: int, *, upgraded: bool = True) -> AsyncIterator[list[Attacker]]:
    made: list[Attacker] = []
    try:
        for _ in range(CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            made.append((reader, writer))
            if upgraded:
                key = b64encode(os.urandom(16)).decode()
                writer.write(
                    f"GET /app/{APP.key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
                )
                await reader.readuntil(b"\r\n\r\n")
        yield made
    finally:
        for _, writer in made:
            writer.transport.abort()


async def swallow(reader: asyncio.StreamReader) -> None:
    """Read until the peer closes."""
    try:
        while await reader.read(65_536):
            pass
    except ConnectionError:
        return


async def send(attacker: Attacker, *pieces: bytes, read: bool = True) -> None:
    """Send until done or thrown out."""
    reader, writer = attacker
    reading = asyncio.create_task(swallow(reader) if read else asyncio.sleep(0))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def nothing(attacker: Attacker) -> None:
    """Stay connected and silent."""


async def garbage(attacker: Attacker) -> None:
    await send(attacker, *(os.urandom(1_000) for _ in range(20)))


async def bad_json(attacker: Attacker) -> None:
    texts = (b"[" * 5_000, b"{", b'{"event":"\\ud800 x"}', b'{"x":' + b"[" * 5_000, b"NaN")
    await send(attacker, *(client_frame(text) for text in texts * 10))


async def bad_subscriptions(attacker: Attacker) -> None:
    def subscribe(number: int) -> bytes:
        data = {"channel": f"private-{number}", "auth": f"{APP.key}:" + "0" * 64}
        return client_frame(json.dumps({"event": "pusher:subscribe", "data": data}).encode())

    await send(attacker, *(subscribe(number) for number in range(1_000)))


async def one_byte_at_a_time(attacker: Attacker) -> None:
    await send(attacker, *(bytes((byte,)) for byte in PING * 5))


async def floods_of_pings(attacker: Attacker) -> None:
    control = client_frame(b"x" * 125, 9)
    await send(attacker, *[(PING * 50 + control * 50) for _ in range(20)])


async def pings_unread(attacker: Attacker) -> None:
    """Answers pile up on our side, for nobody reads them."""
    await send(attacker, *[client_frame(b"x" * 125, 9) * 200 for _ in range(20)], read=False)


async def endless_fragments(attacker: Attacker) -> None:
    first, more = bytearray(client_frame(b"a")), bytearray(client_frame(b"", 0))
    first[0] &= 0x7F
    more[0] &= 0x7F
    await send(attacker, bytes(first), *[bytes(more) * 100 for _ in range(20)])


async def announced_giants(attacker: Attacker) -> None:
    await send(attacker, b"\x81\xff" + (2**40).to_bytes(8, "big"), b"x" * 100_000)


async def half_a_handshake(attacker: Attacker) -> None:
    await send(attacker, b"GET /app/app-key HTTP/1.1\r\nHost: x\r\nX: ", b"x" * 8_000)


async def endless_headers(attacker: Attacker) -> None:
    await send(attacker, b"POST /apps/1/events HTTP/1.1\r\n", *[b"X: " + b"x" * 997] * 100)


async def publish(http: httpx.AsyncClient, number: int) -> None:
    body = json.dumps({"name": "e", "channels": ["orders"], "data": str(number)}).encode()
    path = f"/apps/{APP.id}/events"
    while True:
        params = sign_request(
            APP.key, APP.secret, method="POST", path=path, body=body, params={}, now=time.time()
        )
        answer = await http.post(path, params=params, content=body)
        if answer.status_code == 200:
            return
        # Under attack Redis may answer too late: then a backend repeats what it said.
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        await asyncio.sleep(0.2)


async def receives(client: PusherClient, http: httpx.AsyncClient, number: int) -> None:
    await publish(http, number)
    while number not in client.received("e"):
        await client.next("e", within=SECONDS)


@pytest.mark.process
@pytest.mark.parametrize(
    ("attack", "upgraded"),
    [
        (nothing, True),
        (nothing, False),
        (garbage, True),
        (garbage, False),
        (bad_json, True),
        (bad_subscriptions, True),
        (one_byte_at_a_time, True),
        (floods_of_pings, True),
        (pings_unread, True),
        (endless_fragments, True),
        (announced_giants, True),
        (half_a_handshake, False),
        (endless_headers, False),
    ],
    ids=lambda value: value.__name__ if callable(value) else ("socket" if value else "tcp"),
)
async def test_hostile_clients_harm_nobody(
    attack: Callable[[Attacker], Awaitable[None]],
    upgraded: bool,  # noqa: FBT001 (a parameter of the test)
    redis_url: str,
    prefix: str,
    tmp_path: Path,
) -> None:
    log = tmp_path / "serve.log"
    async with (
        serve_process(redis_url, prefix, "--drain", "0", log=log) as served,
        AsyncExitStack() as stack,
    ):
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", timeout=SECONDS)
        )
        healthy = await stack.enter_async_context(connected(f"ws://127.0.0.1:{served.port}", APP))
        await healthy.subscribe("orders")
        await receives(healthy, http, 0)
        before = memory(served)

        async with attackers(served.port, upgraded=upgraded) as all_of_them:
            async with asyncio.timeout(SECONDS):
                attacking = asyncio.gather(*(attack(one) for one in all_of_them))
                await receives(healthy, http, 1)
                await attacking
            await receives(healthy, http, 2)
            during = memory(served)
        await eventually(lambda: held(served) <= 2, within=SECONDS)
        await receives(healthy, http, 3)

    assert list(dict.fromkeys(healthy.received("e"))) == [0, 1, 2, 3]
    assert during - before < GROWTH_BYTES
    logged = log.read_text(encoding="utf-8")
    assert '"event": "listening"' in logged
    assert [line for line in logged.splitlines() if '"level": "error"' in line] == []
    assert "Traceback" not in logged


def memory(served: ServeProcess) -> int:
    return int(psutil.Process(served.pid).memory_info().rss)


def held(served: ServeProcess) -> int:
    """How many clients the process holds on its port."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == served.port
        for connection in psutil.Process(served.pid).net_connections("tcp")
    )
