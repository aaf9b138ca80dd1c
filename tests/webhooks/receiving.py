"""A receiver of webhooks on this machine: keeps every request, answers as it is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.polling import eventually

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

HANG = 0
"""Instead of a status: no answer at all, until the receiver ends."""


@dataclass
class Received:
    """
    One request.

    Attributes:
        line: the request line.
        headers: names and values in their order, as they were written.
        body: its bytes.
    """

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        found = [value for known, value in self.headers if known.lower() == name.lower()]
        assert len(found) == 1, f"{len(found)} headers are called {name}"
        return found[0]

    @property
    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded

    @property
    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.json["events"]
        return events

    def channels_end_with(self, suffix: str) -> bool:
        return all(event["channel"].endswith(suffix) for event in self.events)

    @property
    def ids(self) -> list[str]:
        return self.header("X-Broadcaster-Webhook-Id").split(",")


@dataclass
class WebhookReceiver:
    """
    A server on loopback.

    Attributes:
        requests: what came, oldest first.
        answer: status for a request; `HANG` for none.
        extra: further header lines of each answer, and its body after an empty line.
        connections: how many there were.
    """

    port: int = 0
    scheme: str = "http"
    requests: list[Received] = field(default_factory=list[Received])
    answer: Callable[[Received], int] = lambda _: 200
    extra: bytes = b"\r\n"
    connections: int = 0
    under_way: int = 0
    most_at_once: int = 0

    @property
    def url(self) -> str:
        host = "localhost" if self.scheme == "https" else "127.0.0.1"
        return f"{self.scheme}://{host}:{self.port}/hooks"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.requests for event in request.events]

    @property
    def channels(self) -> list[str]:
        return [event["channel"] for event in self.events]

    async def got(self, count: int, *, within: float = 15.0) -> list[Received]:
        await eventually(lambda: len(self.requests) >= count, within=within)
        return self.requests

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                self.under_way += 1
                self.most_at_once = max(self.most_at_once, self.under_way)
                status = self.answer(request)
                if status == HANG:
                    await reader.read()  # until the other side has enough
                self.under_way -= 1
                if status == HANG:
                    return
                body = self.extra.partition(b"\r\n\r\n")[2]
                head = self.extra.partition(b"\r\n\r\n")[0].strip(b"\r\n")
                lines = [f"HTTP/1.1 {status} Whatever".encode()]
                lines += [head] if head else []
                if b"content-length" not in head.lower():
                    lines.append(b"Content-Length: %d" % len(body))
                writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.decode().rstrip("\r\n").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (text.partition(":") for text in lines)]
    length = next(int(value) for name, value in headers if name.lower() == "content-length")
    return Received(line, headers, await reader.readexactly(length))


@asynccontextmanager
async def receiving(
    *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebhookReceiver]:
    """Run a receiver until the block ends."""
    receiver = WebhookReceiver(scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await receiver._serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
