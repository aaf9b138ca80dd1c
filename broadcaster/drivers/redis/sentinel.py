"""
Connections to whichever server Redis Sentinel calls the master.

Every new connection asks the sentinels, one after the other, so after a failover the next
connection goes to the new master. A connection to a master that became a replica ends at
its first refused write. One that was frozen and wakes up takes itself for the master for
some seconds yet, and forgets afterwards what it accepts: whoever uses an idle connection
asks again, once in `FRESH_SECONDS`, and drops those to another server.
"""

from __future__ import annotations

import asyncio
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import parse_qs, unquote, urlsplit

import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.retry import Retry

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT = 26_379
SENTINEL_SECONDS = 0.5
"""Seconds that one sentinel has to answer."""
FIND_SECONDS = 1.5
"""Seconds in which one of them has to name the master."""
FRESH_SECONDS = 1.0
"""How long what they said is believed without asking."""
SILENT_SECONDS = 5.0
"""The same after none of them has answered."""
SLOW_SECONDS = 0.1
"""Who waited longer for a connection asks again whether it leads to the master."""
NO_MASTER = (redis.sentinel.MasterNotFoundError, redis.asyncio.sentinel.MasterNotFoundError)
_OF_TLS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_OF_SENTINELS = ("sentinel_username", "sentinel_password", "sentinel_ssl")
_REPLACED = "the master was replaced meanwhile"
_NO_ANSWER = (ResponseError, InvalidResponse, ValueError, TypeError, LookupError, AttributeError)
"""What redis-py raises, as it comes, about answers that are no sentinel's."""
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


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
        sentinel_secure: the sentinels do.
        tls: options of both, as redis-py names them.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int
    login: Mapping[str, str]
    sentinel_login: Mapping[str, str]
    secure: bool
    sentinel_secure: bool = False
    tls: Mapping[str, Any] = MappingProxyType({})


def parse_sentinel_url(url: str) -> SentinelUrl:
    """
    Return the parts of ``redis+sentinel://[user:password@]host:port,host:port/service/db``.

    ``rediss+sentinel://`` means that the servers speak TLS. Options behind a ``?``:
    ``sentinel_username``, ``sentinel_password`` and ``sentinel_ssl`` (true: TLS) are for the
    sentinels themselves; ``ssl_ca_certs``, ``ssl_ca_path``, ``ssl_certfile``, ``ssl_keyfile``,
    ``ssl_cert_reqs`` and ``ssl_check_hostname`` are for all connections with TLS.

    Raises:
        ConfigurationError: it has no service, an option that there is not, or a port or
            database that is no number.
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
    _refuse_unknown(said)
    tls: dict[str, Any] = {name: said[name] for name in _OF_TLS if name in said}
    if "ssl_check_hostname" in said:
        tls["ssl_check_hostname"] = _truth(said["ssl_check_hostname"], "ssl_check_hostname")
    return SentinelUrl(
        sentinels=tuple(_address(host) for host in hosts.split(",") if host),
        service=unquote(service),
        database=_number(database or "0", "database"),
        login=_login(unquote(user), unquote(password)),
        sentinel_login=_login(said.get("sentinel_username", ""), said.get("sentinel_password", "")),
        secure=parts.scheme.startswith("rediss"),
        sentinel_secure=_truth(said.get("sentinel_ssl", "false"), "sentinel_ssl"),
        tls=MappingProxyType(tls),
    )


class SyncPool(redis.sentinel.SentinelConnectionPool):
    """Connections for threads, which takes those to its sentinels with it when it closes."""

    ask_at = 0.0

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """
        Return a connection to the master as it was `FRESH_SECONDS` ago at most.

        Raises:
            ConnectionError: of redis-py: the master was replaced while we connected to it.
        """
        began = time.monotonic()
        if began >= self.ask_at and self.master_address is not None:
            self._ask(began)
        connection: Any = super().get_connection(*args, **options)  # type: ignore[no-untyped-call]  # not annotated
        if time.monotonic() - began > SLOW_SECONDS:
            self._ask(time.monotonic())
            if (connection.host, connection.port) != self.master_address:
                self.release(connection)
                raise RedisConnectionError(_REPLACED)
        return connection

    def _ask(self, now: float) -> None:
        self.ask_at = now + FRESH_SECONDS
        try:
            self.get_master_address()  # type: ignore[no-untyped-call]  # not annotated
        except (RedisError, OSError):
            self.ask_at = time.monotonic() + SILENT_SECONDS

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - of redis-py
        """Close connections; all of them, unless only idle ones are meant."""
        super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                sentinel.close()


class AsyncPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """Connections for one event loop; see `SyncPool`."""

    ask_at = 0.0

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        """See `SyncPool.get_connection`."""
        began = time.monotonic()
        if began >= self.ask_at and self.master_address is not None:
            await self._ask(began)
        connection: Any = await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]  # not annotated
        if time.monotonic() - began > SLOW_SECONDS:
            await self._ask(time.monotonic())
            if (connection.host, connection.port) != self.master_address:
                await self.release(connection)
                raise RedisConnectionError(_REPLACED)
        return connection

    async def _ask(self, now: float) -> None:
        self.ask_at = now + FRESH_SECONDS  # before asking, so that nobody else asks too
        try:
            async with asyncio.timeout(SENTINEL_SECONDS):
                await self.get_master_address()  # type: ignore[no-untyped-call]  # not annotated
        except (RedisError, OSError, TimeoutError):
            self.ask_at = time.monotonic() + SILENT_SECONDS

    async def release(self, connection: Any) -> None:
        """Take `connection` back; close it first if it goes to a server that was replaced."""
        if (connection.host, connection.port) != self.master_address:
            await connection.disconnect()
        await super().release(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - of redis-py
        """Close connections; all of them, unless only idle ones are meant."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


