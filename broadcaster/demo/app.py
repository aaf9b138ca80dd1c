"""
The demo application: one page, its routes, and the channel rules.

It stands for the backend of a user of broadcaster: it signs who may enter which channel
and queues events; it has no WebSocket of its own. Whoever asks is believed, so
`create_app` answers to loopback addresses only; `create_open_app` is for places that are
closed in another way.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from broadcaster import abroadcast
from broadcaster.demo.events import ChatMessage, Order, OrderShipped, PackOrder, Waved
from broadcaster.demo.people import NAME, Person, auth_endpoint, who
from broadcaster.integrations.asgi import SocketIdMiddleware
from broadcaster.settings import Settings, load_settings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
LONGEST_BODY = 4096
LONGEST_TEXT = 500

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
_MESSAGE_ID = re.compile(r"[0-9a-f]{1,32}")


def create_app(settings: Settings | None = None, *, anyone: bool = False) -> Starlette:
    """
    Build the demo.

    Args:
        settings: where the gateway is and whose credentials to sign with; read from the
            environment and the files if not given.
        anyone: whether to answer callers that are not on this machine. Anybody who can
            reach it can then be anybody.

    Raises:
        NotConfigured: no app credentials were found.
    """
    settings = settings or load_settings()
    app = settings.require_app()
    routes = [
        Route("/", _page),
        Route("/config.json", _config),
        Route("/up", _up),
        Mount("/static", StaticFiles(directory=STATIC)),
        Route("/orders/{order_id:int}/ship", _ship, methods=["POST"]),
        Route("/chat/{room}", _say, methods=["POST"]),
        Route("/wave/{user}", _wave, methods=["POST"]),
        Mount("/broadcasting", auth_endpoint(app, debug=settings.debug)),
    ]
    middleware = [
        *([] if anyone else [Middleware(LoopbackOnly)]),
        Middleware(PageHeaders, gateway_port=settings.gateway.port),
        Middleware(SocketIdMiddleware),
    ]
    application = Starlette(routes=routes, middleware=middleware)
    application.state.settings = settings
    return application


def create_open_app(settings: Settings | None = None) -> Starlette:
    """Build the demo for any network: a container, or a machine behind a login."""
    return create_app(settings, anyone=True)


async def _page(request: Request) -> Response:
    del request
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})


async def _up(request: Request) -> Response:
    del request
    return PlainTextResponse("ok")


async def _config(request: Request) -> Response:
    """Where the page finds the gateway; a null host means the host of the page."""
    settings: Settings = request.app.state.settings
    return JSONResponse(
        {
            "key": settings.require_app().key,
            "host": None,
            "port": settings.gateway.port,
            "scheme": request.url.scheme,
        },
        headers={"cache-control": "no-store"},
    )


async def _ship(request: Request) -> Response:
    person = who(request)
    if not isinstance(person, Person):
        return _refuse(HTTPStatus.UNAUTHORIZED, "send 'Authorization: Bearer <a name>'")
    asked = await _read_object(request)
    customer = asked.get("customer", person.id)
    if not isinstance(customer, str) or NAME.fullmatch(customer) is None:
        return _refuse(HTTPStatus.BAD_REQUEST, "customer must be a name")
    order = Order(request.path_params["order_id"], customer, "shipped")

    began = time.perf_counter()
    await PackOrder(order.id, order.customer).adispatch()
    await abroadcast(OrderShipped(order), to_others=asked.get("to_others") is True)
    queued_ms = (time.perf_counter() - began) * 1000

    answer = {"order_id": order.id, "status": order.status, "queued_ms": round(queued_ms, 2)}
    return JSONResponse(answer, HTTPStatus.ACCEPTED)


async def _say(request: Request) -> Response:
    person = who(request)
    if not isinstance(person, Person):
        return _refuse(HTTPStatus.UNAUTHORIZED, "send 'Authorization: Bearer <a name>'")
    said = await _read_object(request)
    text, message_id = said.get("text"), said.get("id")
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST_TEXT:
        return _refuse(HTTPStatus.BAD_REQUEST, f"text must be 1 to {LONGEST_TEXT} characters")
    if not isinstance(message_id, str) or _MESSAGE_ID.fullmatch(message_id) is None:
        return _refuse(HTTPStatus.BAD_REQUEST, "id must be up to 32 hex digits")
    room = request.path_params["room"]
    if NAME.fullmatch(room) is None:
        return _refuse(HTTPStatus.BAD_REQUEST, "no such room")

    await abroadcast(ChatMessage(room, message_id, text, person.as_member()), to_others=True)
    return JSONResponse({"id": message_id}, HTTPStatus.ACCEPTED)


async def _wave(request: Request) -> Response:
    person = who(request)
    if not isinstance(person, Person):
        return _refuse(HTTPStatus.UNAUTHORIZED, "send 'Authorization: Bearer <a name>'")
    user = request.path_params["user"]
    if NAME.fullmatch(user) is None:
        return _refuse(HTTPStatus.BAD_REQUEST, "nobody has such a name")
    await abroadcast(Waved(user, person.as_member()))
    return JSONResponse({"to": user}, HTTPStatus.ACCEPTED)


async def _read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body, or an empty one for anything else."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _refuse(status: HTTPStatus, message: str) -> Response:
    code = status.name.lower()
    return JSONResponse({"error": {"code": code, "message": message}}, status)


class LoopbackOnly:
    """Refuse callers that are not on this machine: the demo believes any name."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass the request on."""
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and not _is_loopback(client[0]):
            response = PlainTextResponse(
                "This demo takes any name at its word, so it answers to its own machine only.\n"
                "To open it to others on purpose, serve broadcaster.demo.app:create_open_app.\n",
                HTTPStatus.FORBIDDEN,
            )
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


class PageHeaders:
    """Say to the browser that this page runs its own files and talks to one gateway."""

    def __init__(self, app: ASGIApp, gateway_port: int) -> None:
        self.app = app
        self.gateway_port = gateway_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to every answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        policy = self._policy(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", policy),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-opener-policy", b"same-origin"),
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _policy(self, scope: Scope) -> bytes:
        """Return the policy; the gateway is on the host that the page was asked from."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        match = _HOST.fullmatch(hosts[0].decode("latin-1")) if hosts else None
        name = match["name"] if match else "127.0.0.1"
        gateway = f"ws://{name}:{self.gateway_port} wss://{name}:{self.gateway_port}"
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {gateway}; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        ).encode()


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
