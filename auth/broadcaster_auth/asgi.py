"""
The auth endpoint as an ASGI application.

::

    app.mount("/broadcasting", broadcasting_auth(credentials, user=current_user))

It answers whatever ends in ``/auth`` or ``/user-auth``, under any prefix.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from broadcaster.errors import MalformedMessage, MessageTooLarge
from broadcaster_auth.endpoint import Endpoint, Reply
from broadcaster_auth.fields import MAX_BODY, Ask, parse_fields, read_ask
from broadcaster_auth.guards import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from broadcaster.contracts.apps import App
    from broadcaster_auth.guards import Guard

_BODY_SECONDS = 10.0


def broadcasting_auth(app: App | Callable[[], App], *, user: Guard, **options: Any) -> ASGIApp:
    """
    Return the auth endpoint as an ASGI application.

    Args:
        app: the app to sign for, or a callable that returns it.
        user: takes the `starlette.requests.Request`, returns the user or None; may be async.
        options: further attributes of `broadcaster_auth.endpoint.Endpoint`.
    """
    return AsgiEndpoint(Endpoint(app=app, user=user, **options))


class AsgiEndpoint:
    """Serves an `Endpoint` to ASGI servers."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await _live(receive, send)
            return
        request = Request(scope)
        reply = await self._reply(request, receive)
        if reply is None:
            return
        preflight = scope["method"] == "OPTIONS"
        cors = self.endpoint.cors_headers(request.headers.get("origin"), preflight=preflight)
        await _send(send, reply, {**reply.headers, **cors})

    async def _reply(self, request: Request, receive: Receive) -> Reply | None:
        sign_in = self.endpoint.precheck(request.method, request.scope["path"])
        if isinstance(sign_in, Reply):
            return sign_in
        fields: dict[str, object] = {}
        try:
            body = await _read_body(request, receive)
            if body is None:
                return None
            fields = parse_fields(
                method=request.method,
                content_type=request.headers.get("content-type", ""),
                query=request.scope["query_string"],
                body=body,
            )
            ask = read_ask(fields, sign_in=sign_in)
            asking = Request(request.scope, _replay(body))
            user = await resolve(self.endpoint.user, asking)
            guarded = await self._guarded(ask, asking)
        except Exception as error:  # noqa: BLE001 - a guard is user code; its failure becomes a 500
            return self.endpoint.refuse(error, fields)
        return await self.endpoint.arespond(fields, user=user, guarded=guarded, sign_in=sign_in)

    async def _guarded(self, ask: Ask, request: Request) -> dict[str, object | None]:
        if ask.channel is None:
            return {}
        names = self.endpoint.authorizer.guards_for(ask.channel)
        return {name: await resolve(self.endpoint.guard(name), request) for name in names}


async def _read_body(request: Request, receive: Receive) -> bytes | None:
    """Return the body, or None if the client went away."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    raise MessageTooLarge(f"the body has more than {MAX_BODY} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise MalformedMessage(
            f"the body of {request.method} did not arrive within {_BODY_SECONDS:.0f} s"
        ) from error


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _send(send: Send, reply: Reply, headers: dict[str, str]) -> None:
    length = {"Content-Length": str(len(reply.body))} if reply.body else {}
    raw = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in {**headers, **length}.items()
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": reply.body})


async def _live(receive: Receive, send: Send) -> None:
    """Answer the lifespan messages of a server that runs this application alone."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
