"""
Connections to whichever server Redis Sentinel calls the master.

Every new connection asks the sentinels, one after the other, so after a failover the next
connection goes to the new master. A connection to a master that became a replica ends at
its first refused write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT = 26_379
SENTINEL_SECONDS = 0.5
"""Seconds that one sentinel has to answer."""


class SentinelUrl(NamedTuple):
    """
    Where the sentinels are, and what they are asked for.

    Attributes:
        sentinels: host and port of each.
        service: what they call the master and its replicas.
        database: number of the database.
        login: username and password of the servers, as redis-py names them.
        sentinel_login: the same of the sentinels.
        secure: the servers speak TLS.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int
    login: Mapping[str, str]
    sentinel_login: Mapping[str, str]
    secure: bool


def parse_sentinel_url(url: str) -> SentinelUrl:
    """
    Return the parts of ``redis+sentinel://[user:password@]host:port,host:port/service/db``.

    ``?sentinel_username=...&sentinel_password=...`` are for the sentinels themselves.

    Raises:
        ConfigurationError: it has no service, or a port or database that is no number.
    """
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not hosts:
        raise ConfigurationError(
            "the Redis URL must name the sentinels and what they watch: "
            "redis+sentinel://host:26379,other:26379/mymaster/0"
        )
    user, _, password = login.partition(":")
    said = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return SentinelUrl(
        sentinels=tuple(_address(host) for host in hosts.split(",") if host),
        service=unquote(service),
        database=_number(database or "0", "database"),
        login=_login(unquote(user), unquote(password)),
        sentinel_login=_login(said.get("sentinel_username", ""), said.get("sentinel_password", "")),
        secure=parts.scheme.startswith("rediss"),
    )


class SyncPool(redis.sentinel.SentinelConnectionPool):
    """Connections for threads, which takes those to its sentinels with it when it closes."""

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - of redis-py
        """Close connections; all of them, unless only idle ones are meant."""
        super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                sentinel.close()


class AsyncPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """Connections for one event loop; see `SyncPool`."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - of redis-py
        """Close connections; all of them, unless only idle ones are meant."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


def sync_pool(url: SentinelUrl, options: Mapping[str, Any]) -> SyncPool:
    """
    Return connections for threads.

    Args:
        options: of each connection to a server.
    """
    kwargs = _of_sentinels(url) | {"retry": Retry(NoBackoff(), 0)}
    manager = redis.sentinel.Sentinel(url.sentinels, sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]  # not annotated
    given = {**_of_servers(url, options), "retry": Retry(NoBackoff(), 0)}
    return SyncPool(url.service, manager, **given)  # type: ignore[no-untyped-call]  # not annotated


def async_pool(url: SentinelUrl, options: Mapping[str, Any]) -> AsyncPool:
    """Return connections for the running event loop; see `sync_pool`."""
    kwargs = _of_sentinels(url) | {"retry": AsyncRetry(NoBackoff(), 0)}
    manager = redis.asyncio.sentinel.Sentinel(url.sentinels, sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]  # not annotated
    given = {**_of_servers(url, options), "retry": AsyncRetry(NoBackoff(), 0)}
    return AsyncPool(url.service, manager, **given)  # type: ignore[no-untyped-call]  # the same


def _of_sentinels(url: SentinelUrl) -> dict[str, Any]:
    return {
        **url.sentinel_login,
        "socket_connect_timeout": SENTINEL_SECONDS,
        "socket_timeout": SENTINEL_SECONDS,
        "client_name": "broadcaster",
        "protocol": 2,
        "driver_info": None,
    }


def _of_servers(url: SentinelUrl, options: Mapping[str, Any]) -> dict[str, Any]:
    # This pool has no queue for callers beyond its size: let there be as many as needed.
    kept = {name: value for name, value in options.items() if name != "max_connections"}
    return {**kept, **url.login, "db": url.database, **({"ssl": True} if url.secure else {})}


def _login(user: str, password: str) -> dict[str, str]:
    said = {"username": user, "password": password}
    return {name: value for name, value in said.items() if value}


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), SENTINEL_PORT
    return host.strip("[]"), _number(port, "port")


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigurationError(f"the {what} in the Redis URL must be a number, not {text[:20]!r}")
    return int(text)
