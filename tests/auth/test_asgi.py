from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
from broadcaster_auth import asgi, broadcasting_auth
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.auth.conftest import ADA, USERS, make_rules
from tests.auth.grant_keys import app_with

if TYPE_CHECKING:
    import pytest
    from starlette.requests import Request
    from starlette.types import Message

FORM = b"socket_id=1234.1234&channel_name=private-orders.1"


async def nobody(request: Request) -> object:
    return None


async def ada(request: Request) -> object:
    return USERS["ada-token"]


async def run(app: Any, messages: list[Message], **scope: Any) -> list[Message]:
    """Drive the application by hand, message by message."""
    sent: list[Message] = []
    waiting = iter(messages)

    async def receive() -> Message:
        try:
            return next(waiting)
        except StopIteration:
            await asyncio.Event().wait()
            raise

    async def send(message: Message) -> None:
        sent.append(message)

    full = {
        "type": "http",
        "method": "POST",
        "path": "/broadcasting/auth",
        "query_string": b"",
        "headers": [],
        **scope,
    }
    await app(full, receive, send)
    return sent


def body(*parts: bytes) -> list[Message]:
    last = len(parts) - 1
    return [
        {"type": "http.request", "body": part, "more_body": index < last}
        for index, part in enumerate(parts)
    ]


def endpoint(user: Any = ada) -> Any:
    return broadcasting_auth(app_with(), user=user, authorizer=make_rules())


async def test_a_body_may_come_in_pieces() -> None:
    sent = await run(endpoint(), body(FORM[:10], FORM[10:], b""))

    assert sent[0]["status"] == 200


async def test_a_body_without_end_is_cut_off_at_64_kb() -> None:
    sent = await run(endpoint(), body(*[b"x" * 10_000] * 1_000))

    assert sent[0]["status"] == 413


async def test_a_client_that_goes_away_is_not_answered() -> None:
    assert await run(endpoint(), [{"type": "http.disconnect"}]) == []


async def test_a_body_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_BODY_SECONDS", 0.01)

    sent = await run(endpoint(), body(FORM, b"")[:1])

    assert sent[0]["status"] == 400
    assert b"did not arrive" in sent[1]["body"]


async def test_a_guard_may_read_the_body_again() -> None:
    async def by_body(request: Request) -> object:
        return USERS.get((await request.body()).decode().rpartition("=")[2])

    sent = await run(endpoint(by_body), body(FORM + b"&token=ada-token"))

    assert sent[0]["status"] == 200


async def test_guards_are_not_asked_about_what_cannot_be_signed() -> None:
    async def untouched(request: Request) -> object:
        raise AssertionError("no need to look up anybody")

    sent = await run(endpoint(untouched), body(b"socket_id=x&channel_name=" + b"a" * 60_000))

    assert sent[0]["status"] == 400


async def test_it_lives_alone_under_a_server() -> None:
    messages: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    sent = await run(endpoint(), messages, type="lifespan")

    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_a_websocket_finds_nothing_here() -> None:
    sent = await run(endpoint(), [], type="websocket")

    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_it_mounts_in_starlette() -> None:
    app = Starlette(routes=[Mount("/broadcasting", endpoint())])
    transport = httpx.ASGITransport(app=app)

    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as client:
        response = await client.post("/broadcasting/auth", content=FORM, headers=ADA)

    assert response.status_code == 200


async def test_nobody_is_refused() -> None:
    sent = await run(endpoint(nobody), body(FORM))

    assert sent[0]["status"] == 403
