"""Each close code where it belongs: what brings it about, and what stock clients then do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from broadcaster.gateway.keepalive import PATIENCE_SECONDS
from broadcaster.protocol import websocket
from broadcaster.protocol.close_codes import CLOSE_CODES, CloseCode, Reaction
from tests.gateway.fakes import client_frame
from tests.gateway.world import APP
from tests.polling import eventually
from tests.security.raw import UPGRADE_HEADERS, raw_client, raw_websocket

if TYPE_CHECKING:
    from broadcaster.gateway.connection import Connection
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway
    from tests.security.raw import RawClient


async def nothing(gateway: RunningGateway, client: RawClient) -> None:
    """Connecting is enough."""


def only(gateway: RunningGateway) -> Connection:
    [connection] = gateway.node.connections
    return connection


def look(gateway: RunningGateway, seconds: float = 0.0) -> None:
    gateway.node._keepalive.look(gateway.node.now() + seconds, time.time())


async def silence(gateway: RunningGateway, client: RawClient) -> None:
    patience = APP.limits.activity_timeout + PATIENCE_SECONDS + 1
    look(gateway, patience)
    await client.until(b"pusher:ping")
    look(gateway, patience + APP.limits.pong_timeout)


async def renewal(gateway: RunningGateway, client: RawClient) -> None:
    del client
    only(gateway).session.renew_at = 0.0
    look(gateway)


async def backlog(gateway: RunningGateway, client: RawClient) -> None:
    del client
    only(gateway).deliver(b"x" * (APP.limits.max_backlog_bytes + 1))


async def stop(gateway: RunningGateway, client: RawClient) -> None:
    del client
    gateway.server.should_exit = True
    await asyncio.sleep(0)


async def floods(gateway: RunningGateway, client: RawClient) -> None:
    del gateway
    client.write(client_frame(b"", websocket.PING) * 5_000)


class Cause(NamedTuple):
    """How a code is brought about: by the target of the handshake, settings, or an act."""

    what: str
    target: str = f"/app/{APP.key}?protocol=7"
    app: dict[str, Any] = {}  # noqa: RUF012 - never written to
    headers: str = ""
    act: Any = nothing


CAUSES: dict[str, list[Cause]] = {
    "unknown_app": [
        Cause("an unknown key", "/app/nobody?protocol=7"),
        Cause("an empty key", "/app/?protocol=7"),
    ],
    "app_disabled": [Cause("an app that is switched off", app={"enabled": False})],
    "path_not_found": [
        Cause("another path", "/socket"),
        Cause("more path than a key", f"/app/{APP.key}/x"),
    ],
    "bad_version": [Cause("a malformed version", f"/app/{APP.key}?protocol=7&version=eight")],
    "unsupported_protocol": [
        Cause("an old protocol", f"/app/{APP.key}?protocol=3"),
        Cause("a new protocol", f"/app/{APP.key}?protocol=8"),
    ],
    "no_protocol": [Cause("an empty protocol", f"/app/{APP.key}?protocol=")],
    "unauthorized": [
        Cause(
            "another site's page",
            app={"limits": replace(APP.limits, allowed_origins=("example.com",))},
            headers="Origin: https://evil.test\r\n",
        )
    ],
    "over_capacity": [
        Cause("an app that is full", app={"limits": replace(APP.limits, max_connections=1)})
    ],
    "slow_consumer": [Cause("a reader that does not keep up", act=backlog)],
    "too_much": [Cause("a flood", act=floods)],
    "reconnect": [Cause("a stop", act=stop)],
    "renew": [Cause("an authorization that is about to end", act=renewal)],
    "pong_missing": [Cause("silence", act=silence)],
}
CASES = [(code, cause) for code in CLOSE_CODES for cause in CAUSES.get(code.name, [])]
PASSING = {"over_capacity", "slow_consumer", "too_much", "reconnect", "renew", "pong_missing"}


def test_every_code_has_a_cause() -> None:
    assert set(CAUSES) == {code.name for code in CLOSE_CODES}


def test_what_may_pass_never_makes_a_client_give_up() -> None:
    """4000 to 4099 silence a page until it is loaded again."""
    for code in CLOSE_CODES:
        assert (code.reaction is Reaction.GIVE_UP) == (code.name not in PASSING), code


@pytest.mark.parametrize(("code", "cause"), CASES, ids=lambda value: getattr(value, "what", ""))
async def test_a_cause_has_its_code_and_the_handshake_is_accepted(
    code: CloseCode, cause: Cause, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(app=replace(APP, **cause.app))
    is_full = code.name == "over_capacity"
    async with raw_client(gateway) as other:
        if is_full:
            other.write(f"GET {cause.target} HTTP/1.1\r\n{UPGRADE_HEADERS}\r\n".encode())
            await other.until(b"connection_established")
        async with raw_websocket(gateway, target=cause.target, headers=cause.headers) as client:
            assert client.got.startswith(b"HTTP/1.1 101")
            if cause.act is not nothing:
                await client.until(b"connection_established")
            await cause.act(gateway, client)
            got = await client.close_code()

    assert got == code.code
    if cause.act is nothing:  # said as an event too, for clients that look there
        [error] = [event for event in client.events() if event["event"] == "pusher:error"]
        assert error["data"]["code"] == code.code
    await eventually(lambda: not gateway.node.connections)
