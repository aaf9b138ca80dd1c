"""Who is connected, over one gateway and over two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.presence import RedisPresence
from broadcaster.gateway.census import CONNECTIONS, Census
from tests.gateway.world import APP
from tests.polling import eventually_async

if TYPE_CHECKING:
    from typing import Any

    from broadcaster.drivers.redis.client import RedisClients
    from tests.gateway.conftest import StartGateway


class Someone:
    app = APP


def test_who_was_never_admitted_does_not_leave() -> None:
    changes: list[str] = []
    census = Census(changes.append)
    guest: Any = Someone()

    census.left(guest)

    assert changes == []
    assert census.count(APP.id) == 0


def test_an_app_without_connections_is_forgotten() -> None:
    changes: list[str] = []
    census = Census(changes.append)
    guest: Any = Someone()

    census.came(guest)
    there = (census.count(APP.id), list(census))
    census.left(guest)
    census.left(guest)

    assert there == (1, [APP.id])
    assert list(census) == []
    assert changes == [APP.id, APP.id]


@pytest.mark.redis
async def test_an_apps_connections_are_counted_over_all_gateways(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    left, right = await start_gateway(), await start_gateway()
    store = RedisPresence(clients)

    async def connections() -> int:
        (count,) = await store.counts(APP.id, [CONNECTIONS])
        return count

    async with left.connect() as one, right.connect(), right.connect():
        await one.subscribe("orders")
        for gateway in (left, right):
            await gateway.node.counts_settled()
        at_most = await connections()
        occupied = await store.occupied(APP.id)

    async def nobody() -> bool:
        return await connections() == 0

    assert at_most == 3
    assert occupied == {"orders": 1}
    await eventually_async(nobody)


@pytest.mark.redis
async def test_a_refused_connection_is_not_counted(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()

    async with gateway.connect(path="/app/unknown-key", established=False):
        count = gateway.node.census.count(APP.id)

    assert count == 0
