"""Signed HTTP API requests whose pieces a test may bend."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from broadcaster.protocol.signing import sign_request
from tests.gateway.world import APP

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS = f"/apps/{APP.id}/events"


def event_body(number: int = 0, **more: Any) -> bytes:
    return json.dumps({"name": "e", "channel": "orders", "data": str(number), **more}).encode()


def signed_params(
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    now: float | None = None,
    params: Mapping[str, str] | None = None,
) -> dict[str, str]:
    return sign_request(
        APP.key,
        APP.secret,
        method=method,
        path=path,
        body=body,
        params=params or {},
        now=time.time() if now is None else now,
    )


def signed_target(path: str, body: bytes = b"", *, method: str = "POST") -> str:
    """Path and query of a good request."""
    return f"{path}?{urlencode(signed_params(path, body, method=method))}"
