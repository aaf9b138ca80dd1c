"""Somebody's own application under a real uvicorn, with a gateway mounted in it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from broadcaster.mounting import MountedGateway
from broadcaster.settings import GatewaySettings, Settings
from tests.gateway.world import APP, RunningGateway
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator
    from socket import socket

    from starlette.requests import Request

    from broadcaster.gateway.node import Node
    from broadcaster.protocol.app import App


def settings_for(redis_url: str, prefix: str, app: App = APP, **gateway: Any) -> Settings:
    options = {"lease_seconds": 2.0, "presence_grace": 0.3, "drain_seconds": 0.5, **gateway}
    return Settings(app=app, redis_url=redis_url, prefix=prefix, gateway=GatewaySettings(**options))


class HostApplication:
    """
    The application around the gateway, with a route and a lifespan of its own.

    Attributes:
        steps: what its lifespan did.
    """

    def __init__(self, gateway: MountedGateway, path: str) -> None:
        self.gateway = gateway
        self.steps: list[str] = []
        self.asgi = Starlette(
            routes=[Route("/own", own), Mount(path, gateway)], lifespan=self.lifespan
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncGenerator[dict[str, str]]:
        self.steps.append("started")
        async with self.gateway.lifespan(app):
            yield {"greeting": "hello"}
        self.steps.append("stopped")


async def own(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.greeting)


class MountedWorld(RunningGateway):
    """A `RunningGateway` that somebody else's server serves."""

    def __init__(
        self, host: HostApplication, server: uvicorn.Server, node: Node, port: int, app: App
    ) -> None:
        super().__init__(server, node, port, app)  # type: ignore[arg-type] # uvicorn's own
        self.host = host
        self.under = ""

    def _signed(
        self, method: str, path: str, body: bytes, params: dict[str, str]
    ) -> dict[str, str]:
        """Clients sign the path that they ask for, with the mount's in front."""
        return super()._signed(method, self.under + path, body, params)


@asynccontextmanager
async def mounted_world(
    redis_url: str,
    prefix: str,
    *,
    path: str = "/",
    app: App = APP,
    ws: Any = "auto",
    **gateway: Any,
) -> AsyncIterator[MountedWorld]:
    """Run one until the block ends; it is ready when the block begins."""
    mounted = MountedGateway(settings_for(redis_url, prefix, app, **gateway))
    host = HostApplication(mounted, path)
    config = uvicorn.Config(host.asgi, port=0, log_config=None, ws=ws, lifespan="on")
    server = uvicorn.Server(config)
    server.capture_signals = no_signals  # type: ignore[method-assign] # pytest's are pytest's
    listener = config.bind_socket()
    task = asyncio.create_task(server.serve(sockets=[listener]))
    world: MountedWorld | None = None
    try:
        await eventually(lambda: task.done() or server.started)
        world = running(host, server, listener, app, path.rstrip("/"))
        await eventually(lambda: not world.node.reasons())
        yield world
    finally:
        server.should_exit = True
        if world is not None:
            await world.http.aclose()
        await asyncio.wait_for(task, 15)


def running(
    host: HostApplication, server: uvicorn.Server, listener: socket, app: App, under: str
) -> MountedWorld:
    inside = host.gateway._running
    assert inside is not None, host.steps
    world = MountedWorld(host, server, inside.node, listener.getsockname()[1], app)
    world.under = under
    world.url += under
    world.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.port}{under}", timeout=10)
    return world


@contextmanager
def no_signals() -> Generator[None]:
    yield
