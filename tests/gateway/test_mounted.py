"""A gateway inside somebody's Starlette application, under their uvicorn and real Redis."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from broadcaster.gateway.connection import HIGH_WATER
from broadcaster.gateway.mounted import Outbox, _Letters
from broadcaster.protocol.websocket import PONG, encode_close, encode_control, encode_text
from tests.gateway.mounted_world import MountedWorld, mounted_world
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.gateway.conftest import StartGateway

    Start = Callable[..., Awaitable[MountedWorld]]

ADA = {"user_id": "ada", "user_info": {"name": "Ada"}}
GRACE = {"user_id": 7, "user_info": {"name": "Grace"}}
ADDED = "pusher_internal:member_added"


@pytest.fixture
async def start(redis_url: str, prefix: str) -> AsyncIterator[Start]:
    """Start applications with a gateway in them; they stop when the test ends."""
    async with AsyncExitStack() as stack:

        async def starting(**options: Any) -> MountedWorld:
            return await stack.enter_async_context(mounted_world(redis_url, prefix, **options))

        yield starting


@pytest.fixture(params=["/", "/realtime"])
async def world(request: pytest.FixtureRequest, start: Start) -> MountedWorld:
    """One application with the gateway at its root, and one with it under a path."""
    return await start(path=request.param)


# -- what test_node.py does not already ask of both shells ----------------------------


async def test_messages_of_one_tick_arrive_one_by_one_and_in_order(world: MountedWorld) -> None:
    async with world.connect() as client:
        await client.subscribe("orders")
        (channel,) = world.node.hub.channels.values()
        for number in range(100):
            text = json.dumps({"event": "numbered", "channel": "orders", "data": str(number)})
            world.node.hub.broadcast(channel, text.encode())
        while len(client.received("numbered")) < 100:
            await client.next("numbered")

    assert client.received("numbered") == list(range(100))


async def test_text_that_is_not_ascii_arrives_as_it_was(world: MountedWorld) -> None:
    async with world.connect() as client, world.connect() as other:
        for member in (client, other):
            await member.subscribe("private-room")
        await world.publish("private-room", "said", json.dumps("žluťoučký 🐎", ensure_ascii=False))
        said = await client.next("said")
        await other.whisper("private-room", "said", "🐎")
        whispered = await client.next("client-said")

    assert said.data == "žluťoučký 🐎"
    assert whispered.raw["data"] == "🐎"


async def test_a_forged_subscription_is_refused_and_the_connection_lives(
    world: MountedWorld,
) -> None:
    async with world.connect() as client:
        data = {"channel": "private-a", "auth": f"{APP.key}:" + "0" * 64}
        await client.send({"event": "pusher:subscribe", "data": data})
        refusal = await client.next("pusher:subscription_error")
        await client.settle()

    assert (refusal.channel, refusal.data["status"]) == ("private-a", 401)


# -- refusals and violations ----------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/app/nobody?protocol=7", 4001),
        ("/sockets", 4005),
        ("/app/app-key/more", 4005),
        ("/app/app-key?version=eight", 4006),
        ("/app/app-key?protocol=8", 4007),
        ("/app/app-key?protocol=", 4008),
    ],
)
async def test_a_socket_that_may_not_stay_is_told_why(
    world: MountedWorld, path: str, code: int
) -> None:
    async with world.connect(path=path, established=False) as client:
        error = await client.next("pusher:error")
        closed = await client.wait_closed()
        await eventually(lambda: not world.node.connections)

    assert (error.data["code"], error.data["message"]) == closed
    assert closed[0] == code


async def test_origins_and_quotas_hold_here_too(start: Start) -> None:
    limits = replace(APP.limits, max_connections=1, allowed_origins=("example.com",))
    world = await start(app=replace(APP, limits=limits))
    async with world.connect(origin="https://evil.com", established=False) as stranger:
        unwelcome = await stranger.wait_closed()
        await eventually(lambda: not world.node.connections)
    async with world.connect(origin="https://example.com"):  # noqa: SIM117 - one after the other
        async with world.connect(established=False) as late:
            over = await late.wait_closed()

    assert (unwelcome[0], over[0]) == (4009, 4100)


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (b"\x00\x01", 1003, []),
        ("x" * 65_537, 1009, [{"code": 4200, "message": "Invalid message: message is over"}]),
        ("ž" * 33_000, 1009, [{"code": 4200, "message": "Invalid message: message is over"}]),
    ],
)
async def test_binary_and_oversize_messages_close_with_their_codes(
    world: MountedWorld, sent: str | bytes, code: int, said: list[dict[str, Any]]
) -> None:
    async with world.connect() as client, world.connect() as beside:
        await client.send(sent)
        closed = await client.wait_closed()
        await beside.settle()

    assert closed[0] == code
    errors = client.received("pusher:error")
    assert [error["code"] for error in errors] == [error["code"] for error in said]
    assert all(e["message"].startswith(s["message"]) for e, s in zip(errors, said, strict=True))
    assert beside.closed is None or beside.closed[0] == 1000


async def test_broken_json_is_an_error_and_no_end(world: MountedWorld) -> None:
    async with world.connect() as client:
        await client.send('{"event":')
        error = await client.next("pusher:error")
        await client.settle()

    assert error.data["code"] == 4200


async def test_silence_is_asked_about_and_then_closed(world: MountedWorld) -> None:
    async with world.connect() as client:
        (connection,) = world.node.connections
        connection.last_seen -= 126
        await client.next("pusher:ping")
        connection.last_seen -= 31
        closed = await client.wait_closed()

    assert closed[0] == 4201


async def test_a_slow_reader_is_closed_and_the_others_go_on(world: MountedWorld) -> None:
    async with world.connect() as slow, world.connect() as brisk:
        await slow.subscribe("firehose")
        (stuck,) = [c for c in world.node.connections if c.socket_id == slow.socket_id]
        await brisk.subscribe("orders")
        slow._socket.transport.pause_reading()
        channel = next(c for c in world.node.hub.channels.values() if c.name == "firehose")
        frame = json.dumps({"event": "e", "channel": "firehose", "data": "x" * 60_000}).encode()
        for _ in range(2_000):
            world.node.hub.broadcast(channel, frame)
            await asyncio.sleep(0)
            if stuck.closing_at is not None:
                break
        await eventually(lambda: stuck not in world.node.connections)
        await world.publish("orders", "news")
        await brisk.next("news")
        slow._socket.transport.abort()

    assert stuck.closing_at is not None
    assert len(slow.received("e")) < 2_000


async def test_who_leaves_without_a_goodbye_leaves_nothing_behind(world: MountedWorld) -> None:
    before = len(asyncio.all_tasks())
    async with world.connect() as client:
        await client.subscribe("orders")
        client._socket.transport.abort()
        await eventually(lambda: not world.node.connections)
        await eventually(lambda: not world.node.hub.channels)
    await eventually(lambda: len(asyncio.all_tasks()) <= before)


# -- life beside others ---------------------------------------------------------------


async def test_the_applications_own_routes_and_lifespan_go_on(world: MountedWorld) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.port}") as http:
        mine = await http.get("/own")
    ready, missing = await world.http.get("/ready"), await world.http.get("/nothing")

    assert mine.text == "hello"
    assert world.host.steps == ["started"]
    assert ready.json() == {"ready": True, "reasons": []}
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


async def test_a_mounted_gateway_and_a_served_one_are_two_nodes_of_one(
    world: MountedWorld, start_gateway: StartGateway
) -> None:
    served = await start_gateway()
    async with world.connect() as here, served.connect() as there:
        await here.subscribe("presence-room", ADA)
        success = await there.subscribe("presence-room", GRACE)
        await here.next(ADDED)
        await served.publish("presence-room", "a", socket_id=here.socket_id)
        await world.publish("presence-room", "b")
        await asyncio.gather(here.next("b"), there.next("b"))

    assert success is not None
    assert success.data["presence"]["ids"] == ["ada", "7"]
    assert (here.received("a"), len(there.received("a"))) == ([], 1)


async def test_a_stopping_server_closes_with_1012_and_the_gateway_stops_after_it(
    redis_url: str, prefix: str
) -> None:
    async with mounted_world(redis_url, prefix) as world, world.connect() as client:
        await client.subscribe("orders")
        world.server.should_exit = True
        closed = await client.wait_closed()
        await eventually(lambda: world.host.steps == ["started", "stopped"])

    assert closed[0] == 1012
    assert not world.node.connections


# -- the outbox -----------------------------------------------------------------------


class Listener:
    """What an outbox tells its connection."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")


