"""Bad input over a socket: each row of the page on errors is what the server really answers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from broadcaster.gateway.connection import MAX_REFUSALS
from broadcaster.protocol import websocket
from broadcaster.protocol.revocation import revocation
from broadcaster.protocol.signing import sign_channel, sign_user
from tests.gateway.fakes import client_frame
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from broadcaster.gateway.connection import Connection
    from broadcaster.testing.client import PusherClient
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

DISABLED = replace(APP, id="9", key="disabled-key", enabled=False)
PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
[SECTION] = re.findall(r"^### On a socket$(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)

# What no client may ever see: anything of the program's inside.
INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|0x[0-9a-f]{6}|<class|\bobject at\b|NoneType|\w+(Error|Exception)\b"
    r"(?<!AuthError)|msgspec|codec|broadcaster\.|__(?!proto__)\w+__|" + APP.secret
)


class Case(NamedTuple):
    """How a row is provoked: over a connection that stands, or by connecting."""

    act: Callable[[World], Awaitable[None]]
    limits: Mapping[str, Any] = MappingProxyType({})
    path: str | None = None
    origin: str | None = None


class World:
    """A gateway, the offender and somebody who stands beside it."""

    def __init__(self, gateway: RunningGateway, client: PusherClient) -> None:
        self.gateway = gateway
        self.client = client

    def connection(self) -> Connection:
        [found] = [c for c in self.gateway.node.connections if c.socket_id == self.client.socket_id]
        return found

    async def send(self, frame: object) -> None:
        await self.client.send(frame)

    async def subscribe(
        self, channel: str, auth: str = "", channel_data: str | None = None
    ) -> None:
        data = {"channel": channel, "auth": auth}
        if channel_data is not None:
            data["channel_data"] = channel_data
        await self.send({"event": "pusher:subscribe", "data": data})

    def signed(
        self, channel: str, channel_data: str | None = None, socket_id: str | None = None
    ) -> str:
        return sign_channel(
            APP.key,
            APP.secret,
            socket_id=socket_id or self.client.socket_id,
            channel=channel,
            channel_data=channel_data,
        )

    async def sign_in(self, user_data: str) -> None:
        auth = sign_user(APP.key, APP.secret, socket_id=self.client.socket_id, user_data=user_data)
        await self.send({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}})


def text(frame: str | bytes) -> Case:
    """Send one message as it is."""

    async def act(world: World) -> None:
        await world.send(frame)

    return Case(act)


def wire(data: bytes) -> Case:
    """Send bytes below the WebSocket's framing."""

    async def act(world: World) -> None:
        world.client._socket.transport.write(data)

    return Case(act)


def subscribe(channel: str, auth: str = "", channel_data: str | None = None) -> Case:
    return Case(lambda world: world.subscribe(channel, auth, channel_data))


def member(channel_data: str | None, *, sent: str | None = None, **limits: Any) -> Case:
    """Subscribe to a presence channel, signed for `channel_data`, perhaps sending another."""

    async def act(world: World) -> None:
        auth = world.signed("presence-a", channel_data)
        await world.subscribe("presence-a", auth, sent or channel_data)

    return Case(act, limits)


def user(user_data: str, *more: str) -> Case:
    async def act(world: World) -> None:
        await world.sign_in(user_data)
        for other in more:
            await world.client.next("pusher:signin_success")
            await world.sign_in(other)

    return Case(act)


def watching(ids: object, **limits: Any) -> Case:
    """Sign in with a watchlist."""
    return Case(lambda world: world.sign_in(json.dumps({"id": "ada", "watchlist": ids})), limits)


def whisper(channel: str, data: object = None, name: str = "x", **limits: Any) -> Case:
    """Send a client event, subscribed to `orders` and `private-a`."""

    async def act(world: World) -> None:
        await world.client.subscribe("orders")
        await world.client.subscribe("private-a")
        await world.client.whisper(channel, name, data)

    return Case(act, limits)


async def nothing(world: World) -> None:
    """Connecting is enough."""


def connecting(path: str | None = None, origin: str | None = None, **limits: Any) -> Case:
    return Case(nothing, limits, path or f"/app/{APP.key}?protocol=7", origin)


# -- the cases that take more than a line ---------------------------------------------


async def flood_of_whispers(world: World) -> None:
    await world.client.subscribe("private-a")
    for number in range(11):
        await world.client.whisper("private-a", "x", number)