class OneSentinel(redis.Redis):
    """A sentinel, or what is taken for one: the others are asked if it does not answer as such."""

    def sentinel_masters(self) -> Any:
        """
        Return the masters that it knows, by name.

        Raises:
            ConnectionError: of redis-py: what it answers is of no use.
        """
        try:
            return masters_that_are(super().sentinel_masters())
        except _NO_ANSWER as error:
            raise RedisConnectionError(f"this is no sentinel ({error!r})") from error


class OneAsyncSentinel(redis.asyncio.Redis):
    """See `OneSentinel`."""

    async def sentinel_masters(self) -> Any:
        """See `OneSentinel.sentinel_masters`."""
        try:
            return masters_that_are(await super().sentinel_masters())
        except _NO_ANSWER as error:
            raise RedisConnectionError(f"this is no sentinel ({error!r})") from error


def masters_that_are(told: Any) -> dict[str, Mapping[str, Any]]:
    """
    Return the masters, by name, to whose address one can connect. Pure.

    Args:
        told: of all, as redis-py returns it.
    """
    masters: Mapping[str, Mapping[str, Any]] = told
    return {name: state for name, state in masters.items() if _is_address(state)}


def _is_address(state: Mapping[str, Any]) -> bool:
    host, port = state.get("ip"), state.get("port")
    try:
        name = host.encode("idna") if isinstance(host, str) else b""
    except UnicodeError:
        return False
    return bool(name) and b"\0" not in name and isinstance(port, int) and 0 < port <= _MAX_NUMBER


class MasterFinder:
    """
    Asks the sentinels where the master is, for whoever keeps a connection of their own.

    It belongs to the event loop that uses it first, until it is closed.
    """

    def __init__(self, url: SentinelUrl) -> None:
        self._url = url
        self._manager: redis.asyncio.sentinel.Sentinel | None = None

    async def find(self) -> tuple[str, int]:
        """
        Return host and port of the master.

        Raises:
            ConnectionError: no sentinel names a master that is well.
        """
        if self._manager is None:
            self._manager = _async_manager(self._url)
        try:
            async with asyncio.timeout(FIND_SECONDS):
                host, port = await self._manager.discover_master(self._url.service)  # type: ignore[no-untyped-call]  # not annotated
        except (RedisError, OSError, TimeoutError) as error:
            raise ConnectionError(
                f"none of {len(self._url.sentinels)} sentinels names a master that is well"
            ) from error
        return str(host), int(port)

    async def aclose(self) -> None:
        """Close the connections to the sentinels; they open again when used."""
        manager, self._manager = self._manager, None
        if manager is not None:
            await manager.aclose()


def sync_pool(url: SentinelUrl, options: Mapping[str, Any]) -> SyncPool:
    """
    Return connections for threads.

    Args:
        options: of each connection to a server.
    """
    kwargs: dict[str, Any] = {**_of_sentinels(url), "retry": Retry(NoBackoff(), 0)}
    manager: Any = redis.sentinel.Sentinel([], sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]  # not annotated
    manager.sentinels = [
        OneSentinel(host=host, port=port, **kwargs) for host, port in url.sentinels
    ]
    given = {**_of_servers(url, options), "retry": Retry(NoBackoff(), 0)}
    return SyncPool(url.service, manager, **given)  # type: ignore[no-untyped-call]  # not annotated


def async_pool(url: SentinelUrl, options: Mapping[str, Any]) -> AsyncPool:
    """Return connections for the running event loop; see `sync_pool`."""
    given = {**_of_servers(url, options), "retry": AsyncRetry(NoBackoff(), 0)}
    return AsyncPool(url.service, _async_manager(url), **given)  # type: ignore[no-untyped-call]  # the same


def _async_manager(url: SentinelUrl) -> redis.asyncio.sentinel.Sentinel:
    kwargs: dict[str, Any] = {**_of_sentinels(url), "retry": AsyncRetry(NoBackoff(), 0)}
    manager: Any = redis.asyncio.sentinel.Sentinel([], sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]  # not annotated
    manager.sentinels = [
        OneAsyncSentinel(host=host, port=port, **kwargs) for host, port in url.sentinels
    ]
    return cast("redis.asyncio.sentinel.Sentinel", manager)


def _of_sentinels(url: SentinelUrl) -> dict[str, Any]:
    tls = {"ssl": True, **url.tls} if url.sentinel_secure else {}
    return {
        **tls,
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
    tls = {"ssl": True, **url.tls} if url.secure else {}
    return {**kept, **url.login, "db": url.database, **tls}


def _refuse_unknown(said: Mapping[str, str]) -> None:
    known = (*_OF_SENTINELS, *_OF_TLS, "ssl_check_hostname")
    unknown = sorted(said.keys() - set(known))
    if unknown:
        raise ConfigurationError(
            f"the Redis URL has an option {unknown[0][:30]!r}, which sentinels have not; "
            f"there are {', '.join(known)}"
        )


def _truth(text: str, what: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise ConfigurationError(
            f"{what} in the Redis URL must be true or false, not {text[:20]!r}"
        )
    return _TRUTHS[text.lower()]


def _login(user: str, password: str) -> dict[str, str]:
    said = {"username": user, "password": password}
    return {name: value for name, value in said.items() if value}


_MAX_NUMBER = 65_535
_DIGITS = 5


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), SENTINEL_PORT
    return host.strip("[]"), _number(port, "port")


def _number(text: str, what: str) -> int:
    # What stands there may be a part of a password with a / in it.
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS or int(text) > _MAX_NUMBER:
        raise ConfigurationError(
            f"the {what} in the Redis URL must be a number from 0 to {_MAX_NUMBER}; "
            "write % codes for / ? # @ : in a password"
        )
    return int(text)
