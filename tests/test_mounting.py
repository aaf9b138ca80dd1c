"""The gateway as an ASGI application of its own kind: its lifespan, without any server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.mounting import MountedGateway, mounted_gateway
from tests.gateway.mounted_world import settings_for
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file and no running `dev` is found from here."""
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "BROADCASTER_APP_ID", "BROADCASTER_APP_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gateway(redis_url: str, prefix: str) -> MountedGateway:
    """One that is not started."""
    return mounted_gateway(settings_for(redis_url, prefix))


async def is_ready(gateway: MountedGateway) -> None:
    await eventually(lambda: gateway._running and not gateway._running.node.reasons())


class Server:
    """The server's side of one WebSocket, or of a lifespan."""

    def __init__(self, gateway: MountedGateway, **scope: Any) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[Any] = []
        self.fails = False
        self.task = asyncio.ensure_future(gateway(scope, self.incoming.get, self.send))

    @classmethod
    def websocket(cls, gateway: MountedGateway, path: str, root_path: str = "") -> Server:
        server = cls(gateway, type="websocket", path=path, root_path=root_path, headers=[])
        server.incoming.put_nowait({"type": "websocket.connect"})
        return server

    async def send(self, message: Any) -> None:
        if self.fails:
            raise OSError("gone")
        self.sent.append(message)

    async def messages(self, count: int) -> list[Any]:
        await eventually(lambda: len(self.sent) >= count)
        return self.sent


async def test_it_serves_while_its_lifespan_lasts(gateway: MountedGateway) -> None:
    transport = httpx.ASGITransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        with pytest.raises(NotConfigured, match=r"lifespan=gateway\.lifespan"):
            await http.get("/up")
        for _ in range(2):
            async with gateway.lifespan(None):
                assert (await http.get("/up")).json() == {"status": "up"}
                await is_ready(gateway)
        with pytest.raises(NotConfigured):
            await http.get("/up")


async def test_it_serves_one_application_at_a_time(gateway: MountedGateway) -> None:
    async with gateway.lifespan(None):
        await is_ready(gateway)
        with pytest.raises(ConfigurationError, match="runs already"):
            async with gateway.lifespan(None):
                pass


async def test_settings_are_read_when_the_application_starts(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = mounted_gateway()
    with pytest.raises(NotConfigured):
        async with gateway.lifespan(None):
            pass
    for name in ("id", "key", "secret"):
        monkeypatch.setenv(f"BROADCASTER_APP_{name.upper()}", getattr(APP, name))
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BROADCASTER_PREFIX", prefix)

    async with gateway.lifespan(None):
        socket = Server.websocket(gateway, f"/app/{APP.key}")
        accepted, greeting = await socket.messages(2)
        socket.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await socket.task

    assert accepted == {"type": "websocket.accept"}
    assert json.loads(greeting["text"])["event"] == "pusher:connection_established"


async def test_sockets_that_a_server_leaves_open_are_drained(gateway: MountedGateway) -> None:
    async with gateway.lifespan(None):
        sockets = [Server.websocket(gateway, f"/rt/app/{APP.key}", "/rt") for _ in range(3)]
        for socket in sockets:
            await socket.messages(2)
    await asyncio.gather(*(socket.task for socket in sockets))

    closes = [socket.sent[-1] for socket in sockets]
    reason = "Server is going away: reconnect at once"
    assert closes == [{"type": "websocket.close", "code": 4200, "reason": reason}] * 3


async def test_a_server_that_cannot_send_any_more_ends_the_connection(
    gateway: MountedGateway,
) -> None:
    async with gateway.lifespan(None):
        socket = Server.websocket(gateway, f"/app/{APP.key}")
        await socket.messages(2)
        socket.fails = True
        socket.incoming.put_nowait(
            {"type": "websocket.receive", "text": '{"event":"pusher:ping","data":{}}'}
        )
        await asyncio.wait_for(socket.task, 10)


async def test_a_socket_that_is_gone_before_it_is_accepted_is_none(
    gateway: MountedGateway,
) -> None:
    async with gateway.lifespan(None):
        await is_ready(gateway)
        socket = Server.websocket(gateway, f"/app/{APP.key}")
        socket.fails = True
        await asyncio.wait_for(socket.task, 10)

    assert socket.sent == []


async def test_it_may_be_the_whole_application(gateway: MountedGateway) -> None:
    server = Server(gateway, type="lifespan", state={})
    server.incoming.put_nowait({"type": "lifespan.startup"})
    await server.messages(1)
    await is_ready(gateway)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(gateway), base_url="http://x"
    ) as http:
        up = await http.get("/up")
    server.incoming.put_nowait({"type": "lifespan.shutdown"})
    await asyncio.wait_for(server.task, 10)

    assert up.status_code == 200
    assert [message["type"] for message in server.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
