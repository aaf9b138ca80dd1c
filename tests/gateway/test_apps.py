"""Apps that come and go while gateways run, on all of them and for open connections."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.apps import App, AppLimits, StoredApps
from broadcaster.drivers.redis.apps import RedisApps
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.pubsub import RedisSubscriptions
from broadcaster.errors import DriverUnavailable
from broadcaster.gateway.apps import AppDirectory
from broadcaster.protocol.app_table import parse_app
from tests.gateway.world import APP, running_gateway
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from broadcaster.protocol.app_table import AppTable
    from tests.faults import FaultyServer
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

TOPIC = b"apps"


def table(app_id: str = "shop", **said: object) -> AppTable:
    return {"id": app_id, "key": f"{app_id}-key", "secret": f"{app_id} secret", **said}


def app_of(said: AppTable) -> App:
    return parse_app(said, where="test")


SHOP = table()


# -- in memory ------------------------------------------------------------------------


class Shelf:
    """An `AppStore` in memory, whose server may be away."""

    def __init__(self, *tables: AppTable) -> None:
        self.tables = {str(one["id"]): one for one in tables}
        self.number = 1 if tables else 0
        self.away = False
        self.reads = 0

    def set(self, *tables: AppTable) -> None:
        self.tables = {str(one["id"]): one for one in tables}
        self.number += 1

    def lose(self) -> None:
        self.tables, self.number = {}, 0

    async def version(self) -> bytes | None:
        if self.away:
            raise DriverUnavailable("away")
        return str(self.number).encode() if self.number else None

    async def read(self) -> StoredApps:
        version = await self.version()
        self.reads += 1
        return StoredApps(version, dict(self.tables))

    async def get(self, app_id: str) -> AppTable | None:
        return self.tables.get(app_id)

    async def put(self, table: AppTable, *, replacing: AppTable | None) -> None:
        raise NotImplementedError

    async def delete(self, app_id: str) -> bool:
        raise NotImplementedError

    async def restore(self, tables: Mapping[str, AppTable]) -> bool:
        if self.number:
            return False
        self.set(*tables.values())
        return True


class World:
    """A directory, and what it told its node."""

    def __init__(self, *tables: AppTable, static: tuple[App, ...] = (APP,)) -> None:
        self.shelf = Shelf(*tables)
        self.directory = AppDirectory(static, self.shelf, topic=TOPIC)
        self.told: list[tuple[str, App | None]] = []
        self.wanted: list[bytes] = []
        self.directory.follow(self.changed, self.wanted.append)

    def changed(self, app_id: str, app: App | None) -> None:
        self.told.append((app_id, app))


@asynccontextmanager
async def running(world: World) -> AsyncGenerator[World]:
    task = asyncio.create_task(world.directory.run())
    await eventually(lambda: world.directory.settled)
    world.told.clear()
    yield world
    task.cancel()


async def test_ten_thousand_apps_are_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "broadcaster.gateway")
    many = [table(f"app{number}") for number in range(50)]
    world = World(*many)

    async with running(world):
        world.shelf.set(*many, SHOP)
        world.directory.told()
        await eventually(lambda: world.directory.by_id("shop"))

    assert [record.getMessage() for record in caplog.records] == [
        "50 apps of Redis are served, 0 changed, 0 are gone",
        "the app shop is served",
    ]


async def test_what_is_wrong_with_an_app_is_said_once_until_it_is_written_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    twin, bad = table("twin", key=APP.key), table("bad", enabled="perhaps")
    world = World(twin, bad)

    # Whatever level other tests have left the logger at.
    caplog.set_level(logging.WARNING, logger="broadcaster.gateway")
    async with running(world):
        for number in range(3):
            world.shelf.set(twin, bad, table(f"other{number}"))
            world.directory.told()
            await eventually(lambda n=number: world.directory.by_id(f"other{n}"))  # type: ignore[misc]  # a default binds the number
        said = [record.levelname for record in caplog.records]
        world.shelf.set({**twin, "enabled": False}, bad, SHOP)
        world.directory.told()
        await eventually(lambda: world.directory.by_id("shop"))

    assert sorted(said) == ["ERROR", "WARNING"]
    assert [record.levelname for record in caplog.records][2:] == ["WARNING"]


async def test_without_a_store_there_are_the_apps_of_the_settings() -> None:
    directory = AppDirectory([APP])
    await directory.run()

    assert directory.settled
    assert list(directory) == [APP]
    assert (directory.by_id(APP.id), directory.by_key(APP.key)) == (APP, APP)
    assert not directory.listens_to(b"")


async def test_apps_of_both_are_found_and_listed() -> None:
    async with running(World(SHOP)) as world:
        shop = app_of(SHOP)

        assert world.wanted == [TOPIC]
        assert list(world.directory) == [APP, shop]
        assert (world.directory.by_id("shop"), world.directory.by_key("shop-key")) == (shop, shop)


async def test_before_the_first_look_nobody_knows_who_is_missing() -> None:
    world = World(SHOP)

    assert not world.directory.settled
    assert world.directory.by_key(APP.key) == APP


async def test_each_change_is_told_once() -> None:
    blog = table("blog")
    async with running(World(SHOP, blog)) as world:
        closed = table(enabled=False)
        world.shelf.set(closed, table("news"))

        world.directory.told()
        await eventually(lambda: world.directory.by_id("news"))

    assert sorted(world.told, key=lambda change: change[0]) == [
        ("blog", None),
        ("news", app_of(table("news"))),
        ("shop", app_of(closed)),
    ]


async def test_a_poll_finds_what_nobody_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcaster.gateway.apps.POLL_SECONDS", 0.02)
    async with running(World(SHOP)) as world:
        world.shelf.set()

        await eventually(lambda: world.directory.by_id("shop") is None)


async def test_an_unchanged_list_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcaster.gateway.apps.POLL_SECONDS", 0.01)
    async with running(World(SHOP)) as world:
        reads = world.shelf.reads
        await asyncio.sleep(0.1)

        assert world.shelf.reads == reads


async def test_an_outage_leaves_the_apps_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcaster.gateway.apps.RETRY_SECONDS", 0.01)
    async with running(World(SHOP)) as world:
        world.shelf.away = True
        world.directory.interrupted()

        assert not world.directory.settled
        assert world.directory.by_id("shop")
        world.shelf.away = False
        world.shelf.set(SHOP, table("blog"))
        world.directory.acknowledged()
        await eventually(lambda: world.directory.settled)

        assert world.directory.by_id("blog")
        assert world.told == [("blog", app_of(table("blog")))]


async def test_nothing_is_settled_before_the_topic_is_there_again() -> None:
    async with running(World(SHOP)) as world:
        world.directory.interrupted()
        world.directory.told()
        reads = world.shelf.reads
        await eventually(lambda: world.shelf.reads > reads)

        assert not world.directory.settled


async def test_what_the_store_has_lost_is_written_back() -> None:
    async with running(World(SHOP)) as world:
        world.shelf.lose()

        world.directory.told()
        await eventually(lambda: world.shelf.tables)

        assert world.shelf.tables == {"shop": SHOP}
        assert world.told == []


async def test_a_list_that_was_emptied_is_believed() -> None:
    async with running(World(SHOP)) as world:
        world.shelf.set()

        world.directory.told()
        await eventually(lambda: world.told)

        assert world.told == [("shop", None)]


@pytest.mark.parametrize(
    "clashing", [{**SHOP, "id": APP.id}, {**SHOP, "key": APP.key}], ids=["id", "key"]
)
async def test_an_app_of_the_settings_wins(clashing: AppTable) -> None:
    async with running(World(clashing)) as world:
        assert list(world.directory) == [APP]
        assert world.directory.by_key(APP.key) is APP


async def test_a_table_that_cannot_be_read_leaves_the_app_as_it_was() -> None:
    """Written by a newer program, while this one is not yet replaced."""
    async with running(World(SHOP)) as world:
        world.shelf.set({**SHOP, "from_the_future": 1}, table("blog"))

        world.directory.told()
        await eventually(lambda: world.directory.by_id("blog"))

        assert world.directory.by_id("shop") == app_of(SHOP)


async def test_only_what_changed_is_read_anew() -> None:
    """There may be ten thousand apps, and nothing else happens while they are read."""
    async with running(World(SHOP, table("blog"))) as world:
        blog = world.directory.by_id("blog")
        world.shelf.set(table(enabled=False), table("blog"))

        world.directory.told()
        await eventually(lambda: world.told)

        assert [app_id for app_id, _ in world.told] == ["shop"]
        assert world.directory.by_id("blog") is blog


async def test_limits_that_are_not_said_are_the_server_s() -> None:
    shelf = Shelf(table(limits={"max_channels": 3}))
    directory = AppDirectory([], shelf, base=AppLimits(max_channels=9, presence_members=7))
    task = asyncio.create_task(directory.run())
    await eventually(lambda: directory.settled)
    task.cancel()

    shop = directory.by_id("shop")
    assert shop is not None
    assert shop.limits == AppLimits(max_channels=3, presence_members=7)


# -- gateways -------------------------------------------------------------------------


@pytest.fixture
def store(clients: RedisClients) -> RedisApps:
    return RedisApps(clients)


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a gateway learns, it learns because it was told."""
    monkeypatch.setattr("broadcaster.gateway.apps.POLL_SECONDS", 600)


