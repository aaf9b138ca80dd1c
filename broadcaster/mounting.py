"""
The gateway inside an application of yours, instead of a process of its own.

::

    from broadcaster.mounting import mounted_gateway

    gateway = mounted_gateway()
    app = FastAPI(lifespan=gateway.lifespan)
    app.mount("/", gateway)             # after your own routes

With a lifespan of your own, enter the gateway's in it::

    @asynccontextmanager
    async def lifespan(app):
        async with gateway.lifespan(app), open_database():
            yield
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from starlette.applications import Starlette

from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.gateway.mounted import MountedSockets
from broadcaster.settings import load_settings
from broadcaster.wiring.gateway import open_gateway
from broadcaster.wiring.startup import wait_for_redis

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

    from broadcaster.gateway.node import Node
    from broadcaster.settings import Settings


class _Running(NamedTuple):
    node: Node
    http: Starlette
    sockets: MountedSockets


class MountedGateway:
    """
    An ASGI application: WebSockets at ``/app/{key}``, the HTTP API at ``/apps/{id}``, status.

    Each process that runs it is a node of its own, as each ``broadcaster serve`` is. It
    serves between start and end of `lifespan`, which may be entered again afterwards.

    Args:
        settings: what to use instead of what the environment and files say at the start.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._running: _Running | None = None
        self._alone = Starlette(lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncGenerator[None]:
        """
        Run the gateway.

        Args:
            app: the application around it, as frameworks pass it; not looked at.

        Raises:
            NotConfigured: credentials or a Redis URL are missing.
            ConfigurationError: the gateway runs already, or Redis would lose what is written.
            DriverUnavailable: Redis did not answer for ten seconds.
        """
        del app
        if self._running is not None:
            raise ConfigurationError(
                "this gateway runs already: pass its lifespan to one application only"
            )
        settings = self._settings or load_settings()
        gateway = open_gateway(settings)
        try:
            await wait_for_redis(gateway.clients)
            gateway.node.start()
            gateway.webhooks.start()
            self._running = _Running(gateway.node, gateway.app, MountedSockets(gateway.node))
            try:
                yield
            finally:
                await gateway.node.drain(settings.gateway.drain_seconds)
                await gateway.node.aclose()
        finally:
            self._running = None
            await gateway.webhooks.aclose()
            await gateway.clients.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Serve one request or WebSocket.

        Raises:
            NotConfigured: the lifespan was not entered.
        """
        if scope["type"] == "lifespan":  # nothing is around us
            await self._alone(scope, receive, send)
            return
        running = self._running
        if running is None:
            raise NotConfigured(
                "the mounted gateway does not run: pass lifespan=gateway.lifespan to your "
                "application, or enter gateway.lifespan(app) in its own lifespan"
            )
        if scope["type"] == "websocket":
            await running.sockets(scope, receive, send)
        else:
            await running.http(scope, receive, send)


def mounted_gateway(settings: Settings | None = None) -> MountedGateway:
    """
    Return a gateway to mount.

    Args:
        settings: default: those of the environment, ``broadcaster.toml`` or a running
            ``broadcaster dev``, read when the application starts.
    """
    return MountedGateway(settings)
