"""
ASGI middleware: the socket id of a request, for ``to_others=True``.

Works with Starlette, FastAPI, Litestar, Quart and Django under ASGI::

    app.add_middleware(SocketIdMiddleware)      # Starlette, FastAPI
    application = SocketIdMiddleware(application)  # anything else
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster import context
from broadcaster.integrations.socket_id import read_socket_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_HEADER = b"x-socket-id"


class SocketIdMiddleware:
    """
    Sets `broadcaster.context.socket_id` while a request is handled.

    The header ``X-Socket-ID`` is what Echo adds to requests of axios and jQuery; a value
    that is no socket id is ignored, with one line in the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        values = [value for name, value in scope["headers"] if name.lower() == _HEADER]
        found = read_socket_id([value.decode("latin-1") for value in values])
        token = context.socket_id.set(found)
        try:
            await self.app(scope, receive, send)
        finally:
            context.socket_id.reset(token)