def knows(*gateways: RunningGateway, app: App | None, app_id: str = "shop") -> Callable[[], bool]:
    return lambda: all(one.node._apps.by_id(app_id) == app for one in gateways)


async def answers(gateway: RunningGateway, app: App) -> int | None:
    """Connect for a moment; return the close code, None if the socket may stay."""
    async with gateway.speaking_for(app).connect(established=False) as client:
        await eventually(lambda: client.frames)
        if client.frames[0].event == "pusher:error":
            return (await client.wait_closed())[0]
    return None


@pytest.mark.redis
@pytest.mark.usefixtures("no_poll")
async def test_an_app_is_served_everywhere_once_it_was_added(
    start_gateway: StartGateway, store: RedisApps
) -> None:
    left, right = await start_gateway(), await start_gateway()
    shop = app_of(SHOP)
    assert await answers(left, shop) == 4001

    await store.put(SHOP, replacing=None)
    await eventually(knows(left, right, app=shop))

    async with left.speaking_for(shop).connect() as client:
        await client.subscribe("private-orders")
        answer = await right.speaking_for(shop).publish("private-orders", "shipped")
        await client.next("shipped")
    assert answer.status_code == 200


@pytest.mark.redis
@pytest.mark.usefixtures("no_poll")
async def test_disabling_and_removing_close_what_is_open(
    start_gateway: StartGateway, store: RedisApps
) -> None:
    await store.put(SHOP, replacing=None)
    left, right = await start_gateway(), await start_gateway()
    shop, disabled = app_of(SHOP), table(enabled=False)
    async with (
        left.speaking_for(shop).connect() as a,
        right.speaking_for(shop).connect() as b,
        right.connect() as neighbour,
    ):
        await store.put(disabled, replacing=SHOP)
        closes = [await client.wait_closed() for client in (a, b)]
        await neighbour.settle()
    assert [code for code, _ in closes] == [4003, 4003]
    assert await answers(left, shop) == 4003

    await store.put(SHOP, replacing=disabled)
    await eventually(knows(left, right, app=shop))
    async with left.speaking_for(shop).connect() as a:
        await store.delete("shop")
        code, _ = await a.wait_closed()
    assert code == 4001
    assert await answers(right, shop) == 4001


