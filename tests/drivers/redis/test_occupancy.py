"""Occupancy of many channels, and prefixes that are patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.drivers.redis.presence_world import APP, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis


@pytest.fixture
def world(clients: RedisClients) -> Iterator[World]:
    made = World(clients)
    yield made
    made.close()


async def test_thousands_of_channels_are_read_in_pages(world: World) -> None:
    counts = {f"orders.{number}": number + 1 for number in range(3_500)}
    for node in ("a", "b"):
        await world.store.occupy(await world.lease(node), APP, counts)

    occupied = await world.store.occupied(APP)

    assert occupied == {channel: 2 * count for channel, count in counts.items()}


@pytest.mark.parametrize("start", ["*", "?", "[a-z]", "orders\\", "[", "^", "orders.1*"])
async def test_a_prefix_is_text_and_not_a_pattern(world: World, start: str) -> None:
    await world.store.occupy(await world.lease("a"), APP, {"orders.1": 1})

    assert await world.store.occupied(APP, start) == {}


async def test_the_answer_to_counts_has_the_order_of_the_question(world: World) -> None:
    for node, count in (("a", 1), ("b", 10)):
        await world.store.occupy(await world.lease(node), APP, {"x": count, "y": count * 2})

    assert await world.store.counts(APP, ["y", "z", "x", "y"]) == [22, 0, 11, 22]


async def test_without_a_living_node_everything_counts_zero(world: World) -> None:
    assert await world.store.counts(APP, ["x", "y"]) == [0, 0]


async def test_a_repeated_report_counts_once(world: World) -> None:
    node = await world.lease("a")

    await world.store.occupy(node, APP, {"x": 2})
    await world.store.occupy(node, APP, {"x": 2})

    assert await world.store.counts(APP, ["x"]) == [2]
