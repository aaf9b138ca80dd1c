"""PyPI's `pusher`, unmodified, against a real server."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pusher
import pytest
import uvicorn
from nacl.secret import SecretBox
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherBadStatus

from tests.gateway.http_world import APP, World
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from broadcaster.testing.client import Frame, PusherClient
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway


@pytest.fixture
def world() -> World:
    return World()


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Run `app` under uvicorn on a free port of the loopback interface."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        async with asyncio.timeout(20):
            await task


@asynccontextmanager
async def library(world: World, **changes: str) -> AsyncIterator[pusher.Pusher]:
    """A client of PyPI's `pusher` against `world`."""
    world.now = time.time()
    async with serving(world.app) as port:
        options = {"app_id": APP.id, "key": APP.key, "secret": APP.secret, **changes}
        client = pusher.Pusher(host="127.0.0.1", port=port, ssl=False, **options)
        yield client
        client._pusher_client.http.session.close()


async def test_the_python_library_triggers(world: World) -> None:
    async with library(world) as client:
        answer = await asyncio.to_thread(
            client.trigger, ["orders", "private-a"], "App\\Events\\X", {"a": "\u00e9"}, "1.2"
        )

    assert answer == {}
    first, _ = world.broker.published
    assert json.loads(json.loads(first.frame)["data"]) == {"a": "\u00e9"}
    assert first.excluded == "1.2"


async def test_the_python_library_sends_to_users(world: World) -> None:
    async with library(world) as client:
        await asyncio.to_thread(client.send_to_user, "42", "a", "1")

    [message] = world.broker.published
    assert message.channel == "#server-to-user-42"


async def test_the_python_library_triggers_batches(world: World) -> None:
    events = [{"channel": "orders", "name": "a", "data": {"n": n}} for n in range(10)]

    async with library(world) as client:
        answer = await asyncio.to_thread(client.trigger_batch, events)

    assert answer == {}
    assert len(world.broker.published) == 10


async def test_the_python_library_reads(world: World) -> None:
    async with library(world) as client:
        channels = await asyncio.to_thread(client.channels_info, "presence-", ["user_count"])
        channel = await asyncio.to_thread(
            client.channel_info, "presence-room", ["user_count", "subscription_count"]
        )
        users = await asyncio.to_thread(client.users_info, "presence-room")

    assert channels == {"channels": {"presence-room": {"user_count": 2}}}
    assert channel == {"occupied": True, "user_count": 2, "subscription_count": 3}
    assert users == {"users": [{"id": "1"}, {"id": "ada"}]}


async def test_the_python_library_shows_refusals(world: World) -> None:
    async with library(world, secret="guess") as client:
        with pytest.raises(PusherBadAuth, match="Invalid signature: you should have sent"):
            await asyncio.to_thread(client.trigger, "orders", "a", "1")
    async with library(world) as client:
        with pytest.raises(PusherBadRequest, match="user_count is counted on presence"):
            await asyncio.to_thread(client.channel_info, "orders", ["user_count"])
        with pytest.raises(PusherBadStatus, match=r"413: .*has 20002 bytes; 10240 are allowed"):
            await asyncio.to_thread(client.trigger, "orders", "a", "x" * 20_002)


# -- with a real gateway -------------------------------------------------------------


KEY = bytes(range(32))
SEALED = "private-encrypted-orders"


@pytest.fixture
async def real(start_gateway: StartGateway) -> RunningGateway:
    """A gateway; only the library knows the encryption key."""
    return await start_gateway()


def library_of(gateway: RunningGateway) -> pusher.Pusher:
    return pusher.Pusher(
        app_id=gateway.app.id,
        key=gateway.app.key,
        secret=gateway.app.secret,
        host="127.0.0.1",
        port=gateway.port,
        ssl=False,
        encryption_master_key_base64=base64.b64encode(KEY).decode(),
    )


async def subscribe_with(
    client: PusherClient, channel: str, answer: dict[str, Any], *, wait: bool = True
) -> Frame | None:
    """Subscribe with what the library's `authenticate` returned."""
    data = {"channel": channel, "auth": answer["auth"]}
    if "channel_data" in answer:
        data["channel_data"] = answer["channel_data"]
    await client.send({"event": "pusher:subscribe", "data": data})
    succeeded = "pusher_internal:subscription_succeeded"
    return await client.next(succeeded, channel=channel) if wait else None


@pytest.mark.parametrize(
    ("channel", "member"),
    [
        ("private-orders", None),
        ("private-cache-orders", None),
        (SEALED, None),
        ("presence-room", {"user_id": "ada", "user_info": {"name": "Ada: König"}}),
        ("presence-cache-room", {"user_id": 10}),
    ],
)
async def test_what_the_python_library_signs_opens_the_channel(
    real: RunningGateway, channel: str, member: dict[str, Any] | None
) -> None:
    async with real.connect() as client:
        answer = library_of(real).authenticate(channel, client.socket_id, member)

        assert await subscribe_with(client, channel, answer) is not None


