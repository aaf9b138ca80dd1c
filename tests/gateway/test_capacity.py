"""How much room there is, for an app over all nodes and for sockets in this process."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from broadcaster.contracts.apps import App, AppLimits
from broadcaster.errors import DriverUnavailable
from broadcaster.gateway.capacity import Capacity, room_for_sockets
from broadcaster.gateway.census import CONNECTIONS, Census
from broadcaster.protocol.signing import sign_request
from broadcaster.testing.client import connected
from tests.gateway.processes import environment
from tests.gateway.world import APP
from tests.polling import eventually, eventually_async
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.gateway.connection import Connection
    from tests.gateway.conftest import StartGateway

TWO = App(id="1", key="k", secret="s", limits=AppLimits(max_connections=2))
OTHER = replace(TWO, id="2", key="l")
UNLIMITED = replace(TWO, id="3", key="m", limits=AppLimits())


class Someone:
    """A connection, as a census sees it."""

    def __init__(self, app: App) -> None:
        self.app = app


class Everywhere:
    """What a store says of an app's connections over all nodes."""

    def __init__(self) -> None:
        self.elsewhere: dict[str, int] = {}
        self.here: dict[str, int] = {}
        self.asked: list[str] = []
        self.away = False

    async def counts(self, app_id: str, channels: Sequence[str], *, without: str) -> list[int]:
        assert list(channels) == [CONNECTIONS]
        self.asked.append(app_id)
        if self.away:
            raise DriverUnavailable("away")
        here = 0 if without == "node" else self.here.get(app_id, 0)
        return [self.elsewhere.get(app_id, 0) + here]


class World:
    """A node's capacity beside a store."""

    def __init__(self, ceiling: int = 0) -> None:
        self.store = Everywhere()
        self.census = Census(lambda _: None)
        self.sockets = 0
        self.capacity = Capacity(
            self.census,
            cast("PresenceStore", self.store),
            sockets=lambda: self.sockets,
            node="node",
            ceiling=ceiling,
        )

    def comes(self, app: App) -> Connection:
        someone = cast("Connection", Someone(app))
        self.census.came(someone)
        return someone


@asynccontextmanager
async def running(world: World) -> AsyncGenerator[None]:
    task = asyncio.create_task(world.capacity.run())
    yield
    task.cancel()


async def test_our_own_connections_count_at_once() -> None:
    world = World()

    verdicts = []
    for _ in range(3):
        verdicts.append(world.capacity.is_full(TWO))
        world.comes(TWO)

    assert verdicts == [False, False, True]


@pytest.mark.parametrize(("limit", "blindly"), [(2, 2), (50, 20), (1_000, 100)])
async def test_a_fresh_node_lets_in_a_share_before_it_knows_of_the_others(
    limit: int, blindly: int
) -> None:
    world = World()
    app = replace(TWO, limits=AppLimits(max_connections=limit))
    while not world.capacity.is_full(app):
        world.comes(app)
    before = world.census.count(app.id)
    world.store.here = {app.id: before}
    await world.capacity._look()
    while not world.capacity.is_full(app):
        world.comes(app)

    assert before == blindly
    assert world.census.count(app.id) == limit


async def test_one_app_at_its_limit_leaves_the_others_alone() -> None:
    world = World()
    for app in (TWO, TWO, UNLIMITED, UNLIMITED):
        world.comes(app)

    assert world.capacity.is_full(TWO)
    assert not world.capacity.is_full(OTHER)
    assert not world.capacity.is_full(UNLIMITED)


async def test_those_of_other_nodes_count_after_the_first_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broadcaster.gateway.capacity.LOOK_SECONDS", 0.02)
    world = World()
    world.store.elsewhere = {"1": 5}

    async with running(world):
        assert not world.capacity.is_full(TWO)
        await eventually(lambda: world.capacity.is_full(TWO))
        world.store.elsewhere = {"1": 1}
        await eventually(lambda: not world.capacity.is_full(TWO))
        world.store.elsewhere = {"1": 2}
        await eventually(lambda: world.capacity.is_full(TWO))
        world.store.away = True
        asked = len(world.store.asked)
        await eventually(lambda: world.capacity.is_full(TWO) and len(world.store.asked) > asked + 3)


