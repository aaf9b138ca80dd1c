from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from broadcaster_auth.guards import (
    WsgiRequest,
    bearer,
    first_of,
    resolve,
    resolve_now,
    scope_user,
    session,
)
from starlette.requests import Request

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from broadcaster_auth.guards import Guard

USERS = {"1": "ada", "secret-token": "grace"}


def asgi(headers: dict[str, str] | None = None, **scope: Any) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "headers": raw, **scope})


def wsgi(**environ: Any) -> WsgiRequest:
    return WsgiRequest(environ)


async def afind(key: str) -> str | None:
    return USERS.get(key)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer secret-token", "grace"),
        ("bearer  secret-token ", "grace"),
        ("Bearer wrong", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic secret-token", None),
        ("secret-token", None),
        ("", None),
    ],
)
def test_a_bearer_token_is_looked_up(header: str, expected: str | None) -> None:
    guard = bearer(USERS.get)

    assert resolve_now(guard, asgi({"authorization": header})) == expected
    assert resolve_now(guard, wsgi(HTTP_AUTHORIZATION=header)) == expected


def test_without_a_header_nobody_is_looked_up() -> None:
    assert resolve_now(bearer(USERS.get), asgi()) is None
    assert resolve_now(bearer(USERS.get), wsgi()) is None


def test_the_session_holds_the_users_id() -> None:
    guard = session(USERS.get)

    assert resolve_now(guard, asgi(session={"user_id": 1})) == "ada"
    assert resolve_now(guard, asgi(session={})) is None
    assert resolve_now(guard, asgi()) is None
    assert resolve_now(guard, wsgi(**{"beaker.session": {"user_id": "1"}})) == "ada"
    assert resolve_now(guard, wsgi()) is None
    named = session(USERS.get, key="uid", environ_key="my.session")
    assert resolve_now(named, wsgi(**{"my.session": {"uid": "1"}})) == "ada"


def test_an_anonymous_user_in_the_scope_is_nobody() -> None:
    ada = SimpleNamespace(is_authenticated=True)

    assert scope_user(asgi(user=ada)) is ada
    assert scope_user(asgi(user="ada")) == "ada"
    assert scope_user(asgi(user=SimpleNamespace(is_authenticated=False))) is None
    assert scope_user(asgi()) is None


@pytest.mark.parametrize("finds", [USERS.get, afind])
async def test_the_first_guard_with_a_user_wins(finds: Any) -> None:
    guard = first_of(session(finds), bearer(finds))
    token = {"authorization": "Bearer secret-token"}

    assert await resolve(guard, asgi(token, session={"user_id": "1"})) == "ada"
    assert await resolve(guard, asgi(token, session={})) == "grace"
    assert await resolve(guard, asgi(token, session={"user_id": "gone"})) == "grace"
    assert await resolve(guard, asgi(session={})) is None
    assert await resolve(first_of(), asgi()) is None


async def test_a_guard_may_be_async_altogether() -> None:
    async def guard(request: Request) -> str:
        return request.headers["x-user"]

    assert await resolve(guard, asgi({"x-user": "ada"})) == "ada"


def test_an_async_guard_under_wsgi_is_a_mistake() -> None:
    guard: Guard = bearer(afind)

    with pytest.raises(ConfigurationError, match="must not be async"):
        resolve_now(guard, wsgi(HTTP_AUTHORIZATION="Bearer x"))


def test_a_wsgi_request_shows_headers_and_cookies() -> None:
    request = wsgi(HTTP_X_CSRF_TOKEN="t", CONTENT_TYPE="a/b", HTTP_COOKIE="sid=1; theme=dark")

    assert request.headers == {
        "x-csrf-token": "t",
        "content-type": "a/b",
        "cookie": "sid=1; theme=dark",
    }
    assert request.cookies == {"sid": "1", "theme": "dark"}
    assert wsgi().cookies == {}
    assert isinstance(wsgi(HTTP_COOKIE="\x00=; ;;=").cookies, dict)
