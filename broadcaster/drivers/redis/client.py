"""
Connections to one Redis server: sync, async, and blocking ones of their own.

What redis-py does by default is wrong here, so everything is said out loud: it would
send a command again up to ten times when the answer was lost (duplicating writes) and
end blocking reads after five seconds. Here nothing is retried except where a caller
says that its script may be repeated (see `scripts_loader`), and RESP2 is spoken without
greetings beyond AUTH, SELECT and the client's name.

Time: connecting takes at most 0.5 s, each answer at most 1 s, and all of what a verb waits
for less than 2 s: `translated` holds plain verbs to that, and ``asyncio.timeout`` the others.
"""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import contextmanager, suppress
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from broadcaster.drivers.redis.deadlines import TimedQueue, begin_verb, end_verb, in_time
from broadcaster.drivers.redis.idle import alook_first, look_first
from broadcaster.drivers.redis.keys import Keys
from broadcaster.drivers.redis.packing import write_fast
from broadcaster.drivers.redis.sentinel import NO_MASTER, async_pool, sync_pool
from broadcaster.drivers.redis.sentinel_urls import SENTINEL_SCHEMES, parse_sentinel_url
from broadcaster.drivers.redis.urls import scheme_of
from broadcaster.errors import ConfigurationError, DriverRefused, DriverUnavailable, LeaseLost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
VERB_SECONDS = 1.9
HEALTH_SECONDS = 15
MAX_CONNECTIONS = 50  # calls beyond them wait, POOL_SECONDS at most, instead of failing at once
POOL_SECONDS = 1.0
_STUMBLES = (ValueError, TypeError, LookupError, AttributeError)
_IN_SCRIPT = re.compile(r"user_script: ?\d+|\bscript: ")
# States of the server, not of a key. Servers before version 7 quote them inside their own error.
_PASSING = re.compile(
    r"\b(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|LOADING|BUSY|NOPERM)\b"
    r"|ACL failure|user executing the script|Script killed"
)


class RedisClients:
    """
    The clients of one process for one server, made when first used.

    Args:
        url: ``redis://[user:password@]host:port/db``, ``rediss://...`` or
            ``unix:///path?db=0``, or sentinels: ``redis+sentinel://host:port,.../service/db``.
        prefix: what all keys begin with.

    Raises:
        ConfigurationError: the URL cannot be used.
    """

    def __init__(self, url: str, prefix: str = "broadcaster") -> None:
        is_sentinel = scheme_of(url) in SENTINEL_SCHEMES
        self.url = url
        self._sentinel = parse_sentinel_url(url) if is_sentinel else None
        self.keys = Keys(prefix)
        self._lock = threading.RLock()  # threads share this object; signals come amid its work
        self._sync: redis.Redis | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, redis.asyncio.Redis] = {}
        self._endings: dict[asyncio.AbstractEventLoop, AsyncGenerator[None]] = {}
        self._blocking: list[redis.asyncio.Redis] = []

    @property
    def prefix(self) -> str:
        """What all keys begin with."""
        return self.keys.prefix

    @property
    def follows(self) -> bool:
        """Whether sentinels say where the server is, so that it may be another one later."""
        return self._sentinel is not None

    @property
    def address(self) -> str:
        """Where the server is, without credentials: for messages."""
        return address_of(self.sync)

    @property
    def sync(self) -> redis.Redis:
        """The client for code without an event loop; safe to share between threads."""
        if (present := self._sync) is not None:  # a child forked meanwhile finds the lock taken
            return present
        with self._lock:
            if self._sync is None:
                made = redis.Redis.from_pool(self._new_pool())
                if self._sync is None:  # else a handler of signals has needed it meanwhile
                    self._sync = made
            return self._sync

    @property
    def aio(self) -> redis.asyncio.Redis:
        """
        The client of the running event loop.

        Connections belong to the loop that opened them, so each loop has its own client;
        those of closed loops are dropped. Outside of a loop this raises `RuntimeError`.
        """
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            with self._lock:
                for dead in [one for one in self._by_loop if one.is_closed()]:
                    del self._by_loop[dead]
                    self._endings.pop(dead, None)
                client = self._by_loop[loop] = self._new_aio(ANSWER_SECONDS)
                self._endings[loop] = _begun(_closing(client))
        return client

    def blocking(self) -> redis.asyncio.Redis:
        """
        Return a new async client whose reads wait for ever: for BLPOP.

        It is closed by `aclose`, or by its user before that.
        """
        client = self._new_aio(None)
        self._blocking.append(client)
        return client

    async def aclose(self) -> None:
        """Close the clients of this event loop, and the sync one."""
        with self._lock:
            mine = self._by_loop.pop(asyncio.get_running_loop(), None)
            ending = self._endings.pop(asyncio.get_running_loop(), None)
            closing, self._blocking = self._blocking, []
        if mine is not None:
            closing.append(mine)
        if ending is not None:
            await ending.aclose()
        for client in closing:
            await client.aclose()
        self.close()

    def close(self) -> None:
        """Close the sync client; it opens again when used."""
        with self._lock:
            client, self._sync = self._sync, None
        if client is not None:
            client.close()

    def _new_pool(self) -> redis.ConnectionPool:
        options = _options(self.url, ANSWER_SECONDS)
        pool: redis.ConnectionPool
        if self._sentinel is not None:
            pool = sync_pool(self._sentinel, options)
        else:
            pool = redis.BlockingConnectionPool.from_url(
                self.url,
                retry=Retry(NoBackoff(), 0),
                timeout=POOL_SECONDS,
                queue_class=TimedQueue,
                **options,
            )
        look_first(pool)
        in_time(pool)
        return pool

    def _new_aio(self, answer_seconds: float | None) -> redis.asyncio.Redis:
        options = _options(self.url, answer_seconds)
        pool: redis.asyncio.ConnectionPool
        if self._sentinel is not None:
            pool = async_pool(self._sentinel, options)
        else:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                self.url, retry=AsyncRetry(NoBackoff(), 0), timeout=POOL_SECONDS, **options
            )
        alook_first(pool)
        write_fast(pool)
        return redis.asyncio.Redis.from_pool(pool)


