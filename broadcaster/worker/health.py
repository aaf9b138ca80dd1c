"""
Whether a worker is well, over HTTP: ``/healthz`` and ``/ready``.

``/healthz`` is 200 while the worker's loop comes round, and 503 when it has not for
`STALE_SECONDS`; a loop that is blocked altogether does not answer, which a probe's timeout
finds out. ``/ready`` is 200 while it takes jobs: not when it stops, is paused, or cannot
reach its queue. Both answer with a line of JSON about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from broadcaster.worker.worker import Worker

STALE_SECONDS = 15.0
REQUEST_SECONDS = 5.0
MAX_HEAD = 8_192
MAX_OPEN = 32
"""Connections at once; one more cuts the oldest, so that probes are answered all the same."""
# So many are accepted at a time, before any of them is served.
_BOUNDS: dict[str, Any] = {"limit": MAX_HEAD, "backlog": MAX_OPEN}
_STATUS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def answer(worker: Worker, method: str, path: str, now: float) -> tuple[int, dict[str, Any]]:
    """
    Return status and body for one request.

    Args:
        now: monotonic seconds.
    """
    if method not in ("GET", "HEAD"):
        return 405, {"error": "only GET is answered here"}
    tick_age = now - worker.ticked
    facts: dict[str, Any] = {
        "worker": worker.name,
        "state": worker.state,
        "tick_age": round(tick_age, 3),
        "running": len(worker.running.plain) + len(worker.running.lanes),
        "away": round(worker.away, 3),
        "server_changes": worker.losses.servers,
        "forgotten": worker.losses.forgotten,
    }
    match path.partition("?")[0]:
        case "/healthz":
            well = tick_age < STALE_SECONDS and not worker.running.hung
        case "/ready":
            well = tick_age < STALE_SECONDS and worker.state == "running" and not worker.away
        case _:
            return 404, {"error": "there are /healthz and /ready"}
    return (200 if well else 503), {"ok": well, **facts}


@asynccontextmanager
async def serving_health(worker: Worker, port: int, path: str) -> AsyncGenerator[None]:
    """
    Answer requests about `worker`.

    Args:
        port: on 127.0.0.1; 0 is none.
        path: of a Unix socket; empty is none.

    Raises:
        ConfigurationError: the port is taken, or the socket cannot be made.
    """
    waiting: dict[asyncio.StreamWriter, None] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(waiting) >= MAX_OPEN:
            oldest = next(iter(waiting))
            del waiting[oldest]
            oldest.transport.abort()
        waiting[writer] = None
        try:
            await _serve(worker, reader, writer)
        finally:
            waiting.pop(writer, None)

    servers: list[asyncio.Server] = []
    try:
        if port:
            with _refused("worker.health_port", str(port)):
                server = await asyncio.start_server(serve, "127.0.0.1", port, **_BOUNDS)
            servers.append(server)
        if path:
            with _refused("worker.health_socket", path):
                server = await asyncio.start_unix_server(serve, path, **_BOUNDS)
            servers.append(server)
        yield
    finally:
        for server in servers:
            server.close()
        for writer in waiting:  # or what serves them would be cancelled with the loop, noisily
            writer.transport.abort()


@contextmanager
def _refused(setting: str, value: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{setting} {value} cannot be listened on ({error.strerror or error}): choose another, "
            "or end what has it"
        ) from error


async def _serve(
    worker: Worker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            method, target = (words[0], words[1]) if len(words) > 1 else ("", "")
            status, facts = answer(worker, method, target, time.monotonic())
            body = b"" if method == "HEAD" else msgspec.json.encode(facts)
            writer.write(_head(status, len(body)) + body)
            await writer.drain()
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # whoever asks so badly gets no answer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _head(status: int, length: int) -> bytes:
    return (
        f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode()
