"""Where the pub/sub connection of a gateway goes: one server, or whom sentinels call the master."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis.connection import parse_url

from broadcaster.drivers.redis.client import ANSWER_SECONDS, CONNECT_SECONDS
from broadcaster.drivers.redis.pubsub_link import PING
from broadcaster.drivers.redis.resp import encode_command
from broadcaster.drivers.redis.sentinel import MasterFinder
from broadcaster.drivers.redis.sentinel_urls import SENTINEL_SCHEMES, parse_sentinel_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.drivers.redis.pubsub_link import Link

DEFAULT_PORT = 6379


class Endpoint:
    """
    The server that a URL leads to, now.

    Args:
        url: as for `broadcaster.drivers.redis.client.RedisClients`.

    Attributes:
        moves: it may be another server later.
    """

    def __init__(self, url: str) -> None:
        if urlsplit(url).scheme in SENTINEL_SCHEMES:
            named = parse_sentinel_url(url)
            self._finder: MasterFinder | None = MasterFinder(named)
            self._secure = named.secure
            self._options: Mapping[str, Any] = {**named.login, **named.tls, "db": named.database}
        else:
            self._finder = None
            self._secure = url.startswith("rediss:")
            self._options = parse_url(url)  # type: ignore[no-untyped-call]  # not annotated by redis-py
        self.moves = self._finder is not None

    async def find(self) -> tuple[str, int]:
        """
        Return host and port of the server; its path and 0 for a Unix socket.

        Raises:
            ConnectionError: no sentinel names a master that is well.
        """
        if self._finder is not None:
            return await self._finder.find()
        where = self._options
        if "path" in where:
            return str(where["path"]), 0
        return str(where.get("host", "localhost")), int(where.get("port", DEFAULT_PORT))

    async def open(self, link: Link, where: tuple[str, int]) -> None:
        """
        Connect `link` to the server at `where`, and return when it was greeted.

        Raises:
            OSError: it cannot be reached, or refuses the greeting.
            TimeoutError: it does not answer in time.
        """
        loop, (host, port) = asyncio.get_running_loop(), where
        async with asyncio.timeout(CONNECT_SECONDS):
            if not port:
                await loop.create_unix_connection(lambda: link, host)
            else:
                secure = _ssl_context(self._options) if self._secure else None
                await loop.create_connection(lambda: link, host, port, ssl=secure)
        async with asyncio.timeout(ANSWER_SECONDS):
            await link.greet(_greeting(self._options))

    async def aclose(self) -> None:
        """Close the connections to the sentinels."""
        if self._finder is not None:
            await self._finder.aclose()


def _greeting(where: Mapping[str, Any]) -> list[bytes]:
    commands: list[bytes] = []
    if where.get("password"):
        user = [where["username"].encode()] if where.get("username") else []
        commands.append(encode_command(b"AUTH", *user, where["password"].encode()))
    if where.get("db"):
        commands.append(encode_command(b"SELECT", str(where["db"]).encode()))
    commands.append(encode_command(b"CLIENT", b"SETNAME", b"broadcaster-pubsub"))
    commands.append(PING)
    return commands


def _ssl_context(where: Mapping[str, Any]) -> ssl.SSLContext:
    """Mean by the options of a URL with TLS what redis-py means by them."""
    context = ssl.create_default_context(
        cafile=where.get("ssl_ca_certs"), capath=where.get("ssl_ca_path")
    )
    if where.get("ssl_certfile"):
        context.load_cert_chain(where["ssl_certfile"], where.get("ssl_keyfile"))
    verify = str(where.get("ssl_cert_reqs", "required"))
    if verify == "none" or not where.get("ssl_check_hostname", True):
        context.check_hostname = False
    if verify == "none":
        context.verify_mode = ssl.CERT_NONE
    return context
