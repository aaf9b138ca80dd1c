"""Request bodies over plain ASGI, read with a cap and a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broadcaster.errors import RequestRefused
from broadcaster.gateway.answers import header
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

BODY_SECONDS = 10.0
# A body up to this long is read to its end before it is refused, so that clients that
# write everything before they read see the answer instead of a reset connection.
DRAIN_BYTES = 1_048_576


class ClientGone(Exception):
    """The connection ended before the request did; nobody reads an answer."""


def refuse_encoding(scope: Scope) -> None:
    """Raise `RequestRefused` (415) for a compressed body: it would grow after the cap."""
    encoding = header(scope, b"content-encoding").lower()
    if encoding not in (b"", b"identity"):
        raise RequestRefused(
            f"content-encoding {shown(encoding.decode('latin-1'))} is not accepted; send the "
            "body as it is",
            status=415,
            code="unsupported_encoding",
        )


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """
    Return the whole body.

    Raises:
        RequestRefused: over `limit` (413), or not complete after `BODY_SECONDS` (408).
    """
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared[:20]) > max(limit, DRAIN_BYTES):
        raise _too_large(int(declared[:20]), limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body, size = await _receive_all(receive, limit)
    except TimeoutError as error:
        raise RequestRefused(
            f"the body was not complete after {BODY_SECONDS:.0f} s",
            status=408,
            code="body_timeout",
        ) from error
    if size > limit:
        raise _too_large(size, limit)
    return body


async def _receive_all(receive: Receive, limit: int) -> tuple[bytes, int]:
    """Return the body up to `limit` and its size, as far as it was read."""
    kept = bytearray()
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        if not size and not more:
            return chunk, len(chunk)
        size += len(chunk)
        if size <= limit:
            kept += chunk
        if not more or size > max(limit, DRAIN_BYTES):
            return bytes(kept), size


def _too_large(size: int, limit: int) -> RequestRefused:
    return RequestRefused(
        f"the body has {size} bytes or more; {limit} are allowed",
        status=413,
        code="request_too_large",
    )
