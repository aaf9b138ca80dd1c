"""
Sends webhooks, to addresses that were checked.

The guard sits where connections are made: a name is resolved once, each address is asked
about (`broadcaster.protocol.addresses`), and the connection goes to an address that passed,
so no second look at the name can lead elsewhere. Host header, TLS name and certificate are
those of the URL. Redirects are not followed and proxies of the environment not used: there is
no other way to a connection than this one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import httpcore
import httpx

from broadcaster.contracts.webhooks import Answer
from broadcaster.errors import AddressRefused, DriverUnavailable
from broadcaster.protocol.addresses import why_refused
from broadcaster.protocol.channels import shown
from broadcaster.protocol.webhooks import check_webhook_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from httpcore import SOCKET_OPTION

    from broadcaster.protocol.addresses import AddressRules

    Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_ADDRESSES = 4
"""Addresses of one host that are tried."""
KEPT_CONNECTIONS = 100
KEPT_SECONDS = 30.0
SHOWN_BYTES = 300
READ_BYTES = 16_384
"""How much of an answer is read; a longer one costs the connection, which is closed then."""
RESOLVERS = 8
_USER_AGENT = "broadcaster-webhooks"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
    ssl.SSLError,
)


class HttpWebhooks:
    """
    See `broadcaster.contracts.webhooks.WebhookSender`.

    Args:
        rules: which addresses are allowed beyond public ones.
        timeout: seconds for one request in all.
        resolve: returns the addresses of a host, instead of the system's resolver.
        tls: what certificates are checked against, instead of the usual authorities.
    """

    def __init__(
        self,
        rules: AddressRules,
        *,
        timeout: float = 10.0,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout = timeout
        self._resolver = None if resolve else _Resolver()
        network = _GuardedNetwork(rules, resolve or _Resolver.of(self._resolver))
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpx.create_ssl_context(trust_env=False),
            # Unbounded here, for a wait would hold up all receivers: callers bound what one gets.
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=network,
        )

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """See `WebhookSender.post`."""
        target, host = _target(url)
        sent = [
            ("Host", host),
            ("User-Agent", _USER_AGENT),
            ("Accept", "*/*"),
            ("Content-Length", str(len(body))),
            *headers,
        ]
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(target, _own_headers_once(sent), body)
        except TimeoutError as error:
            raise DriverUnavailable(f"no answer within {self._timeout:g} s") from error
        except _ERRORS as error:
            raise DriverUnavailable(f"no answer: {_cause(error)}") from error

    async def aclose(self) -> None:
        """See `WebhookSender.aclose`."""
        await self._pool.aclose()
        if self._resolver is not None:
            self._resolver.close()

    async def _post(
        self, target: httpcore.URL, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Answer:
        # Reads and writes are held to the whole time, by the caller.
        extensions = {"timeout": {"connect": self._timeout / 2}}
        stream = self._pool.stream(
            "POST", target, headers=headers, content=body, extensions=extensions
        )
        async with stream as answer:
            read = bytearray()
            # A body that breaks off is of no account: the status was said.
            with suppress(httpcore.NetworkError, httpcore.ProtocolError):
                async for part in answer.aiter_stream():
                    read += part
                    if len(read) > READ_BYTES:
                        break
            return Answer(answer.status, bytes(read[:SHOWN_BYTES]))


class _GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to hosts by addresses that passed."""

    def __init__(self, rules: AddressRules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        # (a checker that cannot see anyio takes httpcore's stand-in for it)
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve `host`, check what comes, connect to the first address that answers."""
        addresses = await self._allowed(host, port)
        each = None if timeout is None else timeout / len(addresses)
        failure: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, each, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Pause, as httpcore asks for between tries of its own."""
        await asyncio.sleep(seconds)

    async def _allowed(self, host: str, port: int) -> list[str]:
        try:
            found = list(dict.fromkeys(await self._resolve(host, port)))
        except OSError as error:
            raise httpcore.ConnectError(f"{shown(host)} cannot be resolved") from error
        verdicts = {address: why_refused(address, self._rules, host=host) for address in found}
        allowed = [address for address, why in verdicts.items() if why is None]
        if allowed:
            return allowed[:MAX_ADDRESSES]
        if not found:
            raise httpcore.ConnectError(f"{shown(host)} has no address")
        address, why = next(iter(verdicts.items()))
        private = why_refused(address, replace(self._rules, private=True), host=host) is None
        raise AddressRefused(
            f"no request is sent to {shown(host)}: its address {address} is {why}; if that is "
            f"meant, set webhooks.allowed to [{host!r}] or a network"
            f"{', or webhooks.allow_private' if private else ''}"
        )


class _Resolver:
    """The system's resolver, in threads of its own; one question a host at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")
        self._asked: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    @staticmethod
    def of(resolver: _Resolver | None) -> Resolve:
        """Return what asks `resolver`."""
        assert resolver is not None
        return resolver.resolve

    def close(self) -> None:
        """Wait for nobody; a thread ends when its answer comes."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return addresses; raises `OSError`."""
        key = host, port
        answer = self._asked.get(key)
        if answer is None:
            loop = asyncio.get_running_loop()
            answer = self._asked[key] = loop.run_in_executor(self._threads, _addresses, host, port)
            answer.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(answer)

    def _answered(self, key: tuple[str, int], answer: asyncio.Future[list[str]]) -> None:
        del self._asked[key]
        if not answer.cancelled():
            answer.exception()  # whoever asked may be gone


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long, or empty
        raise OSError(str(error)) from error
    return [str(address[0]) for *_, address in found]


def _target(url: str) -> tuple[httpcore.URL, str]:
    """Return where `url` leads, and its Host header."""
    parts = urlsplit(check_webhook_url(url))
    host = parts.hostname or ""
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    name = f"[{host}]" if ":" in host else host
    header = name if port == _DEFAULT_PORTS[parts.scheme] else f"{name}:{port}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(scheme=parts.scheme, host=host, port=port, target=path), header


def _own_headers_once(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return `headers` as bytes; of two with one name the later, as User-Agent may be set."""
    by_name = {name.lower(): (name.encode(), value.encode()) for name, value in headers}
    return list(by_name.values())


def _cause(error: BaseException) -> str:
    """Return what happened as one line: what a reader can act on, else the innermost words."""
    if isinstance(error, httpcore.ConnectTimeout):
        return "no connection in time"
    chain = list(_chain(error))
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return "connection refused: nothing listens on this port"
    if any(getattr(one, "reason", "") == "WRONG_VERSION_NUMBER" for one in chain):
        return "it does not speak TLS: is it http:// instead of https://?"
    said = next((one for one in chain if str(one)), error)
    return " ".join(str(said).split())[:200] or type(said).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it; where there are several causes, the first."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        else:
            error = error.__cause__ or error.__context__