class Wire:
    """A server's `send` that takes a message only when the test lets it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.open = asyncio.Semaphore(0)

    async def send(self, message: Any) -> None:
        await self.open.acquire()
        self.sent.append(message)


async def test_an_outbox_reports_its_pace_like_a_transport() -> None:
    listener, wire = Listener(), Wire()
    async with asyncio.timeout(10) as leaving:
        outbox = Outbox(_Letters(), leaving)
        outbox.attach(listener)  # type: ignore[arg-type] # the part of it that is called
        task = asyncio.create_task(outbox.run(wire.send))
        for _ in range(3):
            outbox.write(encode_text(b"x" * (HIGH_WATER // 2)))
        paused, size = list(listener.heard), outbox.get_write_buffer_size()
        for _ in range(3):
            wire.open.release()
        await eventually(lambda: len(wire.sent) == 3)
        await eventually(lambda: outbox.get_write_buffer_size() == 0)
        task.cancel()
        outbox.close()

    assert paused == ["pause"]
    assert size == 3 * (HIGH_WATER // 2)
    assert listener.heard == ["pause", "resume"]


async def test_an_outbox_ends_after_a_close_and_lets_the_server_go() -> None:
    wire = Wire()
    wire.open = asyncio.Semaphore(2)

    async def serve() -> None:
        async with asyncio.timeout(None) as leaving:
            outbox = Outbox(_Letters(), leaving)
            outbox.write(encode_text("ž".encode()) + encode_control(PONG, b"skipped"))
            outbox.write(encode_close(4101, "slow"))
            await asyncio.gather(outbox.run(wire.send), asyncio.Event().wait())

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(serve(), 60)

    assert wire.sent == [
        {"type": "websocket.send", "text": "ž"},
        {"type": "websocket.close", "code": 4101, "reason": "slow"},
    ]


async def test_an_abort_frees_what_waits_and_later_writes_go_nowhere() -> None:
    sizes: list[int] = []

    async def serve() -> None:
        async with asyncio.timeout(None) as leaving:
            outbox = Outbox(_Letters(), leaving)
            outbox.write(encode_text(b"unsent"))
            outbox.abort()
            outbox.abort()
            outbox.write(encode_text(b"late"))
            sizes.append(outbox.get_write_buffer_size())
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(serve(), 60)

    assert sizes == [0]


def test_the_same_frames_are_taken_apart_once_for_everybody() -> None:
    letters = _Letters()
    data = encode_text(b"a") + encode_text(b"b")

    assert letters.of(data) is letters.of(data)
    assert [letter.text for letter in letters.of(encode_text(b"c"))] == ["c"]
