"""The member list's scripts: what stands in Redis, and what comes late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.presence import Snapshot
from broadcaster.drivers.redis.member_list import MemberLists
from broadcaster.protocol.envelope import NO_ID, Flag
from tests.drivers.redis.presence_world import APP, GRACE, ROOM, World, joining

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis


@pytest.fixture
def world(clients: RedisClients) -> Iterator[World]:
    made = World(clients)
    made.listen()
    yield made
    made.close()


async def test_an_announcement_is_a_presence_envelope(world: World) -> None:
    lease = await world.lease("a")

    snapshot = await world.join(lease, "1.1", "ada")
    (envelope,) = world.envelopes()

    assert isinstance(snapshot, Snapshot)
    assert envelope.flags == Flag.PRESENCE
    assert envelope.offset == snapshot.version
    assert envelope.event_id == envelope.previous_id == NO_ID
    assert envelope.excluded == "1.1"
    assert envelope.frame == joining("1.1", "ada").added_frame
    assert abs(envelope.time_ms - world.clients.sync.time()[0] * 1000) < 60_000


async def test_connections_are_filed_under_node_epoch_and_socket(world: World) -> None:
    lease = await world.lease("a", 3)

    await world.join(lease, "1.1", "ada")

    key = world.clients.keys.channel(APP, ROOM, "p:connections")
    assert world.clients.sync.hgetall(key) == {b"a:3:1.1": b"ada"}


async def test_an_empty_list_leaves_its_version_and_nothing_else(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    await world.join(lease, "1.2", "bob")
    await world.leave(lease, "1.1", grace=GRACE)
    await world.leave(lease, "1.2")
    world.end_graces()

    await world.store.finish(APP, ROOM)

    keys = [key for key in world.all_keys() if ROOM in key]
    assert keys == [world.clients.keys.channel(APP, ROOM, "p:version")]


async def test_a_version_does_not_expire_while_someone_is_present(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    await world.leave(lease, "1.1")

    await world.join(lease, "1.1", "ada")

    version = world.clients.keys.channel(APP, ROOM, "p:version")
    assert world.clients.sync.ttl(version) == -1


async def test_a_join_of_the_old_epoch_that_arrives_late_is_swept_with_it(world: World) -> None:
    """It was sent before the node began anew, and held up on the way."""
    old = await world.lease("a", 1)
    await world.join(old, "1.1", "ada")
    new = await world.lease("a", 2)
    await world.store.join_many(new, [joining("1.1", "ada")])
    await world.join(old, "1.1", "ada")

    await world.store.retire(old)
    await world.store.sweep()

    assert world.announced() == ["+ada"]
    await world.leave(new, "1.1")
    assert world.announced() == ["-ada"]


async def test_a_finish_announces_hundreds_in_batches(world: World) -> None:
    lease = await world.lease("a")
    joins = [joining(f"1.{number}", f"user-{number}") for number in range(250)]
    await world.store.join_many(lease, joins)
    for join in joins:
        await world.leave(lease, join.socket_id, grace=GRACE)
    world.end_graces()

    first = await world.store.finish(APP, ROOM)
    second = await world.store.finish(APP, ROOM)

    assert (first, second) == (0.0, None)
    assert len(world.announced()) == 250


async def test_the_own_leave_is_known_behind_hundreds_of_others(world: World) -> None:
    lease = await world.lease("a")
    joins = [joining(f"1.{number}", f"user-{number:03}") for number in range(250)]
    await world.store.join_many(lease, joins)
    for join in joins:
        await world.leave(lease, join.socket_id, grace=GRACE)
    world.end_graces()

    await world.join(lease, "2.2", "user-249")

    assert world.announced() == ["-user-249", "+user-249"]


async def test_a_list_that_lost_a_part_is_finished_without_an_announcement(world: World) -> None:
    """Somebody deleted a key by hand: nothing to say, and nothing to stumble over for ever."""
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    await world.leave(lease, "1.1", grace=GRACE)
    world.end_graces()
    world.clients.sync.delete(world.clients.keys.channel(APP, ROOM, "p:data"))

    assert await world.store.finish(APP, ROOM) is None

    assert world.announced() == ["+ada"]


async def test_a_thousand_connections_of_one_user_are_one_member(world: World) -> None:
    lease = await world.lease("a")

    await world.store.join_many(
        lease, [joining(f"1.{number}", "ada") for number in range(1_000)], announce=True
    )
    for number in range(999):
        await world.leave(lease, f"1.{number}")

    assert await world.users() == ["ada"]
    assert world.announced() == ["+ada"]


async def test_member_data_that_is_not_its_shape_is_refused_before_redis(
    clients: RedisClients, world: World
) -> None:
    lease = await world.lease("a")
    lists = MemberLists(clients, batch=200)
    join = joining("1.1", "ada")

    with pytest.raises(ValueError, match="Expected `object`"):
        await lists.join(
            lease, join._replace(member=join.member._replace(data="[]")), announce=True
        )

    assert await world.users() == []


async def test_a_list_of_another_kind_says_goodbye_in_its_own_words(world: World) -> None:
    lease = await world.lease("a")
    join = joining("1.1", "ada")._replace(removed_frame=b"gone")

    await world.store.join_many(lease, [join])
    await world.leave(lease, "1.1")

    assert [envelope.frame for envelope in world.envelopes()] == [b"gone"]


async def test_what_is_no_version_and_no_member_is_passed_over(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    keys, redis = world.clients.keys, world.clients.sync
    redis.set(keys.channel(APP, ROOM, "p:version"), "garbage")
    redis.zadd(keys.channel(APP, ROOM, "p:order"), {b"\xff\xfe": 1, b"nobody": 2})
    before = await world.store.snapshot(APP, ROOM)

    joined = await world.join(lease, "1.2", "bob")

    assert (before.version, list(before.members)) == (0, ["ada"])
    assert isinstance(joined, Snapshot)
    assert list(joined.members) == ["ada", "bob"]
    assert joined.version > 1_000_000_000_000
