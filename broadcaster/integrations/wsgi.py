"""
WSGI middleware: the socket id of a request, for ``to_others=True``.

::

    app.wsgi_app = SocketIdMiddleware(app.wsgi_app)            # Flask
    application = SocketIdMiddleware(get_wsgi_application())    # Django
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING

from broadcaster import context
from broadcaster.integrations.socket_id import read_socket_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextvars import Context
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class SocketIdMiddleware:
    """
    Sets `broadcaster.context.socket_id` while a request is handled.

    The application, every step of its response iterable, and its ``close()`` run in one
    context of their own: nothing leaks to the next request of the thread, not even from
    a response that is abandoned halfway.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        header = environ.get("HTTP_X_SOCKET_ID")
        found = read_socket_id([] if header is None else [header])
        own = copy_context()
        own.run(context.socket_id.set, found)
        return _Response(own, own.run(self.app, environ, start_response))


class _Response:
    """A response iterable that is stepped and closed in its request's context."""

    def __init__(self, own: Context, body: Iterable[bytes]) -> None:
        self._own = own
        self._body = body
        self._steps: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._own.run(self._step)

    def close(self) -> None:
        """Close the wrapped response; WSGI servers always call this."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._own.run(close)

    def _step(self) -> bytes:
        if self._steps is None:
            self._steps = iter(self._body)
        return next(self._steps)
