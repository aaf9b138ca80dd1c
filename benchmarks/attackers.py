"""
Clients that mean harm: ``python -m benchmarks.attackers PORT COUNT SECONDS``.

A process of its own, so that what it does costs the others only what the server makes of
it. It connects `COUNT` clients over `CONNECT_SECONDS`, a fifth of each kind:

``idle``       connects, reads what comes, and never says or answers anything
``half_open``  half of them never finish a handshake, half never read again
``garbage``    half send random bytes, half send text that is no message, without end
``bad_auth``   subscribes to 10,000 names with signatures that do not fit
``drip``       sends a byte a second: half in the handshake, half in a message

A client that is thrown out stays out. Prints one JSON line: of each kind, how many came in
and how many were thrown out.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from base64 import b64encode
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from benchmarks.servers import KEY, SOCKET_PATH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONNECT_SECONDS = 5.0
LAST_SECONDS = 20.0
NAMES, NAMES_A_WRITE = 10_000, 50
MASK = b"\x11\x22\x33\x44"


class Client:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send, and wait while the server does not read."""
        self.writer.write(data)
        await self.writer.drain()

    async def read_on(self) -> None:
        """Read until the server ends the connection."""
        while await self.reader.read(65_536):
            pass

    async def sending(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Send piece after piece, and read what comes, until thrown out."""
        reading = asyncio.create_task(self.read_on())
        try:
            for piece in pieces:
                await self.send(piece)
                await asyncio.sleep(pause)
                if reading.done():
                    break
            await reading
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await reading


def frame(text: bytes) -> bytes:
    size = len(text)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + MASK + bytes(b ^ MASK[i % 4] for i, b in enumerate(text))


def handshake() -> bytes:
    key = b64encode(os.urandom(16)).decode()
    return (
        f"GET {SOCKET_PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


async def idle(client: Client, _: int) -> None:
    await client.send(handshake())
    await client.read_on()


async def half_open(client: Client, number: int) -> None:
    if number % 2:
        await client.send(handshake()[:40])
        await client.read_on()
    else:
        await client.send(handshake())
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's
        await asyncio.Event().wait()


async def garbage(client: Client, number: int) -> None:
    await client.send(handshake())
    if number % 2:
        await client.sending([os.urandom(1_000) for _ in range(100)])
    else:
        texts = [b"{", b"[" * 3_000, b'{"event":"\\ud800"}', b'{"event":7}', b'{"event":"x"}']
        await client.sending([frame(text) for text in texts] * 1_000)


def _bad_subscriptions() -> list[bytes]:
    def subscribe(number: int) -> bytes:
        data = {"channel": f"private-{number}", "auth": f"{KEY}:" + "0" * 64}
        return frame(json.dumps({"event": "pusher:subscribe", "data": data}).encode())

    return [
        b"".join(map(subscribe, range(start, start + NAMES_A_WRITE)))
        for start in range(0, NAMES, NAMES_A_WRITE)
    ]


BAD_SUBSCRIPTIONS = _bad_subscriptions()


async def bad_auth(client: Client, _: int) -> None:
    await client.send(handshake())
    await client.sending(BAD_SUBSCRIPTIONS)


async def drip(client: Client, number: int) -> None:
    if number % 2:
        data = handshake()
    else:
        await client.send(handshake())
        data = frame(b'{"event":"pusher:ping","data":{"x":"' + b"x" * 1_000 + b'"}}')
    await client.sending([bytes((byte,)) for byte in data], pause=1.0)


KINDS: dict[str, Callable[[Client, int], Awaitable[None]]] = {
    "idle": idle,
    "half_open": half_open,
    "garbage": garbage,
    "bad_auth": bad_auth,
    "drip": drip,
}


THROWN_OUT = ("garbage", "bad_auth")


def kind_of(number: int) -> str:
    return list(KINDS)[number % len(KINDS)]


async def attack(port: int, number: int, counts: Counter[str], wait: float) -> None:
    kind = kind_of(number)
    await asyncio.sleep(wait)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        counts[f"{kind} refused"] += 1
        return
    counts[f"{kind} in"] += 1
    try:
        await KINDS[kind](Client(reader, writer), number // len(KINDS))
        counts[f"{kind} out"] += 1
    except OSError:
        counts[f"{kind} out"] += 1
    finally:
        writer.transport.abort()


async def run(port: int, count: int, seconds: float) -> None:
    counts: Counter[str] = Counter()
    ramp = min(CONNECT_SECONDS, seconds / 2)
    tasks = [
        asyncio.create_task(attack(port, number, counts, random.random() * ramp))
        for number in range(count)
    ]
    await asyncio.sleep(seconds)
    # On a busy machine some have not said yet what every server throws them out for.
    ending = [task for number, task in enumerate(tasks) if kind_of(number) in THROWN_OUT]
    if ending:
        await asyncio.wait(ending, timeout=LAST_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    # The clients that are measured come first on the core they share.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