async def _closing(client: redis.asyncio.Redis) -> AsyncGenerator[None]:
    """
    Close `client` when the loop that this was begun in shuts its generators down.

    A program that ends its loop without `RedisClients.aclose` (``asyncio.run``, a test) would
    leave open sockets behind, and nobody could close them any more.
    """
    try:
        yield
    finally:
        await client.aclose()


def _begun(generator: AsyncGenerator[None]) -> AsyncGenerator[None]:
    """Run `generator` to its yield, which it reaches without waiting."""
    with suppress(StopIteration):
        generator.__anext__().send(None)
    return generator


class ServerFacts(NamedTuple):
    """
    What was learned about the server at start-up.

    Attributes:
        version: e.g. ``9.1.2``.
        run_id: identifies the server process; it changes with every restart.
        appendonly: whether accepted writes survive a restart.
    """

    version: str
    run_id: str
    appendonly: bool


async def check_server(clients: RedisClients) -> ServerFacts:
    """
    Make sure that the server can be trusted with what is written to it.

    Raises:
        ConfigurationError: it evicts keys when memory is short, or is a replica.
        DriverUnavailable: it cannot be reached.
    """
    client = clients.aio
    with translated(client):
        async with asyncio.timeout(VERB_SECONDS):
            info: dict[str, Any] = await client.info()
    where = address_of(client)
    policy = str(info.get("maxmemory_policy", ""))
    if policy != "noeviction":
        raise ConfigurationError(
            f"Redis at {where} has maxmemory-policy {policy!r} and would drop queued jobs and "
            "positions when memory is short; run: redis-cli CONFIG SET maxmemory-policy noeviction "
            "(and set it in redis.conf)"
        )
    if info.get("role") != "master":
        raise ConfigurationError(
            f"Redis at {where} is a {info.get('role')} and refuses writes; "
            f"use its master {info.get('master_host')}:{info.get('master_port')}"
        )
    version = str(info.get("valkey_version") or info.get("redis_version"))
    return ServerFacts(version, str(info["run_id"]), bool(info.get("aof_enabled")))


def address_of(client: redis.Redis | redis.asyncio.Redis) -> str:
    """Return host and port, or the socket's path; never credentials."""
    pool: Any = client.connection_pool
    where = pool.connection_kwargs
    if hasattr(pool, "service_name"):
        return f"the master of {pool.service_name} (Sentinel)"
    if "path" in where:
        return str(where["path"])
    return f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"


