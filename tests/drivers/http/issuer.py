"""Somebody who issues grants: an HTTP server that answers as the test says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Issuer:
    """Answers with what the test puts into `body` and `head`."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.head = b"HTTP/1.1 200 OK"
        self.asked = 0
        self.silent = False
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        if self.silent:
            return
        length = b"Content-Length: %d\r\n" % len(self.body)
        writer.write(self.head + b"\r\n" + length + b"Connection: close\r\n\r\n" + self.body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def running_issuer(body: bytes) -> AsyncIterator[Issuer]:
    """Serve until the block ends; the query of the URL is a secret."""
    issuer = Issuer(body)
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys?key=hidden"
    async with server:
        yield issuer
        for writer in issuer.writers:
            writer.close()
