"""One gateway's HTTP API over stub contracts, and signed requests to it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import httpx
from starlette.routing import Router

from broadcaster.contracts.apps import App, StaticApps
from broadcaster.contracts.presence import Snapshot
from broadcaster.gateway.answers import not_found
from broadcaster.gateway.http_api import http_api_routes
from broadcaster.protocol.signing import sign_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp

    from broadcaster.contracts.broker import Outgoing
    from broadcaster.contracts.presence import PresenceStore

NOW = 1_700_000_000.0
APP = App(id="1234", key="app-key", secret="app-secret")
OTHER = App(id="5678", key="other-key", secret="other-secret")
EVENT = {"name": "greeting", "data": '{"a":1}', "channels": ["orders"]}
EVENTS, BATCH = "/apps/1234/events", "/apps/1234/batch_events"
CHANNELS = "/apps/1234/channels"
ROUTES = [
    ("POST", EVENTS),
    ("POST", BATCH),
    ("GET", CHANNELS),
    ("GET", f"{CHANNELS}/orders"),
    ("GET", f"{CHANNELS}/presence-room/users"),
]


@dataclass
class RecordingBroker:
    """Keeps what it is told to publish, or fails."""

    published: list[Outgoing] = field(default_factory=list)
    calls: int = 0
    failure: Exception | None = None

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        self.calls += 1
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

    async def counts(self, app_id: str, channels: Sequence[str]) -> list[int]:
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


class World:
    """One gateway's HTTP API with stubs behind it and a client in front."""

    def __init__(self, path_prefix: str = "") -> None:
        self.broker = RecordingBroker()
        self.presence = FixedPresence(
            connections={"orders": 2, "presence-room": 3, "#server-to-user-1": 1, "gone": 0},
            members={"presence-room": {"1": "{}", "ada": "{}"}},
        )
        self.now = NOW
        self._ids = Counter[str]()
        self.app = Router(
            routes=http_api_routes(
                StaticApps(APP, OTHER),
                self.broker,
                cast("PresenceStore", self.presence),
                clock=lambda: self.now,
                new_id=self._new_id,
                path_prefix=path_prefix,
            ),
            default=not_found,
        )

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


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message"}
    assert "Traceback" not in response.text
    return response.status_code, error["code"], error["message"]