@pytest.mark.redis
async def test_nothing_is_kept_of_an_app_that_was_removed(
    start_gateway: StartGateway, store: RedisApps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.gateway.revocations.POLL_SECONDS", 0.02)
    await store.put(SHOP, replacing=None)
    gateway = await start_gateway()
    shop = app_of(SHOP)
    await eventually(knows(gateway, app=shop))
    kept = gateway.node._revocations._apps
    async with gateway.connect(), gateway.speaking_for(shop).connect() as client:
        before = set(kept)
        topics = set(gateway.node._subscriptions.wanted())
        await store.delete("shop")
        await client.wait_closed()
        await eventually(lambda: set(kept) == {APP.id})
        after = set(gateway.node._subscriptions.wanted())

    assert before == {APP.id, "shop"}
    assert [topic for topic in topics - after if b"shop" in topic]
    assert not [topic for topic in after if b"shop" in topic]


@pytest.mark.redis
@pytest.mark.usefixtures("no_poll")
async def test_new_limits_and_a_new_secret_hold_for_open_connections(
    start_gateway: StartGateway, store: RedisApps
) -> None:
    await store.put(SHOP, replacing=None)
    gateway = await start_gateway()
    rotated = {**SHOP, "secret": "another secret", "limits": {"max_channels": 2}}
    async with gateway.speaking_for(app_of(SHOP)).connect() as client:
        await client.subscribe("private-a")

        await store.put(rotated, replacing=SHOP)
        await eventually(knows(gateway, app=app_of(rotated)))

        await client.subscribe("private-b", wait=False)
        refused = await client.next("pusher:subscription_error", channel="private-b")
        client._app = app_of(rotated)
        await client.subscribe("private-b")
        await client.subscribe("c", wait=False)
        full = await client.next("pusher:subscription_error", channel="c")
        old = await gateway.speaking_for(app_of(SHOP)).publish("private-a", "x")
        new = await gateway.speaking_for(app_of(rotated)).publish("private-a", "y")
        await client.next("y")

    assert refused.data["type"] == "AuthError"
    assert full.data["type"] == "LimitReached"
    assert (old.status_code, new.status_code) == (401, 200)


@pytest.mark.redis
async def test_changes_that_a_gateway_slept_through_are_read(
    redis_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis frozen: the last known apps; back: what was changed meanwhile."""
    watchful = partial(RedisSubscriptions, ping_seconds=0.5, pong_seconds=0.5)
    monkeypatch.setattr("broadcaster.wiring.gateway.RedisSubscriptions", watchful)
    clients = RedisClients(redis_server.url, "apps")
    store = RedisApps(clients)
    await store.put(SHOP, replacing=None)
    shop = app_of(SHOP)
    async with running_gateway(redis_server.url, "apps", lease=15) as gateway:
        await eventually(knows(gateway, app=shop))
        redis_server.freeze()
        await eventually(lambda: not gateway.node._apps.settled, within=20)
        known = await answers(gateway, shop)
        unknown = await answers(gateway, app_of(table("blog")))
        redis_server.thaw()
        await store.put(table("blog"), replacing=None)
        await eventually(knows(gateway, app=app_of(table("blog")), app_id="blog"), within=20)
        await eventually(lambda: gateway.node._apps.settled)
        later = await answers(gateway, app_of(table("blog")))
        never = await answers(gateway, app_of(table("news")))
    await clients.aclose()

    assert (known, unknown) == (None, 4100), "4001 would silence a page whose app may exist"
    assert (later, never) == (None, 4001)


@pytest.mark.redis
async def test_a_redis_that_lost_its_apps_gets_them_back(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url, "apps")
    store = RedisApps(clients)
    await store.put(SHOP, replacing=None)
    async with running_gateway(redis_server.url, "apps", lease=15) as gateway:
        await eventually(knows(gateway, app=app_of(SHOP)))
        async with gateway.speaking_for(app_of(SHOP)).connect() as client:
            redis_server.restart(keep_data=False)

            async def is_back() -> bool:
                try:
                    return (await store.read()).tables == {"shop": SHOP}
                except DriverUnavailable:
                    return False

            await eventually_async(is_back, within=20)
            await client.settle()
    await clients.aclose()


@pytest.mark.redis
async def test_a_server_that_serves_the_apps_of_its_settings_only(
    redis_url: str, prefix: str, store: RedisApps
) -> None:
    await store.put(SHOP, replacing=None)
    async with running_gateway(redis_url, prefix, dynamic_apps=False) as gateway:
        assert await answers(gateway, app_of(SHOP)) == 4001
