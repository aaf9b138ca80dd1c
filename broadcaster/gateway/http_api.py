"""
The HTTP API: routes over contracts, one request at a time in this order.

1. path and method (404, 405), query (400, 414), content encoding (415);
2. the body, capped before anything is computed from it (408, 413);
3. the signature (401), over the path as the client requested it (`credentials`);
4. the request itself (400, 413), in `publishing` and `reading`.

Endpoints are plain ASGI callables on few routes: the path of a publish holds no response
objects.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from starlette.routing import Route

from broadcaster.errors import (
    BroadcasterError,
    DriverError,
    DriverUnavailable,
    ProtocolError,
    RequestRefused,
)
from broadcaster.gateway.answers import (
    Answer,
    Request,
    method_not_allowed,
    refuse,
    request_id,
    send_answer,
)
from broadcaster.gateway.bodies import ClientGone, read_body, refuse_encoding
from broadcaster.gateway.credentials import Credentials
from broadcaster.gateway.flood import Flood
from broadcaster.gateway.publish_rate import PublishRates
from broadcaster.gateway.publishing import Publishing
from broadcaster.gateway.reading import Reading
from broadcaster.protocol import http_api
from broadcaster.protocol.channels import shown
from broadcaster.protocol.http_query import (
    Resource,
    Target,
    parse_path,
    parse_query,
    parse_user,
    refuse_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from broadcaster.contracts.apps import App, AppProvider
    from broadcaster.contracts.broker import Broker
    from broadcaster.contracts.history import History
    from broadcaster.contracts.idempotency import IdempotencyStore
    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.contracts.users import UserTerminator

_OK = Answer(200, http_api.OK)
_CLOSE = (b"connection", b"close")
_LOG = logging.getLogger("broadcaster.http")


class ApiStores(Protocol):
    """The drivers behind the API; a node has them, and more."""

    @property
    def broker(self) -> Broker:
        """Takes what is published."""
        ...

    @property
    def history(self) -> History:
        """Knows the last event of cache channels."""
        ...

    @property
    def presence(self) -> PresenceStore:
        """Knows who is where."""
        ...

    @property
    def revocations(self) -> UserTerminator:
        """Sends users away."""
        ...

    @property
    def idempotency(self) -> IdempotencyStore:
        """Knows the first answers."""
        ...


def http_api_routes(
    apps: AppProvider,
    stores: ApiStores,
    *,
    clock: Callable[[], float],
    new_id: Callable[[], str],
    settled: Callable[[], Awaitable[None]] | None = None,
    retry_after: int = 2,
    path_prefix: str = "",
) -> list[Route]:
    """
    Return the routes under ``/apps/``, and the one under ``/users/``.

    Args:
        clock: Unix seconds; signatures are good for 600 s around it.
        new_id: makes event ids (UUIDv7, 32 hex digits) and request ids.
        settled: awaited before counts are read: when it returns, the store knows what
            clients of this process have been told.
        retry_after: seconds that a 503 asks clients to wait.
        path_prefix: what clients write before these when a proxy in front serves us
            under a path, like ``/ws``. It is part of what they sign, whether or not the
            proxy takes it off. Requests that come around the proxy need not have it.
    """
    prefix = path_prefix.rstrip("/")
    reading = Reading(stores.presence, stores.history, settled=settled or _at_once)
    rates = PublishRates(clock)
    api = HttpApi(
        Credentials(apps, clock=clock, path_prefix=prefix),
        Publishing(stores.broker, stores.idempotency, reading, rates, new_id=new_id),
        reading,
        stores.revocations,
        new_id=new_id,
        retry_after=retry_after,
    )
    roots = ("", prefix) if prefix else ("",)
    doors = ("/apps/{rest:path}", "/users/{rest:path}")
    return [Route(root + door, api) for root in roots for door in doors]


async def _at_once() -> None:
    """Nothing has to settle."""


class HttpApi:
    """The ASGI endpoint of every path of the API; for the arguments see `http_api_routes`."""

    def __init__(
        self,
        credentials: Credentials,
        publishing: Publishing,
        reading: Reading,
        users: UserTerminator,
        *,
        new_id: Callable[[], str],
        retry_after: int,
    ) -> None:
        self._credentials = credentials
        self._users = users
        self._new_id = new_id
        self._retry_after = retry_after
        self._refusals = Flood("%d more HTTP requests were refused", "http_refused")
        self._serve: dict[Resource, Callable[[Request], Awaitable[Answer]]] = {
            Resource.EVENTS: publishing.event,
            Resource.BATCH: publishing.batch,
            Resource.CHANNELS: reading.channels,
            Resource.CHANNEL: reading.channel,
            Resource.USERS: reading.users,
            Resource.CHANNEL_EVENTS: publishing.channel_event,
            Resource.CONNECTIONS: reading.connections,
            Resource.TERMINATE: self._terminate,
            Resource.TERMINATE_ALIAS: self._terminate,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        trace = request_id(scope) or self._new_id().encode()
        try:
            answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except ProtocolError as error:
            answer = self._refused(error, scope)
        except DriverUnavailable as error:
            answer = self._unavailable(error)
        except DriverError as error:
            fields = {"event": "http_failed"}
            _LOG.error("HTTP request %s failed: %s", trace.decode(), error, extra=fields)
            answer = refuse(
                500,
                error.code,
                "the message store refuses this, and repeating does not help; "
                "the server's log has the cause under this id",
            )
        except Exception:  # noqa: BLE001 - the edge: whatever fails, this one request fails
            _LOG.exception("HTTP request %s failed", trace.decode(), extra={"event": "http_failed"})
            answer = refuse(
                500, "internal_error", "the server failed; its log has the cause under this id"
            )
        await send_answer(send, answer, trace)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        local_path, *signed_paths = self._credentials.paths(scope)
        target = parse_path(local_path)
        if target is None:
            raise RequestRefused(
                f"there is nothing at {shown(local_path, 200)} in the HTTP API",
                status=404,
                code="not_found",
            )
        method = target.resource.method
        if scope["method"] != method:
            return method_not_allowed(scope["method"], method)
        params = parse_query(scope["query_string"])
        refuse_encoding(scope)
        claimed = self._credentials.claimed(target, params)
        limit = _body_limit(target, self._credentials.body_app(claimed))
        body = await read_body(scope, receive, limit)
        app = self._credentials.check(
            claimed, target, signed_paths, method=method, params=params, body=body
        )
        request = Request(app, target, params, body, scope["headers"])
        return await self._serve[target.resource](request)

    async def _terminate(self, request: Request) -> Answer:
        """Close a user's connections, on every node."""
        refuse_parameters(request.params)
        await self._users.aterminate(request.app.id, parse_user(request.target.user))
        return _OK

    def _refused(self, error: ProtocolError, scope: Scope) -> Answer:
        status = http_api.status_of(error)
        if self._refusals.passes(asyncio.get_running_loop().time()):
            _LOG.info(
                "HTTP %s %s refused: %d %s",
                scope["method"],
                shown(scope["path"], 200),
                status,
                error.code,
                extra={"event": "http_refused"},
            )
        headers: list[tuple[bytes, bytes]] = []
        if error.code in ("request_too_large", "body_timeout"):
            headers.append(_CLOSE)
        if isinstance(error, RequestRefused) and error.retry_after:
            headers.append((b"retry-after", b"%d" % error.retry_after))
        return refuse(status, error.code, error.message, *headers)

    def _unavailable(self, error: BroadcasterError) -> Answer:
        _LOG.warning("HTTP request not served: %s", error, extra={"event": "http_unavailable"})
        return refuse(
            503,
            error.code,
            "the message store cannot be reached; whether this request took effect is not "
            f"known: repeat it in {self._retry_after} s",
            (b"retry-after", b"%d" % self._retry_after),
        )


def _body_limit(target: Target, app: App) -> int:
    events = http_api.MAX_BATCH if target.resource is Resource.BATCH else 1
    return http_api.body_limit(app.limits.max_data_bytes, events=events)
