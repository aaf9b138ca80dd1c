"""
The HTTP API: routes over contracts, one request at a time in this order.

1. path and method (404, 405), query (400, 414), content encoding (415);
2. the body, capped before anything is computed from it (408, 413);
3. the signature (401), over the path as the client requested it;
4. the request itself (400, 413): a batch is valid as a whole or refused as a whole;
5. reads, then the one publish: when a read fails nothing has been published (503).

An app id that does not exist is told only to who proves to own another app of this server
(404); everybody else gets what a wrong key gets (401), so that ids cannot be listed.

Endpoints are plain ASGI callables on one route: the path of a publish holds no request
or response objects.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.routing import Route

from broadcaster.contracts.apps import App
from broadcaster.contracts.broker import Outgoing
from broadcaster.errors import (
    BroadcasterError,
    DriverRefused,
    DriverUnavailable,
    InvalidSignature,
    ProtocolError,
    RequestRefused,
)
from broadcaster.gateway.answers import (
    Answer,
    method_not_allowed,
    refuse,
    request_id,
    send_answer,
)
from broadcaster.gateway.bodies import ClientGone, read_body, refuse_encoding
from broadcaster.protocol import http_api
from broadcaster.protocol.channels import shown
from broadcaster.protocol.http_query import (
    Resource,
    Target,
    parse_channel_query,
    parse_channels_query,
    parse_path,
    parse_query,
    parse_users_query,
)
from broadcaster.protocol.messages import encode_event
from broadcaster.protocol.signing import verify_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.contracts.broker import Broker
    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.protocol.http_api import EventRequest

_OK = Answer(200, http_api.OK)
_CLOSE = (b"connection", b"close")
_LOG = logging.getLogger("broadcaster.http")


def http_api_routes(
    apps: AppProvider,
    broker: Broker,
    presence: PresenceStore,
    *,
    clock: Callable[[], float],
    new_id: Callable[[], str],
    settled: Callable[[], Awaitable[None]] | None = None,
    retry_after: int = 2,
    path_prefix: str = "",
) -> list[Route]:
    """
    Return the routes under ``/apps/``.

    Args:
        clock: Unix seconds; signatures are good for 600 s around it.
        new_id: makes event ids (UUIDv7, 32 hex digits) and request ids.
        settled: awaited before counts are read: when it returns, the store knows what
            clients of this process have been told.
        retry_after: seconds that a 503 asks clients to wait.
        path_prefix: what clients write before ``/apps`` when a proxy in front serves us
            under a path, like ``/ws``. It is part of what they sign, whether or not the
            proxy takes it off. Requests that come around the proxy need not have it.
    """
    prefix = path_prefix.rstrip("/")
    api = HttpApi(
        apps,
        broker,
        presence,
        clock=clock,
        new_id=new_id,
        settled=settled or _at_once,
        retry_after=retry_after,
        path_prefix=prefix,
    )
    paths = ["/apps/{rest:path}", *([f"{prefix}/apps/{{rest:path}}"] if prefix else [])]
    return [Route(path, api) for path in paths]


async def _at_once() -> None:
    """Nothing has to settle."""


class HttpApi:
    """The ASGI endpoint of every path under ``/apps/``."""

    def __init__(
        self,
        apps: AppProvider,
        broker: Broker,
        presence: PresenceStore,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        settled: Callable[[], Awaitable[None]],
        retry_after: int,
        path_prefix: str,
    ) -> None:
        self._apps = apps
        self._broker = broker
        self._presence = presence
        self._clock = clock
        self._new_id = new_id
        self._settled = settled
        self._retry_after = retry_after
        self._prefix = path_prefix
        # Whoever asks for an app that is not there is checked against this one, in vain.
        self._phantom = App(id="", key=secrets.token_hex(16), secret=secrets.token_hex(16))

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
        except DriverRefused as error:
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
        local_path, *signed_paths = self._paths(scope)
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
        found = self._apps.by_id(target.app_id)
        body = await read_body(scope, receive, _body_limit(target, found or self._phantom))
        check = partial(
            _verify,
            signed_paths,
            method=method,
            params=params,
            body=body,
            now=self._clock(),
        )
        app = self._authenticate(target, found, params, check)
        if target.resource is Resource.EVENTS:
            return await self._publish_event(app, body)
        if target.resource is Resource.BATCH:
            return await self._publish_batch(app, body)
        return await self._read(app, target, params)

    def _paths(self, scope: Scope) -> tuple[str, ...]:
        """Return the path from ``/apps`` on, then every path the client may have signed."""
        raw = scope.get("raw_path") or quote(scope["path"], safe="/%").encode()
        path = raw.decode("latin-1")
        local = path.removeprefix(scope.get("root_path", ""))
        if not self._prefix:
            return local, path
        if local.startswith(f"{self._prefix}/"):
            return local.removeprefix(self._prefix), path
        return local, path, self._prefix + path

    def _authenticate(
        self, target: Target, app: App | None, params: Mapping[str, str], check: Callable[..., None]
    ) -> App:
        """
        Return the app of `target` if `check` accepts its credentials.

        Args:
            check: `_verify` with everything but key and secret.
        """
        if app is not None:
            check(key=app.key, secret=app.secret)
            return app
        owner = self._apps.by_key(params.get("auth_key", ""))
        if owner is not None:
            with suppress(InvalidSignature):
                check(key=owner.key, secret=owner.secret)
                raise RequestRefused(
                    f"there is no app {shown(target.app_id)} on this server; auth_key belongs "
                    f"to app {shown(owner.id)}",
                    status=404,
                    code="app_not_found",
                )
        # In the words used for an app that exists and a key that is not its own.
        check(key=self._phantom.key, secret=self._phantom.secret)
        raise InvalidSignature("no request can be signed for this app")

    async def _publish_event(self, app: App, body: bytes) -> Answer:
        limits = app.limits
        event = http_api.parse_event(
            body, max_data_bytes=limits.max_data_bytes, max_event_name=limits.max_event_name
        )
        if event.info.user_count or event.info.subscription_count:
            [channels] = await self._describe(app, [event])
            await self._publish(app, [event])
            return Answer(200, http_api.encode_channels(channels))
        await self._publish(app, [event])
        return _OK

    async def _publish_batch(self, app: App, body: bytes) -> Answer:
        limits = app.limits
        events = http_api.parse_batch(
            body, max_data_bytes=limits.max_data_bytes, max_event_name=limits.max_event_name
        )
        if any(event.info.user_count or event.info.subscription_count for event in events):
            described = await self._describe(app, events)
            await self._publish(app, events)
            attributes = [
                channels[event.channels[0].name]
                for event, channels in zip(events, described, strict=True)
            ]
            return Answer(200, http_api.encode_batch(attributes))
        await self._publish(app, events)
        return _OK

    async def _publish(self, app: App, events: Sequence[EventRequest]) -> None:
        outgoing: list[Outgoing] = []
        for event in events:
            event_id = bytes.fromhex(self._new_id())
            for channel in event.channels:
                frame = encode_event(channel.name, event.name, event.data)
                outgoing.append(Outgoing(app.id, channel.name, event_id, frame, event.socket_id))
        await self._broker.publish(outgoing)
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug(
                "published %d message(s) over HTTP",
                len(outgoing),
                extra={"event": "published", "app": app.id},
            )

    async def _describe(
        self, app: App, events: Sequence[EventRequest]
    ) -> list[dict[str, dict[str, int]]]:
        """Return, per event, its channels with the attributes that were asked for."""
        wanted = {
            channel: None
            for event in events
            if event.info.user_count or event.info.subscription_count
            for channel in event.channels
        }
        names = [channel.name for channel in wanted]
        presence = [channel.name for channel in wanted if channel.is_presence]
        await self._settled()
        connections = dict(zip(names, await self._presence.counts(app.id, names), strict=True))
        users = (
            dict(zip(presence, await self._presence.member_counts(app.id, presence), strict=True))
            if presence
            else {}
        )
        return [
            {
                channel.name: http_api.describe_channel(
                    channel,
                    event.info,
                    connections=connections.get(channel.name, 0),
                    users=users.get(channel.name, 0),
                )
                for channel in event.channels
            }
            for event in events
        ]

    async def _read(self, app: App, target: Target, params: Mapping[str, str]) -> Answer:
        if target.resource is Resource.CHANNELS:
            return await self._channels(app, params)
        if target.resource is Resource.CHANNEL:
            return await self._channel(app, target.channel, params)
        channel = parse_users_query(target.channel, params)
        snapshot = await self._presence.snapshot(app.id, channel.name)
        return Answer(200, http_api.encode_users(snapshot.members))

    async def _channels(self, app: App, params: Mapping[str, str]) -> Answer:
        query = parse_channels_query(params)
        await self._settled()
        occupied = await self._presence.occupied(app.id, query.prefix)
        # Names with '#' are the protocol's own and stay out of sight.
        names = [name for name, count in occupied.items() if count and not name.startswith("#")]
        if not query.info.user_count:
            return Answer(200, http_api.encode_channels({name: {} for name in names}))
        users = await self._presence.member_counts(app.id, names)
        counted = {name: {"user_count": count} for name, count in zip(names, users, strict=True)}
        return Answer(200, http_api.encode_channels(counted))

    async def _channel(self, app: App, name: str, params: Mapping[str, str]) -> Answer:
        channel, info = parse_channel_query(name, params)
        await self._settled()
        [connections] = await self._presence.counts(app.id, [channel.name])
        users = 0
        if info.user_count:
            [users] = await self._presence.member_counts(app.id, [channel.name])
        attributes = http_api.describe_channel(channel, info, connections=connections, users=users)
        return Answer(200, http_api.encode_channel(attributes, occupied=connections > 0))

    def _refused(self, error: ProtocolError, scope: Scope) -> Answer:
        status = http_api.status_of(error)
        _LOG.info(
            "HTTP %s %s refused: %d %s",
            scope["method"],
            shown(scope["path"], 200),
            status,
            error.code,
            extra={"event": "http_refused"},
        )
        close = (_CLOSE,) if error.code in ("request_too_large", "body_timeout") else ()
        return refuse(status, error.code, error.message, *close)

    def _unavailable(self, error: BroadcasterError) -> Answer:
        _LOG.warning("HTTP request not served: %s", error, extra={"event": "http_unavailable"})
        return refuse(
            503,
            error.code,
            "the message store cannot be reached; whether this request took effect is not "
            f"known: repeat it in {self._retry_after} s",
            (b"retry-after", b"%d" % self._retry_after),
        )


def _verify(
    paths: Sequence[str],
    *,
    key: str,
    secret: str,
    method: str,
    params: Mapping[str, str],
    body: bytes,
    now: float,
) -> None:
    """Raise `InvalidSignature` unless the request is signed over one of `paths`."""
    check = partial(
        verify_request, key=key, secret=secret, method=method, params=params, body=body, now=now
    )
    for path in paths[:-1]:
        try:
            return check(path=path)
        except InvalidSignature as error:
            if error.code != "auth_mismatch":
                raise
    return check(path=paths[-1])


def _body_limit(target: Target, app: App) -> int:
    events = http_api.MAX_BATCH if target.resource is Resource.BATCH else 1
    return http_api.body_limit(app.limits.max_data_bytes, events=events)
