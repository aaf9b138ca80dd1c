"""
Connections to whichever server Redis Sentinel calls the master.

Every new connection asks the sentinels, one after the other, so after a failover the next
connection goes to the new master. A connection to a master that became a replica ends at
its first refused write. One that was frozen and wakes up takes itself for the master for
some seconds yet, and forgets afterwards what it accepts: whoever uses an idle connection
asks again, once in `FRESH_SECONDS`, and drops those to another server. Who comes while that is
asked waits for the answer. A sentinel that is silent is asked last from then on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.retry import Retry

from broadcaster.drivers.redis.deadlines import granted, time_left
from broadcaster.drivers.redis.idle import distrust
from broadcaster.drivers.redis.sentinel_urls import MAX_PORT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from broadcaster.drivers.redis.sentinel_urls import SentinelUrl

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
_REPLACED = "the master was replaced meanwhile"
_NO_ANSWER = (ResponseError, InvalidResponse, ValueError, TypeError, LookupError, AttributeError)
"""What redis-py raises, as it comes, about answers that are no sentinel's."""


class SyncPool(redis.sentinel.SentinelConnectionPool):
    """Connections for threads, which takes those to its sentinels with it when it closes."""

    ask_at = 0.0
    asked_at = 0.0  # when the last question began that has come to an end

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """
        Return a connection to the master as it was `FRESH_SECONDS` ago at most.

        Raises:
            ConnectionError: of redis-py: the master was replaced while we connected to it.
        """
        self._checkpid()
        began = time.monotonic()
        if began >= self.ask_at and self.master_address is not None:
            with self._one_at_a_time():
                if time.monotonic() >= self.ask_at:
                    self._ask()
        connection: Any = super().get_connection(*args, **options)  # type: ignore[no-untyped-call]  # not annotated
        late = time.monotonic()
        if late - began > SLOW_SECONDS:
            try:
                with self._one_at_a_time():
                    if self.asked_at < late:
                        self._ask()
            except BaseException:
                self.release(connection)
                raise
            if (connection.host, connection.port) != self.master_address:
                self.release(connection)
                raise RedisConnectionError(_REPLACED)
        return connection

    def reset(self) -> None:
        """Forget every connection: a child that was forked has none of its own."""
        super().reset()  # type: ignore[no-untyped-call]  # not annotated
        self._asking = threading.RLock()  # a handler of signals may ask amid a question

    @contextmanager
    def _one_at_a_time(self) -> Generator[None]:
        """Wait while somebody else asks; whoever asks for too long holds up nobody."""
        taken = self._asking.acquire(timeout=granted(FIND_SECONDS, time_left()) or 0)
        try:
            yield
        finally:
            if taken:
                self._asking.release()

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            self.get_master_address()  # type: ignore[no-untyped-call]  # not annotated
        except (RedisError, OSError):
            self.ask_at = time.monotonic() + SILENT_SECONDS
        else:
            self.ask_at = began + FRESH_SECONDS
        self.asked_at = began

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - of redis-py
        """Close connections; all of them, unless only idle ones are meant."""
        super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                sentinel.close()


class AsyncPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """Connections for one event loop; see `SyncPool`."""

    ask_at = 0.0
    asked_at = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]  # not annotated
        self._asking = asyncio.Lock()

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        """See `SyncPool.get_connection`."""
        began = time.monotonic()
        if began >= self.ask_at and self.master_address is not None:
            async with self._asking:
                if time.monotonic() >= self.ask_at:
                    await self._ask()
        connection: Any = await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]  # not annotated
        late = time.monotonic()
        if late - began > SLOW_SECONDS:
            try:
                async with self._asking:
                    if self.asked_at < late:
                        await self._ask()
            except BaseException:
                await self.release(connection)
                raise
            if (connection.host, connection.port) != self.master_address:
                await self.release(connection)
                raise RedisConnectionError(_REPLACED)
        return connection

    async def _ask(self) -> None:
        began = time.monotonic()
        sentinels: Any = self.sentinel_manager.sentinels
        asked_first = sentinels[:1]
        try:
            async with asyncio.timeout(SENTINEL_SECONDS):
                await self.get_master_address()  # type: ignore[no-untyped-call]  # not annotated
        except (RedisError, OSError, TimeoutError):
            self.ask_at = time.monotonic() + SILENT_SECONDS
            for silent in asked_first:  # it may have had all of the time
                sentinels.postpone(silent)
        else:
            self.ask_at = began + FRESH_SECONDS
        self.asked_at = began

    async def release(self, connection: Any) -> None:
        """Take `connection` back; close it first if it goes to a server that was replaced."""
        if (connection.host, connection.port) != self.master_address:
            # Whoever waited for its end could be cancelled before it is back.
            await connection.disconnect(nowait=True)
        await super().release(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - of redis-py
        """Close all connections, or see to it that idle ones are renewed before they are used."""
        if not inuse_connections:
            distrust(self)
            return
        await super().disconnect()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()


class Sentinels(list[Any]):
    """
    All that the URL names, who answered last before the others.

    redis-py writes who has answered to the first place, and who was there to the place of that
    one. Two callers that find the first one silent at once would lose one of them for ever.
    """

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])

    def __setitem__(self, place: Any, sentinel: Any) -> None:
        if place == 0:
            super().__setitem__(slice(None), [sentinel, *self._but(sentinel)])

    def postpone(self, sentinel: Any) -> None:
        """Put one behind the others."""
        super().__setitem__(slice(None), [*self._but(sentinel), sentinel])

    def _but(self, sentinel: Any) -> list[Any]:
        return [each for each in self if each is not sentinel]


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
    return bool(name) and b"\0" not in name and isinstance(port, int) and 0 < port <= MAX_PORT


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
    manager.sentinels = Sentinels(
        OneSentinel(host=host, port=port, **kwargs) for host, port in url.sentinels
    )
    given = {**_of_servers(url, options), "retry": Retry(NoBackoff(), 0)}
    return SyncPool(url.service, manager, **given)  # type: ignore[no-untyped-call]  # not annotated


def async_pool(url: SentinelUrl, options: Mapping[str, Any]) -> AsyncPool:
    """Return connections for the running event loop; see `sync_pool`."""
    given = {**_of_servers(url, options), "retry": AsyncRetry(NoBackoff(), 0)}
    return AsyncPool(url.service, _async_manager(url), **given)  # type: ignore[no-untyped-call]  # the same


def _async_manager(url: SentinelUrl) -> redis.asyncio.sentinel.Sentinel:
    kwargs: dict[str, Any] = {**_of_sentinels(url), "retry": AsyncRetry(NoBackoff(), 0)}
    manager: Any = redis.asyncio.sentinel.Sentinel([], sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]  # not annotated
    manager.sentinels = Sentinels(
        OneAsyncSentinel(host=host, port=port, **kwargs) for host, port in url.sentinels
    )
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
