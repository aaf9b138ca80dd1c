"""The HTTP side of a gateway: one Starlette application."""

from __future__ import annotations

import time
from os import urandom
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from broadcaster.gateway.answers import not_found
from broadcaster.gateway.http_api import http_api_routes
from broadcaster.gateway.status import status_routes
from broadcaster.protocol.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.gateway.parts import Stores
    from broadcaster.gateway.status import Readiness


def http_app(
    apps: AppProvider,
    stores: Stores,
    readiness: Readiness,
    *,
    settled: Callable[[], Awaitable[None]],
    path_prefix: str = "",
) -> Starlette:
    """
    Return the application that answers everything but WebSockets.

    Args:
        settled: returns when the store knows what clients of this node have been told.
    """
    routes = [
        *status_routes(readiness, new_id=_new_id),
        *http_api_routes(
            apps,
            stores,
            clock=time.time,
            new_id=_new_id,
            settled=settled,
            path_prefix=path_prefix,
        ),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    app.router.default = not_found
    return app


def _new_id() -> str:
    return uuid7(time.time(), urandom(10))
