"""
JSON answers over plain ASGI: what every HTTP route of the gateway ends with.

A refusal is ``{"error": {"code", "message"}}``; `code` is stable and listed in
docs/errors.md. Every answer carries ``X-Request-ID``, the caller's own one if it sent any.
"""

from __future__ import annotations

import re
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.protocol.channels import shown
from broadcaster.protocol.http_api import encode_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Receive, Scope, Send

    from broadcaster.contracts.apps import App
    from broadcaster.protocol.http_query import Target

_REQUEST_ID = re.compile(rb"[-A-Za-z0-9_.]{1,64}")
_JSON = (b"content-type", b"application/json")
NOT_MODIFIED = 304


class Request(NamedTuple):
    """
    A request of the HTTP API, signed by `app`.

    Attributes:
        params: query parameters, names in lower case, values unescaped.
        headers: as sent, names in lower case.
    """

    app: App
    target: Target
    params: Mapping[str, str]
    body: bytes
    headers: Iterable[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """Status, JSON body and extra headers of a response."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refuse(status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> Answer:
    """Return a refusal."""
    return Answer(status, encode_error(code, message), headers)


def method_not_allowed(method: str, allowed: str) -> Answer:
    """Return a 405 that names the methods in `allowed` (``"GET, HEAD"``)."""
    return refuse(
        405,
        "method_not_allowed",
        f"method {shown(method, 20)} is not allowed here; use {allowed}",
        (b"allow", allowed.encode()),
    )


def header(scope: Scope, name: bytes) -> bytes:
    """Return the value of the first header called `name` (lower case), or nothing."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return b""


def request_id(scope: Scope) -> bytes:
    """Return the caller's ``X-Request-ID`` if it is 1 to 64 harmless characters, else nothing."""
    sent = header(scope, b"x-request-id")
    return sent if sent and _REQUEST_ID.fullmatch(sent) else b""


async def send_answer(send: Send, answer: Answer, request_id: bytes) -> None:
    """Write `answer` as the response of an HTTP scope."""
    headers = [(b"x-request-id", request_id), *answer.headers]
    if answer.status != NOT_MODIFIED:  # whose content would be another answer's
        headers += (_JSON, (b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def not_found(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 404 in JSON: the router's last resort. A WebSocket handshake is turned down."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4005})
        return
    answer = refuse(
        404,
        "not_found",
        f"there is nothing at {shown(scope['path'], 200)}; see GET / for what there is",
    )
    await send_answer(send, answer, request_id(scope) or token_hex(16).encode())
