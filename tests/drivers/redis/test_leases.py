"""Answers that are lost, calls that overtake each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.leases import Leases, NodeKeys, entry, node_name, read_entry
from broadcaster.drivers.redis.presence import RedisPresence
from broadcaster.errors import ConfigurationError
from tests.drivers.redis.presence_world import APP, ROOM, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis


@pytest.fixture
def world(clients: RedisClients) -> Iterator[World]:
    made = World(clients)
    yield made
    made.close()


async def test_a_lost_answer_does_not_hide_that_the_node_was_swept(world: World) -> None:
    """The node that missed the first answer asks again, and must not think all is well."""
    lease = await world.lease("a")
    world.end_lease(lease)
    await world.store.sweep()
    whose_answer_is_lost = Leases(world.clients, seconds=15)

    await whose_answer_is_lost.renew("a", 1)
    renewal = await world.store.renew("a", 1)

    assert not renewal.existed
    assert (await world.store.renew("a", 1)).existed


async def test_a_lease_is_as_long_as_it_was_set(clients: RedisClients) -> None:
    store = RedisPresence(clients, lease=2.5)

    renewal = await store.renew("a", 1)

    seconds, microseconds = clients.sync.time()
    assert renewal.lease.until_ms - seconds * 1000 - microseconds // 1000 <= 2_500
    assert renewal.lease.until_ms > seconds * 1000


async def test_a_removal_that_comes_late_does_not_undo_a_newer_note(world: World) -> None:
    """Calls travel on different connections: the numbers say which was made last."""
    lease = await world.lease("a")
    index = NodeKeys(world.clients).index("a:1")
    noted_later = 1_000_000
    world.clients.sync.hset(index, entry(APP, ROOM), str(noted_later))

    await world.store.index_remove(lease, APP, ROOM)

    assert world.clients.sync.hexists(index, entry(APP, ROOM))


async def test_a_late_note_does_not_lower_the_number(world: World) -> None:
    lease = await world.lease("a")
    index = NodeKeys(world.clients).index("a:1")
    await world.store.index_add(lease, APP, ROOM)
    world.clients.sync.hset(index, entry(APP, ROOM), "1000000")

    await world.store.index_add(lease, APP, ROOM)

    assert world.clients.sync.hget(index, entry(APP, ROOM)) == b"1000000"


@pytest.mark.parametrize("node", ["", "a:1", ":"])
def test_a_node_name_that_could_be_read_as_another_is_refused(node: str) -> None:
    with pytest.raises(ConfigurationError, match="node name"):
        node_name(node, 1)


@pytest.mark.parametrize("channel", ["presence-a", "presence-a@b,c.d;e=f_g", "x" * 200])
def test_an_entry_reads_back_as_its_channel(channel: str) -> None:
    assert read_entry(entry("123", channel).encode()) == ("123", channel)


@pytest.mark.parametrize("text", [b"", b"no bar", b"\xff\xfe", b"|"])
def test_any_bytes_can_be_read_as_an_entry(text: bytes) -> None:
    assert len(read_entry(text)) == 2