async def test_who_the_python_library_authenticates_is_signed_in(real: RunningGateway) -> None:
    async with real.connect() as client:
        answer = library_of(real).authenticate_user(client.socket_id, {"id": "ada", "name": "Ada"})

        await client.send({"event": "pusher:signin", "data": answer})

        frame = await client.next("pusher:signin_success")
        assert json.loads(frame.data["user_data"]) == {"id": "ada", "name": "Ada"}


async def test_what_the_python_library_encrypts_is_relayed_unread(real: RunningGateway) -> None:
    library = library_of(real)
    async with real.connect() as client:
        answer = library.authenticate(SEALED, client.socket_id)
        await subscribe_with(client, SEALED, answer)

        await asyncio.to_thread(library.trigger, SEALED, "shipped", {"card": "4111"})
        batch = [{"channel": SEALED, "name": "packed", "data": {"box": 7}}]
        await asyncio.to_thread(library.trigger_batch, batch)

        frames = [await client.next(name, channel=SEALED) for name in ("shipped", "packed")]
    assert all("4111" not in json.dumps(frame.raw) for frame in frames)
    box = SecretBox(base64.b64decode(answer["shared_secret"]))
    opened = [
        json.loads(
            box.decrypt(
                base64.b64decode(frame.data["ciphertext"]), base64.b64decode(frame.data["nonce"])
            )
        )
        for frame in frames
    ]
    assert opened == [{"card": "4111"}, {"box": 7}]


async def test_the_python_library_encrypts_for_one_channel_at_a_time(real: RunningGateway) -> None:
    with pytest.raises(ValueError, match="multiple channels"):
        library_of(real).trigger([SEALED, "news"], "shipped", {})


async def test_the_python_library_sends_to_a_user_who_signed_in(real: RunningGateway) -> None:
    async with real.connect() as client:
        await client.sign_in({"id": "ada"})
        await client.subscribe("#server-to-user-ada")

        answer = await asyncio.to_thread(library_of(real).send_to_user, "ada", "note", {"n": 1})

        assert answer == {}
        assert (await client.next("note")).data == {"n": 1}


async def test_the_python_library_terminates_connections_by_its_own_route(
    real: RunningGateway,
) -> None:
    async with real.connect() as client, real.connect() as other:
        await client.sign_in({"id": "ada"})
        await other.sign_in({"id": "grace"})

        answer = await asyncio.to_thread(library_of(real).terminate_user_connections, "ada")

        assert answer == {}
        assert (await client.wait_closed())[0] == 4009
        await other.settle()


async def test_the_python_library_reads_every_attribute(real: RunningGateway) -> None:
    library = library_of(real)
    async with real.connect() as client:
        await client.subscribe("presence-cache-room", {"user_id": 10})
        await client.subscribe("news")
        await asyncio.to_thread(library.trigger, "presence-cache-room", "said", {"n": 1})

        attributes = ["user_count", "subscription_count", "cache"]
        room = await asyncio.to_thread(library.channel_info, "presence-cache-room", attributes)
        listed = await asyncio.to_thread(library.channels_info, "presence-", ["user_count"])
        everything = await asyncio.to_thread(library.channels_info)
        users = await asyncio.to_thread(library.users_info, "presence-cache-room")

    cache = room.pop("cache")
    assert room == {"occupied": True, "user_count": 1, "subscription_count": 1}
    assert (cache["data"], 0 < cache["ttl"] <= 1800) == ('{"n": 1}', True)
    assert listed == {"channels": {"presence-cache-room": {"user_count": 1}}}
    assert everything == {"channels": {"presence-cache-room": {}, "news": {}}}
    assert users == {"users": [{"id": "10"}]}


async def test_the_python_library_leaves_the_sender_out_in_batches_too(
    real: RunningGateway,
) -> None:
    library = library_of(real)
    async with real.connect() as sender, real.connect() as other:
        await sender.subscribe("orders")
        await other.subscribe("orders")

        await asyncio.to_thread(library.trigger, "orders", "a", {}, sender.socket_id)
        batch = [{"channel": "orders", "name": "b", "data": {}, "socket_id": sender.socket_id}]
        await asyncio.to_thread(library.trigger_batch, batch)
        await asyncio.to_thread(library.trigger, "orders", "fence", {})

        await sender.next("fence")
        await other.next("fence")
        assert (sender.received("a"), sender.received("b")) == ([], [])
        assert (other.received("a"), other.received("b")) == ([{}], [{}])
