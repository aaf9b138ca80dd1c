"""PyPI's `pusher`, unmodified, against a real server."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pusher
import pytest
import uvicorn
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherBadStatus

from tests.gateway.http_world import APP, World
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp


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
