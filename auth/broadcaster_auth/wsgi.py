"""
The auth endpoint as a WSGI application.

Guards get a `broadcaster_auth.guards.WsgiRequest` and must be synchronous; async rules
run in an event loop of their own. In Flask and Django a view that calls
`Endpoint.respond` is often simpler: there the framework already knows the user.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from broadcaster.errors import MessageTooLarge
from broadcaster_auth.endpoint import Endpoint, Reply
from broadcaster_auth.fields import MAX_BODY, Ask, parse_fields, read_ask
from broadcaster_auth.guards import WsgiRequest, resolve_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from broadcaster.contracts.apps import App
    from broadcaster_auth.guards import Guard


def broadcasting_auth_wsgi(
    app: App | Callable[[], App], *, user: Guard, **options: Any
) -> WSGIApplication:
    """
    Return the auth endpoint as a WSGI application.

    Args:
        app: the app to sign for, or a callable that returns it.
        user: takes a `WsgiRequest`, returns the user or None.
        options: further attributes of `broadcaster_auth.endpoint.Endpoint`.
    """
    return WsgiEndpoint(Endpoint(app=app, user=user, **options))


class WsgiEndpoint:
    """Serves an `Endpoint` to WSGI servers."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        reply = self._reply(environ)
        preflight = environ["REQUEST_METHOD"] == "OPTIONS"
        cors = self.endpoint.cors_headers(environ.get("HTTP_ORIGIN"), preflight=preflight)
        headers = {**reply.headers, **cors}
        if reply.body:
            headers["Content-Length"] = str(len(reply.body))
        status = HTTPStatus(reply.status)
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        return [reply.body] if reply.body else []

    def _reply(self, environ: WSGIEnvironment) -> Reply:
        sign_in = self.endpoint.precheck(
            environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        )
        if isinstance(sign_in, Reply):
            return sign_in
        fields: dict[str, object] = {}
        try:
            fields = parse_fields(
                method=environ["REQUEST_METHOD"],
                content_type=environ.get("CONTENT_TYPE", ""),
                query=environ.get("QUERY_STRING", "").encode("latin-1"),
                body=_read_body(environ),
            )
            ask = read_ask(fields, sign_in=sign_in)
            request = WsgiRequest(environ)
            user = resolve_now(self.endpoint.user, request)
            guarded = self._guarded(ask, request)
        except Exception as error:  # noqa: BLE001 - a guard is user code; its failure becomes a 500
            return self.endpoint.refuse(error, fields)
        return self.endpoint.respond(fields, user=user, guarded=guarded, sign_in=sign_in)

    def _guarded(self, ask: Ask, request: WsgiRequest) -> dict[str, object | None]:
        if ask.channel is None:
            return {}
        names = self.endpoint.authorizer.guards_for(ask.channel)
        return {name: resolve_now(self.endpoint.guard(name), request) for name in names}


def _read_body(environ: WSGIEnvironment) -> bytes:
    if environ["REQUEST_METHOD"] == "GET":
        return b""
    text = environ.get("CONTENT_LENGTH") or ""
    if text.isascii() and text.isdigit():
        length = int(text[:12])
        if length > MAX_BODY:
            raise MessageTooLarge(f"the body has more than {MAX_BODY} bytes")
    elif environ.get("wsgi.input_terminated"):
        length = MAX_BODY + 1
    else:
        return b""
    body: bytes = environ["wsgi.input"].read(length)
    return body
