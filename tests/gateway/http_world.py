"""One gateway's HTTP API over stub contracts, and signed requests to it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote

import httpx
from starlette.routing import Router

from broadcaster.contracts.apps import App
from broadcaster.contracts.idempotency import Begun, FirstAnswer
from broadcaster.contracts.presence import Snapshot
from broadcaster.gateway.answers import not_found
from broadcaster.gateway.http_api import http_api_routes
from broadcaster.protocol.http_query import Resource
from broadcaster.protocol.signing import sign_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp, Message

    from broadcaster.contracts.broker import Broker, Outgoing
    from broadcaster.contracts.history import Cached, History
    from broadcaster.contracts.idempotency import IdempotencyStore
    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.contracts.users import UserTerminator
    from broadcaster.protocol.idempotency import Attempt

NOW = 1_700_000_000.0
APP = App(id="1234", key="app-key", secret="app-secret")
OTHER = App(id="5678", key="other-key", secret="other-secret")
EVENT = {"name": "greeting", "data": '{"a":1}', "channels": ["orders"]}
EVENTS, BATCH = "/apps/1234/events", "/apps/1234/batch_events"
CHANNELS = "/apps/1234/channels"
# A path of each resource: a resource without one fails `test_every_route_is_tried`.
PATHS = {
    Resource.EVENTS: EVENTS,
    Resource.BATCH: BATCH,
    Resource.CHANNELS: CHANNELS,
    Resource.CHANNEL: f"{CHANNELS}/orders",
    Resource.USERS: f"{CHANNELS}/presence-room/users",
    Resource.CHANNEL_EVENTS: f"{CHANNELS}/orders/events",
    Resource.CONNECTIONS: "/apps/1234/connections",
    Resource.TERMINATE: "/apps/1234/users/ada/terminate_connections",
    Resource.TERMINATE_ALIAS: "/users/ada/terminate_connections",
}
ROUTES = [(resource.method, path) for resource, path in PATHS.items()]
ALIAS = PATHS[Resource.TERMINATE_ALIAS]
ITEM = {"name": "a", "data": "1", "channel": "x"}
# What makes a request to a path valid, where that is more than its signature.
BODIES: dict[str, Any] = {EVENTS: EVENT, BATCH: {"batch": [ITEM]}}
PARAMS: dict[str, dict[str, str]] = {PATHS[Resource.CHANNEL_EVENTS]: {"name": "a"}}


@dataclass
class RecordingBroker:
    """Keeps what it is told to publish, or fails."""

    published: list[Outgoing] = field(default_factory=list)
    attempted: list[list[Outgoing]] = field(default_factory=list)
    calls: int = 0
    failure: Exception | None = None

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        self.calls += 1
        self.attempted.append([*messages])
        if self.failure:
            raise self.failure
        self.published.extend(messages)

    async def relay(self, messages: Sequence[Outgoing]) -> None:
        raise NotImplementedError

    async def control(self, app_id: str, body: bytes) -> None:
        raise NotImplementedError

    async def ping(self) -> None:
        raise NotImplementedError


@dataclass
class FixedPresence:
    """Knows one state of the world, or cannot be reached."""

    connections: dict[str, int] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    failure: Exception | None = None

    async def occupied(self, app_id: str, prefix: str = "") -> Mapping[str, int]:
        self._check(app_id)
        return {name: n for name, n in self.connections.items() if name.startswith(prefix)}

    async def counts(self, app_id: str, channels: Sequence[str], *, without: str = "") -> list[int]:
        self._check(app_id)
        return [self.connections.get(name, 0) for name in channels]

    async def member_counts(self, app_id: str, channels: Sequence[str]) -> list[int]:
        self._check(app_id)
        return [len(self.members.get(name, ())) for name in channels]

    async def snapshot(self, app_id: str, channel: str) -> Snapshot:
        self._check(app_id)
        return Snapshot(1, self.members.get(channel, {}))

    def _check(self, app_id: str) -> None:
        assert app_id == APP.id
        if self.failure:
            raise self.failure


@dataclass
class KnownCache:
    """Keeps the last event of some cache channels."""

    kept: dict[str, Cached] = field(default_factory=dict)
    failure: Exception | None = None

    async def cached(self, app_id: str, channels: Sequence[str]) -> list[Cached | None]:
        assert app_id == APP.id
        if self.failure:
            raise self.failure
        return [self.kept.get(name) for name in channels]


@dataclass
class Terminated:
    """Notes which users were sent away."""

    users: list[tuple[str, str]] = field(default_factory=list)
    failure: Exception | None = None

    def terminate(self, app_id: str, user_id: str) -> None:
        raise NotImplementedError

    async def aterminate(self, app_id: str, user_id: str) -> None:
        if self.failure:
            raise self.failure
        self.users.append((app_id, user_id))


@dataclass
class FirstAnswers:
    """Remembers requests for as long as it lives."""

    known: dict[tuple[str, str], tuple[bytes, FirstAnswer | None]] = field(default_factory=dict)
    failure: Exception | None = None

    async def begin(self, attempt: Attempt) -> Begun:
        if self.failure:
            raise self.failure
        place = (attempt.app_id, attempt.key)
        fingerprint, answer = self.known.setdefault(place, (attempt.fingerprint, None))
        return Begun(fingerprint == attempt.fingerprint, answer)

    async def finish(self, attempt: Attempt, answer: FirstAnswer) -> FirstAnswer:
        place = (attempt.app_id, attempt.key)
        first = self.known[place][1] or answer
        self.known[place] = (attempt.fingerprint, first)
        return first


@dataclass
class StubStores:
    """What the API is given; see `broadcaster.gateway.http_api.ApiStores`."""

    broker: Broker
    history: History
    presence: PresenceStore
    revocations: UserTerminator
    idempotency: IdempotencyStore


class Apps:
    """Apps that a test may replace."""

    settled = True

    def __init__(self, apps: Sequence[App]) -> None:
        self._by_id = {app.id: app for app in apps}

    def add(self, app: App) -> None:
        self._by_id[app.id] = app

    def by_id(self, app_id: str) -> App | None:
        return self._by_id.get(app_id)

    def by_key(self, key: str) -> App | None:
        return next((app for app in self._by_id.values() if app.key == key), None)


class World:
    """One gateway's HTTP API with stubs behind it and a client in front."""

    def __init__(self, path_prefix: str = "", apps: Sequence[App] = (APP, OTHER)) -> None:
        self.apps = Apps(apps)
        self.broker = RecordingBroker()
        self.cache = KnownCache()
        self.users = Terminated()
        self.answers = FirstAnswers()
        self.presence = FixedPresence(
            connections={
                "orders": 2,
                "presence-room": 3,
                "#server-to-user-1": 1,
                "#connections": 5,
                "gone": 0,
            },
            members={"presence-room": {"1": "{}", "ada": "{}"}},
        )
        self.now = NOW
        self._ids = Counter[str]()
        self.app = Router(
            routes=http_api_routes(
                self.apps,
                StubStores(
                    self.broker,
                    cast("History", self.cache),
                    cast("PresenceStore", self.presence),
                    self.users,
                    self.answers,
                ),
                clock=lambda: self.now,
                new_id=self._new_id,
                path_prefix=path_prefix,
            ),
            default=not_found,
        )

    @property
    def untouched(self) -> bool:
        """Whether nothing had any effect."""
        return self.broker.calls == 0 and not self.users.users and not self.answers.known

    def fail(self, failure: Exception) -> None:
        """Let every store fail from now on."""
        stores = (self.broker, self.cache, self.presence, self.users, self.answers)
        for store in stores:
            store.failure = failure

    def _new_id(self) -> str:
        self._ids["id"] += 1
        return f"{self._ids['id']:032x}"

    async def send(
        self, method: str, url: str, asgi: ASGIApp | None = None, **options: Any
    ) -> httpx.Response:
        """Send one request as it is."""
        transport = httpx.ASGITransport(asgi or self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            response = await client.request(method, url, **options)
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-request-id"]
        return response

    async def raw(self, method: str, path: str, query: str, body: bytes) -> RawAnswer:
        """Send one request whose path no client library would write like this."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [],
        }
        await self.app(scope, receive, send)
        start, end = sent
        return RawAnswer(start["status"], json.loads(end["body"]))

    async def call(
        self,
        method: str,
        path: str,
        body: Any = b"",
        params: Mapping[str, str] | None = None,
        *,
        app: App = APP,
        signed_path: str = "",
        asgi: ASGIApp | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request signed by `app`."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        query = sign_request(
            app.key,
            app.secret,
            method=method,
            path=signed_path or path,
            body=raw,
            params=params or {},
            now=NOW,
        )
        return await self.send(method, path, asgi, content=raw, params=query, headers=headers)


class RawAnswer(NamedTuple):
    """An answer, decoded."""

    status: int
    answer: Any


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message"}
    assert "Traceback" not in response.text
    return response.status_code, error["code"], error["message"]
