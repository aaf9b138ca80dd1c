"""
What orchestrators and people ask a gateway: is it up, may it get traffic, what is it?

===================  ==============================================================
``/up`` ``/health``  200 while the process runs
``/live``            the same, by its Kubernetes name
``/ready``           200 when this node can serve, else 503 with every reason
``/``                the product's name and where its doors are
``/openapi.json``    the HTTP API, described for programs
===================  ==============================================================

All of them take GET, HEAD and OPTIONS, which some proxies check with, and answer alike.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import msgspec
from starlette.routing import Route

from broadcaster.gateway.answers import (
    NOT_MODIFIED,
    Answer,
    header,
    method_not_allowed,
    request_id,
    send_answer,
)
from broadcaster.protocol.openapi import encoded_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

_METHODS = ("GET", "HEAD", "OPTIONS")
_FRESH = ((b"cache-control", b"no-store"),)
_UP = Answer(200, b'{"status":"up"}', _FRESH)
_ROOT = Answer(
    200,
    msgspec.json.encode(
        {
            "name": "broadcaster",
            "websocket": "/app/{key}",
            "http_api": "/apps/{id}/events",
            "up": "/up",
            "ready": "/ready",
            "openapi": "/openapi.json",
        }
    ),
)


class Readiness(Protocol):
    """Knows whether this node can serve."""

    def reasons(self) -> list[str]:
        """Return why it cannot, one sentence each, from memory; empty when it can."""
        ...


def status_routes(readiness: Readiness, *, new_id: Callable[[], str]) -> list[Route]:
    """
    Return the routes of this module.

    Args:
        new_id: makes the ``X-Request-ID`` of a request that came without one.
    """
    described = encoded_document()
    tag = b'"%b"' % hashlib.sha256(described).hexdigest()[:16].encode()
    cached = ((b"etag", tag), (b"cache-control", b"public, max-age=300"))
    whole, unchanged = Answer(200, described, cached), Answer(NOT_MODIFIED, b"", cached)

    def ready(_scope: Scope) -> Answer:
        reasons = readiness.reasons()
        body = msgspec.json.encode({"ready": not reasons, "reasons": reasons})
        return Answer(503 if reasons else 200, body, _FRESH)

    def up(_scope: Scope) -> Answer:
        return _UP

    def root(_scope: Scope) -> Answer:
        return _ROOT

    def openapi(scope: Scope) -> Answer:
        known = [one.strip() for one in header(scope, b"if-none-match").split(b",")]
        return unchanged if tag in known or b"W/" + tag in known or b"*" in known else whole

    doors = {
        "/up": up,
        "/health": up,
        "/live": up,
        "/ready": ready,
        "/": root,
        "/openapi.json": openapi,
    }
    return [Route(path, _Door(answer, new_id)) for path, answer in doors.items()]


class _Door:
    """One route that takes no input."""

    def __init__(self, answer: Callable[[Scope], Answer], new_id: Callable[[], str]) -> None:
        self._answer = answer
        self._new_id = new_id

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        method = scope["method"]
        answer = (
            self._answer(scope)
            if method in _METHODS
            else method_not_allowed(method, ", ".join(_METHODS))
        )
        await send_answer(send, answer, request_id(scope) or self._new_id().encode())
