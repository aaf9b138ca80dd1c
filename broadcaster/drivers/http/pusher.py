"""
The driver ``pusher``: publishes through a Pusher-compatible HTTP API.

That may be hosted Pusher, Reverb, soketi, or a gateway of our own in another network. Each
request carries an ``Idempotency-Key`` made of its publications' ids. A gateway of ours
delivers a repeat after an ambiguous failure once, as long as the same publications share a
request; other servers ignore the header, and there it may arrive twice.

Source: Pusher Channels, "HTTP API reference": ``POST /apps/{id}/events`` takes one event
for up to 100 channels, ``POST /apps/{id}/batch_events`` up to 10 events of one channel.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import httpx

from broadcaster.errors import DriverUnavailable, PublishRefused
from broadcaster.protocol.channels import shown
from broadcaster.protocol.signing import sign_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.apps import App
    from broadcaster.contracts.publisher import Publication

MAX_BATCH = 10
_SHOWN_BODY = 300
# Answers of a server, or of a proxy before it, that is there but cannot work just now.
_TRY_LATER = frozenset({429, 502, 503, 504})


class Request(NamedTuple):
    """
    One POST.

    Attributes:
        path: without query.
        body: JSON.
        key: the same for every attempt to publish the same publications together.
    """

    path: str
    body: bytes
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """What goes with it."""
        return {"Content-Type": "application/json", "Idempotency-Key": self.key}


class PusherPublisher:
    """
    Publishes over HTTP; see `Publisher`.

    Connections are kept and reused: one pool for code without an event loop, one for each
    loop. Proxy settings of the environment are not read.

    Args:
        app: whose id, key and secret sign the requests.
        base_url: scheme, host, port and path prefix, e.g. ``http://127.0.0.1:8080``.
        timeout: seconds for one request in all.
        transport, async_transport: how requests travel, instead of a network connection.
        now: Unix seconds; signatures carry them.
    """

    def __init__(
        self,
        app: App,
        *,
        base_url: str,
        timeout: float = 2.0,
        transport: httpx.BaseTransport | None = None,
        async_transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._base_url = httpx.URL(base_url)
        self._timeout = timeout
        self._transport = transport
        self._async_transport = async_transport
        self._now = now
        self._lock = threading.Lock()
        self._sync: httpx.Client | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    def publish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.publish`."""
        client = self._client()
        for request in build_requests(publications, self._app.id, self._prefix):
            try:
                answer = client.post(
                    self._signed(request), content=request.body, headers=request.headers
                )
            except httpx.HTTPError as error:
                raise self._unavailable(error) from error
            self._check(answer)

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.apublish`."""
        client = self._async_client()
        for request in build_requests(publications, self._app.id, self._prefix):
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await client.post(
                        self._signed(request), content=request.body, headers=request.headers
                    )
            except (httpx.HTTPError, TimeoutError) as error:
                raise self._unavailable(error) from error
            self._check(answer)

    def close(self) -> None:
        """Close the connections of code without an event loop."""
        with self._lock:
            client, self._sync = self._sync, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop, and the others' too."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        self.close()

    @property
    def _prefix(self) -> str:
        return self._base_url.path.rstrip("/")

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._sync is None:
                self._sync = httpx.Client(
                    transport=self._transport,
                    timeout=self._phases(),
                    verify=self._base_url.scheme == "https",
                    trust_env=False,
                )
            return self._sync

    def _async_client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            for dead in [one for one in self._by_loop if one.is_closed()]:
                del self._by_loop[dead]
            client = self._by_loop[loop] = httpx.AsyncClient(
                transport=self._async_transport,
                timeout=self._phases(),
                verify=self._base_url.scheme == "https",
                trust_env=False,
            )
        return client

    def _phases(self) -> httpx.Timeout:
        """Share the time among the phases of a request, so that their sum keeps to it."""
        part = self._timeout / 10
        return httpx.Timeout(connect=3 * part, write=part, read=5 * part, pool=part)

    def _signed(self, request: Request) -> httpx.URL:
        params = sign_request(
            self._app.key,
            self._app.secret,
            method="POST",
            path=request.path,
            body=request.body,
            params={},
            now=self._now(),
        )
        return self._base_url.copy_with(path=request.path, params=params)

    def _where(self) -> str:
        return f"{self._base_url.scheme}://{self._base_url.netloc.decode('ascii')}"

    def _unavailable(self, error: Exception) -> DriverUnavailable:
        return DriverUnavailable(
            f"the Pusher server at {self._where()} cannot be reached or answers too late "
            f"({type(error).__name__}); start it, or correct host, port and scheme of [endpoint]"
        )

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        said = shown(answer.text.strip(), _SHOWN_BODY)
        message = f"the Pusher server at {self._where()} answered {answer.status_code}: {said}"
        if answer.status_code in _TRY_LATER:
            raise DriverUnavailable(message)
        raise PublishRefused(message, status=answer.status_code)


def build_requests(
    publications: Sequence[Publication], app_id: str, prefix: str = ""
) -> list[Request]:
    """
    Return the requests that publish `publications`, in order.

    Neighbours for one channel each share a ``batch_events`` request, up to ten.
    """
    requests: list[Request] = []
    waiting: list[Publication] = []

    def flush() -> None:
        if len(waiting) == 1:
            requests.append(_events_request(waiting[0], app_id, prefix))
        elif waiting:
            requests.append(_batch_request(waiting, app_id, prefix))
        waiting.clear()

    for publication in publications:
        if len(publication.channels) == 1:
            waiting.append(publication)
            if len(waiting) == MAX_BATCH:
                flush()
        else:
            flush()
            requests.append(_events_request(publication, app_id, prefix))
    flush()
    return requests


def _events_request(publication: Publication, app_id: str, prefix: str) -> Request:
    body = {**_fields(publication), "channels": list(publication.channels)}
    return Request(f"{prefix}/apps/{app_id}/events", _json(body), publication.id)


def _batch_request(publications: Sequence[Publication], app_id: str, prefix: str) -> Request:
    batch = [{**_fields(item), "channel": item.channels[0]} for item in publications]
    ids = ",".join([item.id for item in publications])
    key = hashlib.sha256(ids.encode()).hexdigest()
    return Request(f"{prefix}/apps/{app_id}/batch_events", _json({"batch": batch}), key)


def _fields(publication: Publication) -> dict[str, object]:
    fields: dict[str, object] = {"name": publication.name, "data": publication.data}
    if publication.socket_id is not None:
        fields["socket_id"] = publication.socket_id
    return fields


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
