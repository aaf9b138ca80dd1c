"""Apps in Redis: whole changes or none, nobody's overwritten, and every node is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.drivers.redis.apps import MAX_TABLE_BYTES, RedisApps
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.errors import ConfigurationError, DriverError, DriverUnavailable
from tests.polling import eventually

if TYPE_CHECKING:
    from broadcaster.protocol.app_table import AppTable
    from tests.faults import FaultyServer

pytestmark = pytest.mark.redis


def table(app_id: str = "shop", **said: object) -> AppTable:
    return {"id": app_id, "key": f"{app_id}-key", "secret": "a secret", **said}


@pytest.fixture
def store(clients: RedisClients) -> RedisApps:
    return RedisApps(clients)


async def refused(store: RedisApps, new: AppTable, replacing: AppTable | None = None) -> str:
    with pytest.raises(DriverError) as caught:
        await store.put(new, replacing=replacing)
    return caught.value.code


async def test_there_is_nothing_at_first(store: RedisApps) -> None:
    assert await store.read() == (None, {})
    assert await store.version() is None
    assert await store.get("shop") is None
    assert store.find("shop") is None


async def test_what_was_put_is_read_exactly(store: RedisApps) -> None:
    shop = table(
        limits={"max_connections": 5, "allowed_origins": ["shop.example"]},
        webhooks=[{"url": "https://shop.example/\u00e4", "headers": {"X-Token": "t"}}][:0],
        enabled=False,
    )

    await store.put(shop, replacing=None)
    stored = await store.read()

    assert stored.tables == {"shop": shop}
    assert stored.version == await store.version() is not None
    assert await store.get("shop") == store.find("shop") == shop


async def test_every_change_is_a_new_version_and_a_repeat_is_none(store: RedisApps) -> None:
    versions = []
    for change in (
        lambda: store.put(table(), replacing=None),
        lambda: store.put(table(), replacing=None),
        lambda: store.put(table(enabled=False), replacing=table()),
        lambda: store.delete("shop"),
    ):
        await change()
        versions.append(await store.version())

    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


async def test_a_new_app_takes_nobody_s_place(store: RedisApps) -> None:
    await store.put(table(), replacing=None)

    assert await refused(store, table(enabled=False)) == "app_exists"
    assert await refused(store, {**table("blog"), "key": "shop-key"}) == "app_key_taken"
    assert (await store.read()).tables == {"shop": table()}


async def test_a_change_made_in_between_is_not_overwritten(store: RedisApps) -> None:
    await store.put(table(), replacing=None)
    await store.put(table(enabled=False), replacing=table())

    late = table(server_events=True)

    assert await refused(store, late, replacing=table()) == "app_changed"
    await store.delete("shop")
    assert await refused(store, late, replacing=table(enabled=False)) == "app_changed"


async def test_a_key_that_is_given_up_is_free(store: RedisApps) -> None:
    await store.put(table(), replacing=None)
    await store.put({**table(), "key": "new-key"}, replacing=table())
    await store.put({**table("blog"), "key": "shop-key"}, replacing=None)
    await store.delete("shop")

    await store.put({**table("third"), "key": "new-key"}, replacing=None)

    assert set((await store.read()).tables) == {"blog", "third"}


async def test_removing_says_whether_there_was_anything(store: RedisApps) -> None:
    await store.put(table(), replacing=None)

    assert [await store.delete(name) for name in ("shop", "shop", "no id", "")] == [
        True,
        False,
        False,
        False,
    ]
    assert (await store.read()).tables == {}


async def test_there_is_a_bound(clients: RedisClients) -> None:
    store = RedisApps(clients, max_apps=2)
    for name in ("one", "two"):
        await store.put(table(name), replacing=None)

    assert await refused(store, table("three")) == "apps_full"
    await store.put(table("one", enabled=False), replacing=table("one"))
    await store.delete("two")
    await store.put(table("three"), replacing=None)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"id": "a/b"}, "id must be letters"),
        ({"secret": ""}, "secret must be"),
        ({"limits": {"max_conections": 1}}, "did you mean 'limits.max_connections'"),
        ({"secret": "s" * 300}, "secret must be 1 to 256"),
    ],
)
async def test_what_is_no_app_is_not_kept(
    store: RedisApps, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        await store.put({**table(), **wrong}, replacing=None)

    assert await store.version() is None


async def test_a_table_has_a_longest_form(store: RedisApps) -> None:
    hooks = [
        {"url": f"https://hooks.example/{number}", "headers": {"X-Long": "x" * 4_000}}
        for number in range(5)
    ]

    with pytest.raises(ConfigurationError, match=f"{MAX_TABLE_BYTES} are the most"):
        await store.put(table(webhooks=hooks), replacing=None)


async def test_records_of_others_are_passed_over(store: RedisApps, clients: RedisClients) -> None:
    """A newer program's, and what somebody's hand wrote."""
    await store.put(table(), replacing=None)
    key = clients.keys.apps("tables")
    for name, value in (
        ("newer", '{"v":2,"app":{"id":"newer","key":"k"}}'),
        ("broken", "{"),
        ("deep", "[" * 100_000),
        ("other", '{"v":1,"app":{"id":"shop","key":"k"}}'),
        ("bytes", b"\xff"),
    ):
        clients.sync.hset(key, name, value)

    assert set((await store.read()).tables) == {"shop"}


async def test_what_was_lost_is_written_back_once(store: RedisApps) -> None:
    apps = {"shop": table(), "blog": table("blog")}

    answers = [await store.restore(apps), await store.restore({"shop": table(enabled=False)})]

    assert answers == [True, False]
    assert (await store.read()).tables == apps
    assert await refused(store, {**table("third"), "key": "blog-key"}) == "app_key_taken"


async def test_a_list_that_was_emptied_is_not_lost(store: RedisApps) -> None:
    await store.put(table(), replacing=None)
    await store.delete("shop")

    assert await store.restore({"shop": table()}) is False


async def test_of_two_that_come_at_once_one_is_kept(store: RedisApps) -> None:
    answers = await asyncio.gather(
        *(store.put({**table(), "key": f"key-{n}"}, replacing=None) for n in range(8)),
        return_exceptions=True,
    )

    assert answers.count(None) == 1
    assert len((await store.read()).tables) == 1


async def test_nodes_are_told_of_every_change(store: RedisApps, clients: RedisClients) -> None:
    told: list[object] = []
    pubsub = clients.blocking().pubsub()
    await pubsub.subscribe(clients.keys.apps_topic())

    async def listen() -> None:
        while True:
            message = await pubsub.get_message(timeout=None)
            told.append(None if message is None else message["type"])

    task = asyncio.create_task(listen())
    await eventually(lambda: told)
    await store.put(table(), replacing=None)
    await store.delete("shop")
    await eventually(lambda: len(told) == 3)
    task.cancel()
    await pubsub.aclose()  # type: ignore[no-untyped-call] # not annotated by redis-py

    assert told == ["subscribe", "message", "message"]


async def test_an_outage_is_an_outage(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url, "gone")
    store = RedisApps(clients)
    await store.put(table(), replacing=None)
    redis_server.stop()

    for call in (
        store.version,
        store.read,
        lambda: store.get("shop"),
        lambda: store.put(table(), replacing=None),
        lambda: store.delete("shop"),
        lambda: store.restore({}),
    ):
        with pytest.raises(DriverUnavailable):
            await call()
    with pytest.raises(DriverUnavailable):
        store.find("shop")
    await clients.aclose()
