"""What presence promises when Redis restarts, stands still or loses everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.presence import Lease, Snapshot
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.presence import RedisPresence
from broadcaster.errors import DriverRefused, DriverUnavailable, LeaseLost
from tests.drivers.redis.presence_world import APP, GRACE, ROOM, World, joining, member

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from broadcaster.contracts.presence import PresenceStore
    from tests.faults import FaultyServer

pytestmark = pytest.mark.redis


@pytest.fixture
def world(clients: RedisClients) -> Iterator[World]:
    made = World(clients)
    made.listen()
    yield made
    made.close()


@pytest.fixture
async def own(redis_server: FaultyServer) -> AsyncIterator[World]:
    """A world on a server that the test may stop."""
    clients = RedisClients(redis_server.url, "own")
    made = World(clients)
    yield made
    made.close()
    await clients.aclose()


def test_it_is_a_presence_store(clients: RedisClients) -> None:
    store: PresenceStore = RedisPresence(clients)

    assert store is not None


async def test_every_method_raises_driver_unavailable_without_a_server() -> None:
    store = RedisPresence(RedisClients("unix:///nowhere/socket"))
    lease = Lease("a", 1, 1)

    for call in (
        store.renew("a", 1),
        store.join_many(lease, [joining("1.1", "ada")]),
        store.leave(lease, APP, ROOM, socket_id="1.1", grace=0),
        store.finish(APP, ROOM),
        store.snapshot(APP, ROOM),
        store.index_add(lease, APP, ROOM),
        store.index_remove(lease, APP, ROOM),
        store.sweep(),
        store.retire(lease),
        store.occupy(lease, APP, {ROOM: 1}),
        store.occupied(APP),
        store.counts(APP, [ROOM]),
        store.member_counts(APP, [ROOM]),
    ):
        with pytest.raises(DriverUnavailable, match="/nowhere/socket"):
            await call


async def test_nothing_crashes_and_everything_starts_over_after_data_loss(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    await world.store.occupy(lease, APP, {ROOM: 1})

    world.lose_everything()

    assert await world.store.snapshot(APP, ROOM) == Snapshot(0, {})
    assert await world.store.finish(APP, ROOM) is None
    assert await world.leave(lease, "1.1", grace=GRACE) is None
    assert await world.store.sweep() == 1.0
    assert await world.store.occupied(APP) == {}
    await world.store.retire(lease)
    await world.store.index_remove(lease, APP, ROOM)
    with pytest.raises(LeaseLost):
        await world.store.index_add(lease, APP, ROOM)


async def test_nothing_is_left_behind_in_redis(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    await world.join(lease, "1.2", "bob")
    await world.store.occupy(lease, APP, {ROOM: 2})
    await world.leave(lease, "1.1", grace=GRACE)
    world.end_graces()
    await world.store.retire(lease)

    await world.store.sweep()

    version = world.clients.keys.channel(APP, ROOM, "p:version")
    assert world.all_keys() == sorted([version, world.clients.keys.nodes("incarnation")])
    assert 0 < world.clients.sync.ttl(version) <= 86_400


async def test_counts_of_the_dead_stay_until_somebody_subtracts_them(world: World) -> None:
    """They are part of the totals: had they ended by themselves, those would be wrong."""
    lease = await world.lease("a")
    await world.store.occupy(lease, APP, {ROOM: 2})

    key = world.clients.keys.nodes("occupancy:a:1")
    lives_on = world.clients.sync.pttl(key)
    world.end_lease(lease)
    await world.store.sweep()

    assert lives_on == -1
    assert not world.clients.sync.exists(key, world.clients.keys.nodes("totals"))


async def test_no_key_is_made_of_a_user_id(world: World) -> None:
    lease = await world.lease("a")

    await world.join(lease, "1.1", "needle")

    assert not [key for key in world.all_keys() if "needle" in key]


async def test_a_restart_with_data_kept_changes_the_run_id_only(
    own: World, redis_server: FaultyServer
) -> None:
    before = await own.store.renew("a", 1)
    await own.join(before.lease, "1.1", "ada")

    redis_server.restart(keep_data=True)
    after = await own.store.renew("a", 1)

    assert after.existed
    assert after.incarnation == before.incarnation
    assert after.run_id != before.run_id
    assert await own.users() == ["ada"]


async def test_a_restart_without_data_changes_the_incarnation(
    own: World, redis_server: FaultyServer
) -> None:
    before = await own.store.renew("a", 1)

    redis_server.restart(keep_data=False)
    after = await own.store.renew("a", 1)

    assert not after.existed
    assert after.incarnation != before.incarnation


async def test_a_frozen_server_raises_and_the_call_may_be_repeated(
    own: World, redis_server: FaultyServer
) -> None:
    lease = await own.lease("a")
    own.listen()

    redis_server.freeze()
    with pytest.raises(DriverUnavailable):
        await own.join(lease, "1.1", "ada")
    redis_server.thaw()
    await own.join(lease, "1.1", "ada")
    await own.leave(lease, "1.1")

    assert own.announced() == ["+ada", "-ada"]


async def test_channel_lists_of_thousands_are_answered_whole(world: World) -> None:
    lease = await world.lease("a")
    joins = [joining(f"1.{n}", f"user-{n}", limit=5000) for n in range(2_500)]

    await world.store.join_many(lease, joins)
    snapshot = await world.store.snapshot(APP, ROOM)

    assert list(snapshot.members) == [f"user-{n}" for n in range(2_500)]
    assert snapshot.members["user-7"] == member("user-7").data


@pytest.mark.parametrize("part", ["connections", "tabs", "goodbye", "order", "leaving", "facts"])
async def test_a_list_of_the_wrong_type_spoils_no_other_join(
    clients: RedisClients, world: World, part: str
) -> None:
    lease = await world.lease("a")
    bad_key = clients.keys.channel(APP, "presence-bad", f"p:{part}")
    await clients.aio.set(bad_key, "garbage")
    names = ["presence-one", "presence-bad", "presence-two"]
    joins = [joining(f"1.{n}", "ada", name) for n, name in enumerate(names)]

    one, bad, two = await world.store.join_many(lease, joins)
    [alone] = await world.store.join_many(lease, joins[1:2])

    assert (one, two) == (None, None)
    assert isinstance(bad, DriverRefused)
    assert isinstance(alone, DriverRefused)
    assert await world.store.member_counts(APP, names) == [1, 0, 1]

    await clients.aio.delete(bad_key)
    assert await world.store.join_many(lease, joins) == [None, None, None]
    assert await world.store.member_counts(APP, names) == [1, 1, 1]
