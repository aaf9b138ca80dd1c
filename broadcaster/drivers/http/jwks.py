"""
Reads public keys (JWK Sets) over HTTP, in a task of its own.

When a URL is read next:

=========================  ==========================================================
after                      next
=========================  ==========================================================
nothing yet                at once
a failure                  after 1 s, doubled with each further failure up to 30 s
success, a key is missing  30 s after it at the earliest
success                    10 minutes after it
=========================  ==========================================================
"""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from broadcaster.contracts.public_keys import KeyDocument
from broadcaster.errors import ConfigurationError, DriverUnavailable, MalformedMessage
from broadcaster.protocol.jwks import MAX_BYTES, check_jwks_url, parse_jwks

if TYPE_CHECKING:
    from collections.abc import Callable

REFRESH_SECONDS = 600.0
ASKED_SECONDS = 30.0
LONGEST_PAUSE = 30.0
FETCH_SECONDS = 5.0
MAX_URLS = 1_000
_log = logging.getLogger("broadcaster.jwks")
# Not compressed: what is read is what counts against the limit.
_HEADERS = {
    "Accept": "application/jwk-set+json, application/json",
    "Accept-Encoding": "identity",
}


class _Source:
    """What is known of one URL; times are Unix seconds."""

    __slots__ = ("asked", "document", "failures", "tried_at")

    def __init__(self) -> None:
        self.document: KeyDocument | None = None
        self.tried_at: float | None = None
        self.failures = 0
        self.asked = False

    def due_at(self) -> float:
        return next_read(self.tried_at, failures=self.failures, asked=self.asked)


def next_read(tried_at: float | None, *, failures: int, asked: bool) -> float:
    """
    Return when a URL is to be read next; see the module's table.

    Args:
        tried_at: Unix seconds of the last attempt.
        failures: attempts that failed since the last success.
        asked: whether a key is missing.
    """
    if tried_at is None:
        return 0.0
    if failures:
        return tried_at + min(2.0 ** (min(failures, 10) - 1), LONGEST_PAUSE)
    return tried_at + (ASKED_SECONDS if asked else REFRESH_SECONDS)


class HttpPublicKeys:
    """
    See `broadcaster.contracts.public_keys.PublicKeys`.

    Args:
        transport: instead of the network, for tests.
        clock: Unix seconds.
        timeout: seconds that one request may take in all.
    """

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        timeout: float = FETCH_SECONDS,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._timeout = timeout
        self._sources: dict[str, _Source] = {}
        self._wake = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []

    def find(self, url: str) -> KeyDocument | None:
        """See `PublicKeys.find`."""
        return self._source(url).document

    def refresh(self, url: str) -> None:
        """See `PublicKeys.refresh`."""
        source = self._source(url)
        if not source.asked:
            source.asked = True
            self._wake.set()

    def on_read(self, callback: Callable[[], None]) -> None:
        """See `PublicKeys.on_read`."""
        self._callbacks.append(callback)

    async def run(self) -> None:
        """See `PublicKeys.run`."""
        async with httpx.AsyncClient(
            transport=self._transport,
            timeout=self._timeout,
            headers=_HEADERS,
            follow_redirects=False,
            trust_env=False,
        ) as client:
            while True:
                self._wake.clear()
                now = self._clock()
                due = [url for url, source in self._sources.items() if source.due_at() <= now]
                await asyncio.gather(*(self._read(client, url) for url in due))
                await self._rest()

    async def _rest(self) -> None:
        """Wait until a URL is due, or somebody asks."""
        times = [source.due_at() for source in self._sources.values()]
        pause = max(min(times) - self._clock(), 0.0) if times else None
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return

    def _source(self, url: str) -> _Source:
        source = self._sources.get(url)
        if source is None:
            if len(self._sources) >= MAX_URLS:
                raise ConfigurationError(f"public keys come from {MAX_URLS} URLs at most")
            source = self._sources[check_jwks_url(url)] = _Source()
            self._wake.set()
        return source

    async def _read(self, client: httpx.AsyncClient, url: str) -> None:
        source = self._sources[url]
        source.asked = False
        source.tried_at = self._clock()
        try:
            body = await self._fetch(client, url)
            count = len(parse_jwks(body))
        except (DriverUnavailable, MalformedMessage) as error:
            source.failures += 1
            source.asked = True
            _log.warning(
                "public keys at %s cannot be read (%s); trying again",
                _shown(url),
                error,
                extra={"event": "jwks_failed"},
            )
            return
        if source.document is None or source.document.body != body:
            _log.info("%d public keys at %s", count, _shown(url), extra={"event": "jwks_read"})
        source.failures = 0
        source.document = KeyDocument(body, source.tried_at)
        for callback in self._callbacks:
            callback()

    async def _fetch(self, client: httpx.AsyncClient, url: str) -> bytes:
        try:
            async with (
                asyncio.timeout(self._timeout),
                client.stream("GET", url) as answer,
            ):
                if answer.status_code != HTTPStatus.OK:
                    raise DriverUnavailable(f"the answer was {answer.status_code}, not 200")
                body = bytearray()
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > MAX_BYTES:
                        raise MalformedMessage(f"the answer is over {MAX_BYTES} bytes")
                return bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise DriverUnavailable(f"no answer in time: {type(error).__name__}") from error


def _shown(url: str) -> str:
    """Return a URL for the log: a query may hold a secret."""
    return url.partition("?")[0].partition("#")[0]
