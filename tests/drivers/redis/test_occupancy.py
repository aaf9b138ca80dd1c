"""Occupancy of many channels, and prefixes that are patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.leases import NodeKeys, entry, node_name
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


@pytest.mark.parametrize("garbage", [b"many", b"-3", b"1" * 5_000, b"\xff"])
async def test_a_count_that_is_no_number_is_skipped_with_one_line(
    world: World, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    lease = await world.lease("a")
    await world.store.occupy(lease, APP, {"x": 1, "y": 2, "z": 3})
    key = NodeKeys(world.clients).occupancy(node_name(lease.node, lease.epoch))
    for channel in ("x", "y"):
        await world.clients.aio.hset(key, entry(APP, channel), garbage)

    assert await world.store.occupied(APP) == {"z": 3}
    assert len(caplog.records) == 1
    assert await world.store.counts(APP, ["x", "y", "z"]) == [0, 0, 3]
    assert len(caplog.records) == 2


@pytest.mark.parametrize("garbage", [b"\xff\xfe:1", b"node", b"a:b:c"])
async def test_a_node_whose_name_is_garbage_is_skipped_with_one_line(
    world: World, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    await world.store.occupy(await world.lease("a"), APP, {"x": 1})
    await world.clients.aio.zadd(NodeKeys(world.clients).nodes, {garbage: 9e15})

    assert await world.store.occupied(APP) == {"x": 1}
    assert len(caplog.records) == 1
    assert await world.store.counts(APP, ["x"]) == [1]
    assert len(caplog.records) == 2