@contextmanager
def translated(client: redis.Redis | redis.asyncio.Redis) -> Generator[None, None, None]:
    """
    Turn every exception of redis-py and of the network into ours.

    On Python 3.11 redis-py may swallow a cancellation: it sends through
    ``asyncio.wait_for``, which returns the result when both come in one tick. It is raised
    again here, or else a loop over commands would run on after it was cancelled.

    Whatever is done in it with a plain client ends in less than 2 s, all together.

    Raises:
        LeaseLost: a script's error reply begins with ``LEASE``.
        DriverRefused: a key has another type than it should, or a script cannot run on
            what it finds.
        DriverUnavailable: everything else that redis-py or the network raises; states of
            the server that pass (no memory, a replica, loading) among it, and whatever
            redis-py stumbles over in what is no answer of Redis.
    """
    task = _current_task()
    requests = 0 if task is None else task.cancelling()
    begun = isinstance(client, redis.Redis) and begin_verb(VERB_SECONDS)
    try:
        yield
    except Exception as error:
        if not isinstance(error, (RedisError, OSError)) and not _came_through_redis_py(error):
            raise
        if task is not None and task.cancelling() > requests:
            raise asyncio.CancelledError from error
        raise _our(error, address_of(client)) from error
    finally:
        if begun:
            end_verb()
    if task is not None and task.cancelling() > requests:
        raise asyncio.CancelledError


def refusal(error: RedisError, client: redis.asyncio.Redis) -> DriverRefused | None:
    """Return the `DriverRefused` that `translated` would raise for `error`, or None."""
    ours = _our(error, address_of(client))
    return ours if isinstance(ours, DriverRefused) else None


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None


def _came_through_redis_py(error: Exception) -> bool:
    """Not so what a handler of signals raises amid a call: Celery's soft time limit, for example."""
    modules = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return isinstance(error, _STUMBLES) and any(each.startswith("redis.") for each in modules)


def _our(error: Exception, where: str) -> DriverUnavailable | DriverRefused | LeaseLost:
    text = str(error).removeprefix("ERR ")
    if isinstance(error, ResponseError) and text.startswith("LEASE"):
        return LeaseLost(text)
    if _is_refusal(error, text):
        return DriverRefused(
            f"Redis at {where} refused a command: {text}; look for a key that broadcaster did not write"
        )
    if isinstance(error, (RedisTimeoutError, TimeoutError)):
        return DriverUnavailable(
            f"Redis at {where} did not answer in time; see whether it is running, frozen or overloaded"
        )
    if _is_about_credentials(error, text):
        return DriverUnavailable(
            f"Redis at {where} refused the credentials; check user and password in the Redis URL"
        )
    if isinstance(error, NO_MASTER):
        return DriverUnavailable(
            f"Redis at {where} cannot be reached: no sentinel names a master that is well; "
            "see whether the sentinels run, and know that name"
        )
    if isinstance(error, (RedisConnectionError, OSError, UnicodeError)):  # that: of its name
        return DriverUnavailable(
            f"Redis at {where} cannot be reached ({text}); start it, or correct the Redis URL"
        )
    if not isinstance(error, RedisError):
        text = f"does not answer as Redis does ({type(error).__name__}: {text})"
        return DriverUnavailable(f"Redis at {where} {text}; correct the Redis URL")
    return DriverUnavailable(f"Redis at {where} refused a command: {text}")


def _is_refusal(error: Exception, text: str) -> bool:
    """
    Whether the same command will be refused again, whenever it is sent.

    redis-py has subclasses for states of the server only. When a pipeline raises, the number of
    the command stands before the text, which is a tuple's in async code.

    Source: Redis and Valkey, ``script.c`` and ``script_lua.c``: an error in a script ends with
    ``script: <sha>, on @user_script:<line>.``, or begins with it before version 7.
    """
    if type(error) is not ResponseError:
        return False
    reply = text.rpartition(" of pipeline caused error: ")[2].lstrip("('\"")
    if reply.startswith("WRONGTYPE"):
        return True
    return _IN_SCRIPT.search(reply) is not None and _PASSING.search(reply) is None


def _is_about_credentials(error: Exception, text: str) -> bool:
    """redis-py has classes for this, and loses them on the way when connecting."""
    known = isinstance(error, (AuthenticationError, AuthorizationError))
    return known or any(sign in text for sign in ("WRONGPASS", "NOAUTH", "username-password"))


def _options(url: str, answer_seconds: float | None) -> dict[str, Any]:
    keepalive = {} if urlsplit(url).scheme == "unix" else {"socket_keepalive": True}
    return {
        **keepalive,
        "decode_responses": False,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": answer_seconds,
        "health_check_interval": HEALTH_SECONDS,
        "max_connections": MAX_CONNECTIONS,
        "client_name": "broadcaster",
        "protocol": 2,
        "driver_info": None,
    }
