"""One set of rules and users behind both kinds of server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from broadcaster_auth import Authorizer, bearer, broadcasting_auth, broadcasting_auth_wsgi

from tests.auth.grant_keys import app_with

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_700_000_000.0


@dataclass
class User:
    id: int
    name: str


USERS = {"ada-token": User(1, "Ada"), "eve-token": User(2, "Eve")}
ADA = {"Authorization": "Bearer ada-token"}


def make_rules() -> Authorizer:
    rules = Authorizer()

    @rules.channel("orders.{user_id}")
    def orders(user: User, user_id: int) -> bool:
        return user.id == user_id

    @rules.channel("chat.{room}")
    async def chat(user: User, room: str) -> dict[str, object]:
        await asyncio.sleep(0)
        return {"id": user.id, "name": user.name}

    @rules.channel("admin", guards=["staff"])
    def admin(user: User) -> bool:
        return True

    @rules.channel("broken")
    def broken(user: User) -> bool:
        raise RuntimeError("the database password is hunter2")

    return rules


def staff(request: Any) -> User | None:
    return User(9, "Root") if request.headers.get("x-staff") == "yes" else None


@dataclass
class Server:
    """The endpoint behind ASGI or WSGI."""

    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    def ask(
        self, method: str = "POST", path: str = "/broadcasting/auth", **request: Any
    ) -> httpx.Response:
        options: dict[str, Any] = {
            "user": bearer(USERS.get),
            "authorizer": make_rules(),
            "guards": {"staff": staff},
            "clock": lambda: NOW,
            **self.options,
        }
        app = options.pop("app", app_with())
        if self.kind == "wsgi":
            wsgi = httpx.WSGITransport(app=broadcasting_auth_wsgi(app, **options))
            with httpx.Client(transport=wsgi, base_url="http://app.test") as client:
                return client.request(method, path, **request)
        return asyncio.run(self._aask(broadcasting_auth(app, **options), method, path, **request))

    async def _aask(self, app: Any, method: str, path: str, **request: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as client:
            return await client.request(method, path, **request)


@pytest.fixture(params=["asgi", "wsgi"])
def serve(request: pytest.FixtureRequest) -> Callable[..., Server]:
    """Make the endpoint with options; every test runs on both kinds of server."""

    def make(**options: Any) -> Server:
        return Server(request.param, options)

    return make


def asked(channel: str, socket_id: str = "1234.1234") -> dict[str, str]:
    return {"socket_id": socket_id, "channel_name": channel}


def error_of(response: httpx.Response) -> dict[str, str]:
    assert response.headers["content-type"] == "application/json"
    said: dict[str, str] = json.loads(response.text)["error"]
    assert set(said) == {"code", "message"}
    return said
