from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from broadcaster import context
from broadcaster.integrations.asgi import SocketIdMiddleware

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send


async def in_coroutine(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0)
    return PlainTextResponse(str(context.socket_id.get()))


def in_thread(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(context.socket_id.get()))


async def in_task(request: Request) -> PlainTextResponse:
    async def deeper() -> str | None:
        return await run_in_threadpool(context.socket_id.get)

    return PlainTextResponse(str(await asyncio.create_task(deeper())))


async def fails(request: Request) -> PlainTextResponse:
    raise RuntimeError("broken")


APP = Starlette(
    routes=[
        Route("/coroutine", in_coroutine),
        Route("/thread", in_thread),
        Route("/task", in_task),
        Route("/fails", fails),
    ],
    middleware=[Middleware(SocketIdMiddleware)],
)


@pytest.fixture
def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=APP), base_url="http://app.test")


@pytest.mark.parametrize("path", ["/coroutine", "/thread", "/task"])
@pytest.mark.parametrize("header", ["X-Socket-ID", "X-Socket-Id", "x-socket-id"])
async def test_the_socket_id_is_known_wherever_a_handler_runs(
    client: httpx.AsyncClient, path: str, header: str
) -> None:
    assert (await client.get(path, headers={header: "1234.5678"})).text == "1234.5678"


@pytest.mark.parametrize("headers", [{}, {"X-Socket-ID": "undefined"}, {"X-Socket-ID": "1.2:x"}])
async def test_without_a_good_one_there_is_none(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await client.get("/coroutine", headers=headers)).text == "None"


async def test_requests_at_the_same_time_do_not_mix(client: httpx.AsyncClient) -> None:
    ids = [f"{number}.{number}" for number in range(1, 20)]

    answers = await asyncio.gather(
        *(client.get("/coroutine", headers={"X-Socket-ID": each}) for each in ids)
    )

    assert [answer.text for answer in answers] == ids


async def test_nothing_is_left_behind_even_after_a_failure(client: httpx.AsyncClient) -> None:
    with pytest.raises(RuntimeError):
        await client.get("/fails", headers={"X-Socket-ID": "1.2"})

    assert context.socket_id.get() is None


@pytest.mark.parametrize("kind", ["lifespan", "websocket", "something.new"])
async def test_other_scopes_pass_through(kind: str) -> None:
    seen: list[object] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["type"], context.socket_id.get()))

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        return None

    scope: Scope = {"type": kind, "headers": [(b"x-socket-id", b"1.2")]}
    await SocketIdMiddleware(inner)(scope, receive, send)

    assert seen == [(kind, "1.2" if kind == "websocket" else None)]
