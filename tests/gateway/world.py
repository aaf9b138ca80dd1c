"""Real gateways in this process: real sockets, real Redis, one event loop."""

from __future__ import annotations

import asyncio
import copy
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from broadcaster.gateway.server import GatewayServer, bind
from broadcaster.protocol.app import App
from broadcaster.protocol.signing import sign_request
from broadcaster.settings import GatewaySettings, Settings
from broadcaster.testing.client import connected
from broadcaster.wiring.gateway import open_gateway
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from broadcaster.gateway.node import Node
    from broadcaster.testing.client import PusherClient

APP = App(id="1234", key="app-key", secret="0123456789abcdef0123456789abcdef")


class RunningGateway:
    """One gateway, and what a test asks of it."""

    def __init__(self, server: GatewayServer, node: Node, port: int, app: App) -> None:
        self.server = server
        self.node = node
        self.port = port
        self.app = app
        self.url = f"ws://127.0.0.1:{port}"
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10)

    def connect(self, **options: Any) -> AbstractAsyncContextManager[PusherClient]:
        return connected(self.url, self.app, **options)

    def speaking_for(self, app: App) -> RunningGateway:
        """The same gateway, asked as a client and a backend of another of its apps."""
        other = copy.copy(self)
        other.app = app
        return other

    async def post(self, route: str, body: bytes) -> httpx.Response:
        path = f"/apps/{self.app.id}{route}"
        params = self._signed("POST", path, body, {})
        return await self.http.post(path, params=params, content=body)

    async def get(self, route: str, **params: str) -> httpx.Response:
        path = f"/apps/{self.app.id}{route}"
        return await self.http.get(path, params=self._signed("GET", path, b"", params))

    async def publish(
        self, channel: str, name: str, data: str = "{}", socket_id: str | None = None
    ) -> httpx.Response:
        body: dict[str, Any] = {"name": name, "channels": [channel], "data": data}
        if socket_id is not None:
            body["socket_id"] = socket_id
        return await self.post("/events", httpx.Request("POST", "http://x", json=body).content)

    def _signed(
        self, method: str, path: str, body: bytes, params: dict[str, str]
    ) -> dict[str, str]:
        return sign_request(
            self.app.key,
            self.app.secret,
            method=method,
            path=path,
            body=body,
            params=params,
            now=time.time(),
        )

    async def is_ready(self) -> bool:
        return (await self.http.get("/ready")).status_code == 200

    async def without_pubsub(self) -> asyncio.Event:
        """Lose the pub/sub connection; it comes back when the event is set."""
        subscriptions: Any = self.node._subscriptions
        back, endpoint = asyncio.Event(), subscriptions._endpoint
        opened = endpoint.open

        async def later(link: Any, where: Any) -> None:
            await back.wait()
            await opened(link, where)

        endpoint.open = later
        subscriptions._link.abort()
        await eventually(lambda: not subscriptions.connected)
        return back


class PromptServer(GatewayServer):
    """Sees at once that it is to stop; uvicorn looks ten times a second."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # noqa: ASYNC110 - what ends uvicorn is no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running_gateway(
    redis_url: str,
    prefix: str,
    *,
    app: App = APP,
    lease: float = 2.0,
    grace: float = 0.3,
    vacate_grace: float = 3.0,
    drain: float = 0.0,
    room: int = 0,
    dynamic_apps: bool = True,
    **settings: Any,
) -> AsyncIterator[RunningGateway]:
    """Run one gateway until the block ends; it is ready when the block begins."""
    listener = bind("127.0.0.1", 0)
    gateway = open_gateway(
        Settings(
            app=app,
            redis_url=redis_url,
            prefix=prefix,
            gateway=GatewaySettings(
                lease_seconds=lease,
                presence_grace=grace,
                vacate_grace=vacate_grace,
                drain_seconds=drain,
                max_connections=room,
                dynamic_apps=dynamic_apps,
            ),
            **settings,
        )
    )
    server = PromptServer(gateway.node, gateway.app, listener, drain_seconds=drain)
    running = RunningGateway(server, gateway.node, listener.getsockname()[1], app)
    task = asyncio.create_task(server.run_until_stopped())
    try:
        await eventually(lambda: task.done() or (server.started and not gateway.node.reasons()))
        yield running
    finally:
        server.should_exit = True
        await running.http.aclose()
        await asyncio.wait_for(task, 15)
        await gateway.clients.aclose()
