"""What every `AppProvider` does, wherever its apps are from."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.apps import App, StaticApps
from broadcaster.drivers.redis.apps import RedisApps
from broadcaster.gateway.apps import AppDirectory
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

SHOP = App(id="shop", key="shop-key", secret="s")
BLOG = App(id="blog", key="blog-key", secret="b")


@pytest.fixture(params=["settings", "directory", "redis", "both"])
async def provider(
    request: pytest.FixtureRequest, clients: RedisClients
) -> AsyncIterator[AppProvider]:
    """The same two apps, from one place or another."""
    if request.param == "settings":
        yield StaticApps(SHOP, BLOG)
    elif request.param == "directory":
        yield AppDirectory([SHOP, BLOG])
    else:
        static = [SHOP] if request.param == "both" else []
        store = RedisApps(clients)
        for app in (SHOP, BLOG)[len(static) :]:
            await store.put({"id": app.id, "key": app.key, "secret": app.secret}, replacing=None)
        directory = AppDirectory(static, store, topic=b"topic")
        task = asyncio.create_task(directory.run())
        await eventually(lambda: directory.settled)
        yield directory
        task.cancel()


def listed(provider: AppProvider) -> list[App]:
    """Every provider of ours can be listed, which the contract leaves open."""
    apps: Iterable[App] = provider  # type: ignore[assignment] # see above
    return list(apps)


async def test_apps_are_found_by_id_and_by_key(provider: AppProvider) -> None:
    assert [provider.by_id(app.id) for app in (SHOP, BLOG)] == [SHOP, BLOG]
    assert [provider.by_key(app.key) for app in (SHOP, BLOG)] == [SHOP, BLOG]


@pytest.mark.parametrize(
    "unknown", ["", "shop-key", "SHOP", "shop ", "shop\0", "*", "\u0661", "x" * 10_000, "version"]
)
async def test_nobody_else_is(provider: AppProvider, unknown: str) -> None:
    """An id is no key, and what looks like one is none."""
    assert provider.by_id(unknown) is None
    assert provider.by_key(unknown if unknown != "shop-key" else "shop") is None


async def test_who_is_not_found_does_not_exist(provider: AppProvider) -> None:
    assert provider.settled


async def test_all_are_listed_once(provider: AppProvider) -> None:
    assert sorted(app.id for app in listed(provider)) == ["blog", "shop"]
