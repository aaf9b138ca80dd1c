"""``broadcaster listen`` against a server that checks what it is sent."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from websockets.asyncio.server import serve

from broadcaster.cli.listen import Frame, Listener, line_of, reconnect_delay, socket_url
from broadcaster.contracts.apps import App
from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.signing import verify_channel
from broadcaster.settings import EndpointSettings
from tests.cli.surroundings import CREDENTIALS
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from websockets.asyncio.server import Server, ServerConnection

APP = App(id="1", key="app-key", secret="app-secret")


class Stub:
    """A Pusher server that subscribes whoever is authorized, and then follows its script."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.connections = 0
        self.paths: list[str] = []
        self.received: list[dict[str, Any]] = []
        self.closes: list[tuple[int, str]] = []
        self.events: list[dict[str, Any]] = []
        self.refuse = False

    @property
    def endpoint(self) -> EndpointSettings:
        assert self.server is not None
        return EndpointSettings(port=next(iter(self.server.sockets)).getsockname()[1])

    async def converse(self, socket: ServerConnection) -> None:
        self.connections += 1
        assert socket.request is not None
        self.paths.append(socket.request.path)
        data = json.dumps({"socket_id": "1.2", "activity_timeout": 30})
        await socket.send(json.dumps({"event": "pusher:connection_established", "data": data}))
        await socket.send(json.dumps({"event": "pusher:ping", "data": {}}))
        async for text in socket:
            frame = json.loads(text)
            self.received.append(frame)
            if frame["event"] == "pusher:subscribe":
                await self.subscribe(socket, frame["data"])

    async def subscribe(self, socket: ServerConnection, data: dict[str, Any]) -> None:
        channel = data["channel"]
        if self.refuse:
            error = {"type": "AuthError", "error": "no", "status": 401}
            await socket.send(
                json.dumps(
                    {"event": "pusher:subscription_error", "channel": channel, "data": error}
                )
            )
            return
        if "auth" in data:
            verify_channel(
                data["auth"],
                key=APP.key,
                secret=APP.secret,
                socket_id="1.2",
                channel=channel,
                channel_data=data.get("channel_data"),
            )
        await socket.send(
            json.dumps({"event": "pusher_internal:subscription_succeeded", "channel": channel})
        )
        if self.closes:
            code, reason = self.closes.pop(0)
            await socket.close(code, reason)
            return
        await socket.send("this is no JSON")
        for event in self.events:
            await socket.send(json.dumps({"channel": channel, **event}))


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    made = Stub()
    async with serve(made.converse, "127.0.0.1", 0) as server:
        made.server = server
        yield made


async def listen(stub: Stub, *channels: str, count: int = 1, as_json: bool = False) -> None:
    listener = Listener(APP, stub.endpoint, channels=channels, count=count, as_json=as_json)
    async with asyncio.timeout(20):
        await listener.run()


async def test_events_are_printed_one_a_line(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.events = [
        {"event": "App\\Events\\Shipped", "data": '{"id":7}'},
        {"event": "client-typing", "data": {"a": 1}, "user_id": "7"},
    ]

    await listen(stub, "private-orders.1", count=2)

    said = capsys.readouterr()
    first, second = said.out.splitlines()
    assert first.endswith(' private-orders.1 App\\Events\\Shipped {"id":7}')
    assert second.endswith(' private-orders.1 client-typing {"a":1}')
    assert "subscribed to private-orders.1" in said.err


async def test_programs_get_json_lines(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.events = [{"event": "client-x", "data": '{"id":7}', "user_id": "7"}]

    await listen(stub, "orders", as_json=True)

    line = json.loads(capsys.readouterr().out)
    assert line.pop("ts") > 1_700_000_000
    assert line == {"channel": "orders", "event": "client-x", "data": {"id": 7}, "user_id": "7"}


async def test_subscriptions_are_signed_and_pings_answered(stub: Stub) -> None:
    """The stub verifies each signature, so a wrong one would end the conversation."""
    stub.events = [{"event": "x", "data": ""}]

    await listen(stub, "orders", "private-a", "presence-b", count=3)

    subscribed = {
        frame["data"]["channel"]: frame["data"]
        for frame in stub.received
        if frame["event"] == "pusher:subscribe"
    }
    assert set(subscribed) == {"orders", "private-a", "presence-b"}
    assert "auth" not in subscribed["orders"]
    assert subscribed["presence-b"]["channel_data"] == '{"user_id": "broadcaster-listen"}'
    await eventually(lambda: {"event": "pusher:pong", "data": {}} in stub.received)
    assert stub.paths[0].startswith("/app/app-key?protocol=7&")


@pytest.mark.parametrize("code", [4200, 4100, 1000, 1001, 1012])
async def test_a_connection_that_ends_is_made_again(
    stub: Stub,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broadcaster.cli.listen._MAX_DELAY", 0.01)
    stub.closes = [(code, "later")]
    stub.events = [{"event": "x", "data": "1"}]

    await listen(stub, "orders")

    assert stub.connections == 2
    assert "connecting again in" in capsys.readouterr().err


async def test_a_code_that_says_give_up_ends_it(stub: Stub) -> None:
    stub.closes = [(4001, "Application does not exist")]

    with pytest.raises(click.ClickException, match="4001 Application does not exist"):
        await listen(stub, "orders")


async def test_it_ends_when_every_channel_was_refused(stub: Stub) -> None:
    stub.refuse = True

    with pytest.raises(click.ClickException, match="every channel was refused"):
        await listen(stub, "private-a", "private-b")


async def test_a_server_that_was_never_there_is_unavailable(stub: Stub) -> None:
    endpoint = stub.endpoint
    assert stub.server is not None
    stub.server.close()
    await stub.server.wait_closed()

    with pytest.raises(DriverUnavailable, match="broadcaster serve"):
        await Listener(APP, endpoint, channels=("a",)).run()


def test_what_is_printed_cannot_control_the_terminal() -> None:
    frame = Frame(event="x\x1b[2J", channel="a", data="\x07\u202e b")

    line = line_of(frame, now=0.0, as_json=False)

    assert line.isprintable()
    assert "x\\x1b[2J" in line


@pytest.mark.parametrize(
    ("endpoint", "start"),
    [
        (EndpointSettings(), "ws://127.0.0.1:8080/app/k?protocol=7&"),
        (EndpointSettings(scheme="https", port=443, path="/x/"), "wss://127.0.0.1:443/x/app/k?"),
        (EndpointSettings(host="::1"), "ws://[::1]:8080/app/k?"),
    ],
)
def test_the_url_is_that_of_the_endpoint(endpoint: EndpointSettings, start: str) -> None:
    assert socket_url(endpoint, "k").startswith(start)


def test_waiting_grows_and_is_spread() -> None:
    assert reconnect_delay(1, 0.0) == 0.5
    assert reconnect_delay(1, 1.0) == 1.0
    assert reconnect_delay(100, 1.0) == 10.0


@pytest.mark.process
async def test_interrupting_it_is_no_failure(stub: Stub, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "broadcaster", "listen", "private-a"]
    port = str(stub.endpoint.port)
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--host", "127.0.0.1", "--port", port),
        cwd=tmp_path,
        env={**CREDENTIALS, "PYTHONPATH": ":".join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await eventually(lambda: bool(stub.received))
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert process.returncode == 0
    assert b"Traceback" not in said