async def refused_so_often(world: World) -> None:
    world.connection().refusals = MAX_REFUSALS - 1
    await world.send("{")


async def twice(world: World) -> None:
    await world.client.subscribe("orders")
    await world.subscribe("orders")


async def too_many_channels(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.subscribe(name)


async def another_socket(world: World) -> None:
    await world.subscribe("private-a", world.signed("private-a", socket_id="1.1"))


async def another_channel(world: World) -> None:
    await world.subscribe("private-a", world.signed("private-b"))


async def other_proof_for_presence(world: World) -> None:
    await world.subscribe("presence-a", world.signed("presence-a"))


async def expired(world: World) -> None:
    data = json.dumps({"broadcaster": {"exp": time.time() - 60}})
    await world.subscribe("private-a", world.signed("private-a", data), data)


async def expiring(world: World) -> None:
    expires = time.time() + 4  # too soon to be renewed
    data = json.dumps({"broadcaster": {"exp": expires}})
    await world.subscribe("private-a", world.signed("private-a", data), data)
    await world.client.next("pusher_internal:subscription_succeeded")
    node = world.gateway.node
    node._keepalive.look(node.now(), expires + 0.1)


async def full_presence(world: World) -> None:
    async with world.gateway.connect() as first:
        await first.subscribe("presence-a", {"user_id": "first"})
        data = '{"user_id":"second"}'
        await world.subscribe("presence-a", world.signed("presence-a", data), data)
        await world.client.next("pusher:subscription_error")


async def signed_out(world: World) -> None:
    await world.client.sign_in({"id": "ada"})
    later = revocation("ada", None, now=time.time() + 1)
    await world.gateway.node._stores.revocations.add(APP.id, [later])


async def signed_in_again(world: World) -> None:
    """As if the first sign-in had been revoked, without its own row's answer."""
    world.connection().session._signed_out = "ada"
    await world.client.sign_in({"id": "ada"}, wait=False)


async def terminated(world: World) -> None:
    await world.client.sign_in({"id": "ada"})
    await world.gateway.node._stores.revocations.aterminate(APP.id, "ada")


async def unauthorized(world: World) -> None:
    """Age the connection instead of waiting."""
    await world.client.subscribe("orders")
    world.connection().opened_at -= 31


async def silence(world: World) -> None:
    """Age the connection instead of waiting for minutes."""
    connection = world.connection()
    connection.last_seen -= 126
    await world.client.next("pusher:ping")
    connection.last_seen -= 31


async def no_reading(world: World) -> None:
    await world.client.subscribe("firehose")
    connection = world.connection()
    transport = world.client._socket.transport
    transport.pause_reading()
    for _ in range(2_000):
        await world.gateway.publish("firehose", "e", "x" * 10_000)
        if connection.closing_at is not None:
            break
    transport.resume_reading()


async def draining(world: World) -> None:
    world.gateway.node.draining = False


CASES: dict[str, Case] = {
    # Frames
    "a binary frame": text(b"\x00\x01"),
    "a message of 65,537 bytes": text("x" * 65_537),
    "text that is not UTF-8": wire(b"\x81\x82\0\0\0\0\xff\xfe"),
    "a frame with reserved bits": wire(b"\xc1\x80\0\0\0\0"),
    "a frame that is not masked": wire(b"\x81\x01x"),
    "a ping of 126 bytes": wire(b"\x89\xfe\x00\x7e" + bytes(130)),
    # JSON
    "broken JSON": text('{"event":'),
    "5 kB of `[`": text("[" * 5_000),
    "an ignored field holding 5 kB of `[`": text('{"x":' + "[" * 5_000),
    "a lone surrogate": text('{"event":"pusher:ping","data":"\\ud800 and on"}'),
    "the number NaN": text('{"event":"pusher:ping","data":NaN}'),
    "no `event`": text('{"data":{}}'),
    "`data` that is no object": text('{"event":"pusher:subscribe","data":[]}'),
    "no channel": text('{"event":"pusher:subscribe","data":{}}'),
    "an event of the server's": text('{"event":"pusher:error"}'),
    "an event without `client-`": text('{"event":"chat","channel":"orders"}'),
    # Connecting
    "an unknown app key": connecting("/app/nobody?protocol=7"),
    "a disabled app": connecting(f"/app/{DISABLED.key}?protocol=7"),
    "a wrong path": connecting("/apps/socket"),
    "a malformed version": connecting(f"/app/{APP.key}?protocol=7&version=eight"),
    "protocol version 3": connecting(f"/app/{APP.key}?protocol=3"),
    "protocol version 8": connecting(f"/app/{APP.key}?protocol=8"),
    "a protocol version that is no number": connecting(f"/app/{APP.key}?protocol=seven"),
    "an empty protocol version": connecting(f"/app/{APP.key}?protocol="),
    "a page of an origin that is not allowed": connecting(
        origin="https://evil-example.com", allowed_origins=("example.com", "*.example.com")
    ),
    "a connection over the limit": connecting(max_connections=1),
    "a connection while the server stops": Case(draining, {}, f"/app/{APP.key}?protocol=7"),
    # Channel names
    "an empty channel name": subscribe(""),
    "a channel name with a space": subscribe("a b"),
    "a channel name with a colon": subscribe("private-a:b"),
    "a channel name with a line break": subscribe("a\nb"),
    "a channel name with a look-alike digit": subscribe("a\u0664"),
    "a channel name of 201 characters": subscribe("c" * 201),
    "a reserved channel name": subscribe("#all"),
    "another user's channel": subscribe("#server-to-user-ada"),
    # Subscribing
    "no `auth`": subscribe("private-a"),
    "a malformed `auth`": subscribe("private-a", "nonsense"),
    "an `auth` in capital letters": subscribe("private-a", f"{APP.key}:" + "A" * 64),
    "an `auth` under another key": subscribe("private-a", "other-key:" + "0" * 64),
    "a wrong signature": subscribe("private-a", f"{APP.key}:" + "0" * 64),
    "a signature for another socket": Case(another_socket),
    "a signature for another channel": Case(another_channel),
    "`channel_data` changed by one byte": member('{"user_id":"ada"}', sent='{"user_id":"adb"}'),
    "an expired authorization": Case(expired),
    "a grant where none are configured": subscribe("private-a", f"{APP.key}:e30.e30.e30"),
    "an authorization that ends while subscribed": Case(expiring),
    "a presence channel without `channel_data`": Case(other_proof_for_presence),
    "`channel_data` that is no object": member("[]"),
    "a `user_id` that is no string or integer": member('{"user_id":null}'),
    "a `user_id` that browsers cannot keep": member('{"user_id":"__proto__"}'),
    "an empty `user_id`": member('{"user_id":""}'),
    "a `user_info` of 1,025 bytes": member(json.dumps({"user_id": "a", "user_info": "i" * 1_023})),
    "a full presence channel": Case(full_presence, {"presence_members": 1}),
    "a channel more than a connection may have": Case(too_many_channels, {"max_channels": 2}),
    "a channel twice": Case(twice),
    "leaving what was not subscribed": text(
        '{"event":"pusher:unsubscribe","data":{"channel":"orders"}}'
    ),
    # Client events
    "a client event where the app has none": whisper("private-a", client_events=False),
    "a client event on a public channel": whisper("orders"),
    "a client event on a channel not subscribed to": whisper("private-b"),
    "a client event without a channel": text('{"event":"client-x","data":{}}'),
    "a client event with a name of 201 characters": whisper("private-a", name="x" * 194),
    "a client event with 10,241 bytes of data": whisper("private-a", "y" * 10_241),
    "more client events than the rate": Case(flood_of_whispers),
    # Signing in
    "a sign-in without `auth`": text('{"event":"pusher:signin","data":{"user_data":"{}"}}'),
    "a sign-in with a wrong signature": text(
        json.dumps(
            {
                "event": "pusher:signin",
                "data": {"auth": f"{APP.key}:" + "0" * 64, "user_data": '{"id":"ada"}'},
            }
        )
    ),
    "a sign-in without an id": user("{}"),
    "a sign-in with a number as id": user('{"id":7}'),
    "a sign-in with an id that no channel can carry": user('{"id":"a b"}'),
    "a sign-in as another user": user('{"id":"ada"}', '{"id":"grace"}'),
    "a watchlist over the limit": watching(["a", "b", "c"], watchlist=2),
    "a watchlist with something that is no id": watching(["a", 7]),
    "a watchlist that is no list": watching("a"),
    "a user whose sign-in is revoked": Case(signed_out),
    "a sign-in again as the user whose sign-in was revoked": Case(signed_in_again),
    "a user whose connections are terminated": Case(terminated),
    "nobody who vouches for the connection in time": Case(
        unauthorized, {"authorization_timeout": 30.0}
    ),
    # Time
    "no sign of life": Case(silence),
    "a client that reads too slowly": Case(no_reading),
    "more messages than any client needs": wire(client_frame(b"", websocket.PING) * 5_000),
    "a message that is refused, for the hundredth time": Case(refused_so_often),
}


class Answer(NamedTuple):
    """What the offender got: as the page writes it."""

    kind: str
    code: str
    message: str


def answer_of(client: PusherClient) -> Answer:
    errors = [f for f in client.frames if f.event in ("pusher:error", "pusher:subscription_error")]
    closed = client.closed
    if closed is not None:
        code, reason = closed
        if not errors:
            return Answer("close", str(code), reason)
        [error] = errors
        if (error.data["code"], error.data["message"]) == (code, reason):
            return Answer("`pusher:error`, close", str(code), reason)
        said = f"{error.data['code']}, {code}"
        return Answer("`pusher:error`, close", said, f"{error.data['message']}; {reason}")
    [error] = errors
    if error.event == "pusher:error":
        said = "null" if error.data["code"] is None else str(error.data["code"])
        return Answer("`pusher:error`", said, error.data["message"])
    return Answer(f"`{error.data['type']}`", str(error.data["status"]), error.data["error"])


def row(name: str) -> Answer:
    """The documented answer: ``| name | kind | code | message |``."""
    found = re.findall(
        rf"^\| {re.escape(name)} \| ([^|]+) \| ([^|]+) \| (.*) \|$", SECTION, re.MULTILINE
    )
    assert len(found) == 1, f"docs/errors.md has {len(found)} rows for {name!r}"
    kind, code, message = found[0]
    return Answer(kind, code, message.replace("\\|", "|"))


def fits(answer: Answer, documented: Answer) -> bool:
    pattern = re.escape(documented.message).replace("…", ".*")
    return answer[:2] == documented[:2] and re.fullmatch(pattern, answer.message) is not None


def is_answered(client: PusherClient) -> bool:
    return client.closed is not None or any(
        f.event in ("pusher:error", "pusher:subscription_error") for f in client.frames
    )


@pytest.mark.parametrize("name", CASES)
async def test_the_page_on_errors_has_the_exact_answer_and_others_go_on(
    name: str, start_gateway: StartGateway
) -> None:
    case = CASES[name]
    limited = replace(APP, limits=replace(APP.limits, **case.limits))
    gateway = await start_gateway(app=limited, listed=(DISABLED,))
    async with AsyncExitStack() as stack:
        beside = await stack.enter_async_context(gateway.connect())
        await beside.subscribe("beside")
        gateway.node.draining = case.act is draining
        client = await stack.enter_async_context(
            gateway.connect(path=case.path, established=case.path is None, origin=case.origin)
        )
        await case.act(World(gateway, client))
        await eventually(lambda: is_answered(client))
        if row(name).kind.endswith("close"):
            await client.wait_closed()
        else:
            await client.settle()
        await gateway.publish("beside", "still here")
        await beside.next("still here")
        answer, alive = answer_of(client), beside.closed is None

    assert fits(answer, row(name)), f"{answer} is not {row(name)}"
    for frame in client.frames:
        if frame.event != "e":
            assert not INSIDE.search(json.dumps(frame.raw)), frame.raw
    assert client.closed is None or not INSIDE.search(client.closed[1])
    assert alive
    assert beside.received("pusher:error") == []


async def test_unknown_fields_are_ignored(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        await client.send(
            {
                "event": "pusher:subscribe",
                "data": {"channel": "orders", "auth": "", "tags": [1], "__proto__": {}},
                "id": 7,
                "constructor": {"name": "x"},
            }
        )
        await client.next("pusher_internal:subscription_succeeded")

    assert client.received("pusher:error") == []


async def test_every_row_of_the_page_is_tried() -> None:
    rows = re.findall(r"^\| (.+?) \| (?:`|close)", SECTION, re.MULTILINE)

    assert rows == list(CASES)


async def test_a_stopping_server_says_so_to_everybody(gateway: RunningGateway) -> None:
    async with gateway.connect() as first, gateway.connect() as second:
        gateway.server.should_exit = True
        closes = await asyncio.gather(first.wait_closed(), second.wait_closed())

    assert list(closes) == [(4200, "Server is going away: reconnect at once")] * 2
    assert "| 4200 | `reconnect` | Server is going away: reconnect at once |" in PAGE