async def test_who_has_just_left_here_is_not_taken_for_somebody_elsewhere() -> None:
    """The store is told a moment later; what it knows of this node is not asked for."""
    world = World()
    world.comes(TWO)
    leaving = world.comes(TWO)
    world.store.here = {TWO.id: 2}
    full = world.capacity.is_full(TWO)

    world.census.left(leaving)
    await world.capacity._look()

    assert full
    assert not world.capacity.is_full(TWO)


async def test_only_apps_that_somebody_connects_to_are_looked_at() -> None:
    world = World()

    world.capacity.is_full(TWO)
    world.capacity.is_full(UNLIMITED)
    for _ in range(3):
        await world.capacity._look()

    assert world.store.asked == ["1"]


async def test_a_process_takes_no_more_sockets_than_it_has_room_for() -> None:
    world = World(ceiling=10)

    world.sockets = 9
    assert not world.capacity.is_full(UNLIMITED)
    world.sockets = 10
    assert world.capacity.is_full(UNLIMITED)


@pytest.mark.parametrize(
    ("files", "sockets"), [(1_048_576, 1_048_320), (1_024, 768), (256, 192), (4, 3), (0, 1)]
)
def test_files_are_kept_back_for_redis_and_http(files: int, sockets: int) -> None:
    assert room_for_sockets(files) == sockets


async def connects(gateway: Any, app: App) -> tuple[int, str] | None:
    """Connect for a moment; return why it was closed, None if it was not."""
    path = f"/app/{app.key}?protocol=7"
    async with gateway.connect(path=path, established=False) as client:
        await eventually(lambda: client.frames)
        if client.frames[0].event == "pusher:error":
            closed: tuple[int, str] = await client.wait_closed()
            return closed
    return None


async def stays(gateway: Any, app: App) -> bool:
    return await connects(gateway, app) is None


async def test_an_app_is_limited_over_all_gateways_and_its_neighbour_is_not(
    start_gateway: StartGateway,
) -> None:
    """4100, so that stock clients come back; and they are let in when there is room."""
    small = replace(APP, limits=AppLimits(max_connections=2))
    neighbour = replace(small, id="77", key="neighbour")
    left = await start_gateway(app=small, listed=(neighbour,))
    right = await start_gateway(app=small, listed=(neighbour,))

    async with left.connect():
        async with left.connect():
            assert await connects(left, small) == (4100, "Over capacity: try again in a moment")
            await connects(right, small)  # the first question is answered from what is known
            await eventually_async(partial(connects, right, small))
            assert await connects(left, neighbour) is None
            assert await connects(right, neighbour) is None
        await eventually_async(partial(stays, right, small))


async def test_a_full_process_says_so_and_goes_on(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(room=2)
    async with gateway.connect() as first:
        await first.subscribe("orders")
        async with gateway.connect():
            assert await connects(gateway, APP) == (4100, "Over capacity: try again in a moment")
            await gateway.publish("orders", "still-here")
            await first.next("still-here")


@pytest.mark.process
async def test_a_process_with_few_files_keeps_some_for_redis_and_http(
    redis_url: str, prefix: str
) -> None:
    """200 open files leave room for 150 sockets; the next ones are told, and publishing goes on."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'ulimit -n 200 && exec "$0" "$@"', sys.executable),
        *("-m", "broadcaster", "serve", "--port", str(port), "--log-level", "error"),
        env=environment(redis_url, prefix),
    )
    try:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10)
            )
            await eventually_async(partial(is_ready, http), within=20)
            url = f"ws://127.0.0.1:{port}"
            clients = [
                await stack.enter_async_context(connected(url, APP, established=False))
                for _ in range(160)
            ]
            await eventually(lambda: all(client.frames for client in clients), within=20)
            first, last = clients[0], clients[-1]
            refused = [client for client in clients if client.frames[0].event == "pusher:error"]
            codes = {(await client.wait_closed())[0] for client in refused}
            await first.subscribe("orders")
            body = b'{"name":"still-here","channel":"orders","data":"{}"}'
            path = f"/apps/{APP.id}/events"
            params = sign_request(
                APP.key,
                APP.secret,
                method="POST",
                path=path,
                body=body,
                params={},
                now=time.time(),
            )
            answer = await http.post(path, params=params, content=body)
            await first.next("still-here")
    finally:
        process.terminate()
        await process.wait()

    assert answer.status_code == 200
    assert last in refused
    assert codes == {4100}
    assert 5 <= len(refused) <= 15


async def is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/ready")).status_code == 200
    except httpx.TransportError:
        return False
