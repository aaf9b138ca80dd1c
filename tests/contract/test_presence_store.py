"""
What every `PresenceStore` does. A driver joins in by a `World` among the fixture's parameters.

`World` lets time pass without waiting: leases and graces are over when a test says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.presence import Refused, Snapshot, Wanted
from broadcaster.errors import LeaseLost
from tests.drivers.redis.facts_world import emptied, short
from tests.drivers.redis.presence_world import (
    APP,
    GRACE,
    ROOM,
    World,
    joining,
    member,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

FACTS = Wanted(facts=True)


@pytest.fixture(params=[pytest.param(World, id="redis")])
def world(request: pytest.FixtureRequest, clients: RedisClients) -> Iterator[World]:
    made: World = request.param(clients)
    made.listen()
    yield made
    made.close()


# -- joining and leaving ------------------------------------------------------------------


async def test_the_first_connection_of_a_user_is_announced_to_others(world: World) -> None:
    node = await world.lease("a")

    snapshot = await world.join(node, "1.1", "ada")

    (delta,) = world.deltas()
    assert delta.event == "pusher_internal:member_added"
    assert delta.user_id == "ada"
    assert delta.excluded == "1.1"
    assert snapshot == Snapshot(delta.version, {"ada": member("ada").data})


async def test_a_second_tab_neither_joins_nor_leaves(world: World) -> None:
    one, two = await world.lease("a"), await world.lease("b")

    await world.join(one, "1.1", "ada")
    await world.join(two, "2.2", "ada")
    left_first = await world.leave(one, "1.1")

    assert left_first is None
    assert world.announced() == ["+ada"]
    await world.leave(two, "2.2")
    assert world.announced() == ["-ada"]


async def test_the_list_is_oldest_first(world: World) -> None:
    node = await world.lease("a")

    for number, user in enumerate(("zoe", "ada", "mia")):
        await world.join(node, f"1.{number}", user)
    await world.leave(node, "1.0")
    await world.join(node, "1.9", "zoe")

    assert await world.users() == ["ada", "mia", "zoe"]


async def test_the_first_tabs_info_stays_until_all_are_gone(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")

    second = await world.store.join(
        node,
        APP,
        ROOM,
        socket_id="1.2",
        member=member("ada", "Countess"),
        added_frame=b"{}",
        max_members=10,
    )

    assert isinstance(second, Snapshot)
    assert second.members == {"ada": member("ada").data}


async def test_versions_rise_by_one_with_each_announcement(world: World) -> None:
    node = await world.lease("a")

    await world.join(node, "1.1", "ada")
    await world.join(node, "1.2", "ada")
    await world.join(node, "1.3", "bob")
    await world.leave(node, "1.3")

    versions = [delta.version for delta in world.deltas()]
    assert versions == [versions[0], versions[0] + 1, versions[0] + 2]
    assert (await world.store.snapshot(APP, ROOM)).version == versions[-1]


async def test_versions_go_on_rising_after_the_channel_was_empty(world: World) -> None:
    node = await world.lease("a")

    await world.join(node, "1.1", "ada")
    await world.leave(node, "1.1")
    await world.join(node, "1.1", "ada")

    versions = [delta.version for delta in world.deltas()]
    assert versions == [versions[0], versions[0] + 1, versions[0] + 2]


async def test_a_repeated_join_changes_and_announces_nothing(world: World) -> None:
    node = await world.lease("a")

    first = await world.join(node, "1.1", "ada")
    again = await world.join(node, "1.1", "ada")
    await world.leave(node, "1.1")

    assert first == again
    assert world.announced() == ["+ada", "-ada"]


async def test_a_repeated_leave_counts_once(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")
    await world.join(node, "1.2", "ada")

    await world.leave(node, "1.1")
    await world.leave(node, "1.1")

    assert await world.users() == ["ada"]
    assert world.announced() == ["+ada"]


async def test_a_repeated_leave_still_says_when_to_finish(world: World) -> None:
    """The answer to the first may have been lost, and somebody must announce the end."""
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")

    first = await world.leave(node, "1.1", grace=GRACE)
    again = await world.leave(node, "1.1", grace=GRACE)

    assert first == GRACE
    assert again is not None
    assert again <= GRACE


async def test_a_leave_of_nobody_does_nothing(world: World) -> None:
    node = await world.lease("a")

    assert await world.leave(node, "9.9") is None
    assert world.announced() == []


async def test_a_socket_that_comes_back_as_somebody_else_replaces_who_it_was(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")

    await world.join(node, "1.1", "bob")

    assert await world.users() == ["bob"]
    assert world.announced() == ["+ada", "-ada", "+bob"]


async def test_a_socket_that_becomes_another_present_user_leaves_other_tabs_alone(
    world: World,
) -> None:
    node = await world.lease("a")
    for socket_id, user in (("1.1", "ada"), ("1.2", "ada"), ("1.3", "bob")):
        await world.join(node, socket_id, user)

    await world.join(node, "1.1", "bob")
    await world.leave(node, "1.3")

    assert await world.users() == ["ada", "bob"]
    assert world.announced() == ["+ada", "+bob"]


async def test_channels_do_not_know_of_each_other(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada", "presence-room")

    await world.join(node, "1.1", "ada", "presence-room2")

    assert await world.users("presence-room2") == ["ada"]
    assert world.announced() == ["+ada"]
    assert await world.store.member_counts(APP, [ROOM, "presence-room2", "presence-x"]) == [1, 1, 0]


@pytest.mark.parametrize(
    "user",
    ["", " ", "a\nb", "{x}", "*", "1:2:3", "\x00", "'; FLUSHALL", "é" * 128, "__proto__", "\ud800"],
)
async def test_a_user_id_may_be_any_text(world: World, user: str) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "other")

    await world.join(node, "2.2", user) if user != "\ud800" else await _join_raw(world, user)

    assert await world.users() == ["other", user]
    await world.leave(node, "2.2")
    assert await world.users() == ["other"]


async def _join_raw(world: World, user: str) -> None:
    """A lone surrogate has no UTF-8 form, yet nothing may break when one arrives."""
    await world.store.join(
        await world.lease("a"),
        APP,
        ROOM,
        socket_id="2.2",
        member=member("x")._replace(user_id=user),
        added_frame=b'{"event":"e","data":"{\\"user_id\\":\\"x\\"}"}',
        max_members=10,
    )


async def test_member_removed_keeps_the_type_of_the_id(world: World) -> None:
    node = await world.lease("a")
    number = member("10")._replace(data='{"user_id":10,"user_info":{}}')

    await world.store.join(
        node,
        APP,
        ROOM,
        socket_id="1.1",
        member=number,
        added_frame=b"{}",
        max_members=10,
    )
    await world.leave(node, "1.1")

    assert world.envelopes()[-1].frame == (
        b'{"event":"pusher_internal:member_removed","channel":"presence-room",'
        b'"data":"{\\"user_id\\":10}"}'
    )


# -- limits -------------------------------------------------------------------------------


async def test_a_full_channel_refuses_new_users_only(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada", limit=2)
    await world.join(node, "1.2", "bob", limit=2)

    refused = await world.join(node, "1.3", "eve", limit=2)
    another_tab = await world.join(node, "1.4", "bob", limit=2)

    assert refused == Refused(2)
    assert isinstance(another_tab, Snapshot)
    assert world.announced() == ["+ada", "+bob"]


async def test_someone_reloading_keeps_their_place_in_a_full_channel(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada", limit=1)
    await world.leave(node, "1.1", grace=GRACE)

    refused = await world.join(node, "1.2", "bob", limit=1)
    back = await world.join(node, "1.3", "ada", limit=1)

    assert refused == Refused(1)
    assert isinstance(back, Snapshot)


async def test_someone_whose_time_is_over_makes_room(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada", limit=1)
    await world.leave(node, "1.1", grace=GRACE)
    world.end_graces()

    await world.join(node, "1.2", "bob", limit=1)

    assert world.announced() == ["+ada", "-ada", "+bob"]


# -- reloading ----------------------------------------------------------------------------


async def test_a_reload_in_time_is_not_announced(world: World) -> None:
    node, other = await world.lease("a"), await world.lease("b")
    await world.join(node, "1.1", "ada")

    wait = await world.leave(node, "1.1", grace=GRACE)
    await world.join(other, "2.2", "ada")
    world.end_graces()

    assert wait == GRACE
    assert await world.store.finish(APP, ROOM) is None
    assert world.announced() == ["+ada"]
    assert await world.users() == ["ada"]


async def test_a_reload_brings_new_info(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")
    await world.leave(node, "1.1", grace=GRACE)

    back = await world.store.join(
        node,
        APP,
        ROOM,
        socket_id="1.2",
        member=member("ada", "Countess"),
        added_frame=b"{}",
        max_members=10,
    )

    assert isinstance(back, Snapshot)
    assert back.members == {"ada": member("ada", "Countess").data}


async def test_someone_leaving_is_in_the_list_until_announced(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")

    await world.leave(node, "1.1", grace=GRACE)

    assert await world.users() == ["ada"]
    assert await world.store.member_counts(APP, [ROOM]) == [1]


async def test_a_reload_that_comes_too_late_is_a_leave_and_a_join(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")
    await world.leave(node, "1.1", grace=GRACE)
    world.end_graces()

    await world.join(node, "1.2", "ada")

    assert world.announced() == ["+ada", "-ada", "+ada"]


async def test_finish_announces_those_who_are_due_and_only_once(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")
    await world.join(node, "1.2", "bob")
    await world.leave(node, "1.1", grace=GRACE)
    world.end_graces()
    await world.leave(node, "1.2", grace=GRACE)

    waits = await asyncio.gather(*(world.store.finish(APP, ROOM) for _ in range(3)))

    assert all(wait is not None and 0 < wait <= GRACE for wait in waits)
    assert world.announced() == ["+ada", "+bob", "-ada"]


async def test_the_grace_is_real_time(world: World) -> None:
    node = await world.lease("a")
    await world.join(node, "1.1", "ada")

    wait = await world.leave(node, "1.1", grace=0.05)
    while wait is not None:
        await asyncio.sleep(wait)
        wait = await world.store.finish(APP, ROOM)

    assert world.announced() == ["+ada", "-ada"]


# -- leases -------------------------------------------------------------------------------


async def test_a_renewal_tells_a_known_lease_from_a_new_one(world: World) -> None:
    first = await world.store.renew("a", 1)
    again = await world.store.renew("a", 1)
    next_epoch = await world.store.renew("a", 2)

    assert [first.existed, again.existed, next_epoch.existed] == [False, True, False]
    assert again.lease.until_ms >= first.lease.until_ms
    assert first.incarnation == again.incarnation == next_epoch.incarnation
    assert first.run_id == again.run_id


async def test_a_lease_that_has_ended_is_not_extended(world: World) -> None:
    """A sweeper may be at work on it: the node comes back under a new epoch."""
    lease = await world.lease("a")
    world.end_lease_only(lease)

    renewal = await world.store.renew("a", 1)

    assert not renewal.existed
    with pytest.raises(LeaseLost):
        await world.join(renewal.lease, "1.1", "ada")


async def test_every_write_of_an_ended_lease_is_refused(world: World) -> None:
    lease = (await world.lease("a"))._replace(until_ms=1)
    one = joining("1.1", "ada")

    for write in (
        world.store.index_add(lease, APP, ROOM),
        world.store.join_many(lease, [one]),
        world.store.leave(lease, APP, ROOM, socket_id="1.1", grace=1),
        world.store.occupy(lease, APP, {ROOM: 1}),
        world.store.join(
            lease,
            APP,
            ROOM,
            socket_id="1.1",
            member=one.member,
            added_frame=one.added_frame,
            max_members=10,
        ),
    ):
        with pytest.raises(LeaseLost):
            await write
    assert await world.users() == []
    assert await world.store.counts(APP, [ROOM]) == [0]


async def test_a_node_that_was_swept_cannot_note_channels(world: World) -> None:
    lease = await world.lease("a")
    world.end_lease(lease)
    await world.store.sweep()

    with pytest.raises(LeaseLost):
        await world.store.index_add(lease, APP, ROOM)
    with pytest.raises(LeaseLost):
        await world.store.occupy(lease, APP, {ROOM: 1})


async def test_lost_data_shows_in_the_renewal(world: World) -> None:
    before = await world.store.renew("a", 1)
    world.lose_everything()

    after = await world.store.renew("a", 1)

    assert not after.existed
    assert after.incarnation != before.incarnation


# -- death --------------------------------------------------------------------------------


async def test_members_of_a_dead_node_are_announced_once(world: World) -> None:
    dead, alive = await world.lease("a"), await world.lease("b")
    for socket_id, user in (("1.1", "ada"), ("1.2", "ada"), ("1.3", "bob"), ("1.4", "eve")):
        await world.join(dead, socket_id, user)
    await world.join(alive, "2.1", "bob")
    world.announced()
    world.end_lease(dead)

    await world.store.sweep()
    await world.store.sweep()

    assert sorted(world.announced()) == ["-ada", "-eve"]
    assert await world.users() == ["bob"]


async def test_a_living_node_is_not_swept(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")

    wait = await world.store.sweep()

    assert 0 < wait <= 1
    assert await world.users() == ["ada"]


async def test_a_node_is_not_swept_the_moment_its_lease_ends(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    world.end_lease_only(lease)

    await world.store.sweep()

    assert world.announced() == ["+ada"]


async def test_a_sweep_finishes_who_was_leaving_when_their_node_died(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    await world.leave(lease, "1.1", grace=GRACE)
    world.end_lease(lease)

    await world.store.sweep()
    still_there = world.announced()
    world.end_graces()
    await world.store.sweep()

    assert still_there == ["+ada"]
    assert world.announced() == ["-ada"]


async def test_someone_leaving_a_dead_node_may_come_back_elsewhere(world: World) -> None:
    dead, alive = await world.lease("a"), await world.lease("b")
    await world.join(dead, "1.1", "ada")
    await world.leave(dead, "1.1", grace=GRACE)
    world.end_lease(dead)
    await world.store.sweep()

    await world.join(alive, "2.1", "ada")
    world.end_graces()
    await world.store.sweep()

    assert world.announced() == ["+ada"]


async def test_a_retired_node_is_swept_at_once(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")

    await world.store.retire(lease)
    await world.store.sweep()

    assert world.announced() == ["+ada", "-ada"]
    assert not (await world.store.renew("a", 1)).existed


async def test_retiring_twice_or_a_stranger_does_nothing(world: World) -> None:
    lease = await world.lease("a")

    await world.store.retire(lease)
    await world.store.sweep()
    await world.store.retire(lease)
    await world.store.retire(lease._replace(node="never-seen"))

    assert await world.store.sweep() == 1.0


async def test_a_channel_that_was_forgotten_and_noted_again_is_swept(world: World) -> None:
    lease = await world.lease("a")
    await world.join(lease, "1.1", "ada")
    await world.leave(lease, "1.1")
    await world.store.index_remove(lease, APP, ROOM)
    await world.join(lease, "1.1", "ada")
    world.announced()
    world.end_lease(lease)

    await world.store.sweep()

    assert world.announced() == ["-ada"]


# -- registering anew ---------------------------------------------------------------------


async def test_a_new_epoch_announces_nobody_who_is_registered_again(world: World) -> None:
    old = await world.lease("a", 1)
    for number, user in enumerate(("ada", "bob", "eve")):
        await world.join(old, f"1.{number}", user)
    world.announced()

    new = await world.lease("a", 2)
    refused = await world.store.join_many(new, [joining("1.0", "ada"), joining("1.1", "bob")])
    await world.store.retire(old)
    await world.store.sweep()

    assert refused == [None, None]
    assert world.announced() == ["-eve"]
    assert await world.users() == ["ada", "bob"]


async def test_after_a_new_epoch_one_leave_is_enough(world: World) -> None:
    old = await world.lease("a", 1)
    await world.join(old, "1.1", "ada")
    new = await world.lease("a", 2)
    await world.store.join_many(new, [joining("1.1", "ada")])

    await world.leave(new, "1.1")

    assert world.announced() == ["+ada", "-ada"]


async def test_a_socket_that_closes_between_two_epochs_is_gone(world: World) -> None:
    old = await world.lease("a", 1)
    await world.join(old, "1.1", "ada")
    new = await world.lease("a", 2)

    await world.leave(new, "1.1")

    assert world.announced() == ["+ada", "-ada"]


async def test_after_data_loss_everybody_is_registered_without_announcement(world: World) -> None:
    lease = await world.lease("a", 1)
    for _ in range(5):
        await world.join(lease, "1.1", "ada")
        await world.leave(lease, "1.1")
    before = world.deltas()[-1].version
    world.lose_everything()

    new = await world.lease("a", 2)
    await world.store.join_many(new, [joining("1.1", "ada"), joining("1.2", "bob")])

    snapshot = await world.store.snapshot(APP, ROOM)
    assert list(snapshot.members) == ["ada", "bob"]
    assert snapshot.version > before
    assert world.announced() == []


async def test_a_join_that_slipped_in_after_data_loss_leaves_no_ghost(world: World) -> None:
    """Its node had not noticed the loss, so no index leads to this connection."""
    old = await world.lease("a", 1)
    world.lose_everything()
    one = joining("1.1", "ada")
    await world.store.join(
        old,
        APP,
        ROOM,
        socket_id=one.socket_id,
        member=one.member,
        added_frame=one.added_frame,
        max_members=10,
    )

    new = await world.lease("a", 2)
    await world.store.join_many(new, [one])
    world.end_lease(new)
    await world.store.sweep()

    assert world.announced() == ["+ada", "-ada"]
    assert await world.users() == []


async def test_joining_many_announces_when_asked(world: World) -> None:
    lease = await world.lease("a")

    await world.store.join_many(lease, [joining("1.1", "ada")], announce=True)

    assert world.announced() == ["+ada"]


async def test_joining_many_is_found_by_the_sweeper(world: World) -> None:
    lease = await world.lease("a")
    joins = [joining(f"1.{n}", f"u{n}", f"presence-{n % 3}") for n in range(450)]

    answers = await world.store.join_many(lease, joins)
    world.end_lease(lease)
    await world.store.sweep()

    assert answers == [None] * 450
    assert await world.store.member_counts(APP, [f"presence-{n}" for n in range(3)]) == [0, 0, 0]


async def test_joining_many_says_who_was_refused(world: World) -> None:
    lease = await world.lease("a")

    answers = await world.store.join_many(
        lease, [joining("1.1", "ada", limit=1), joining("1.2", "bob", limit=1)]
    )

    assert answers == [None, Refused(1)]


# -- occupancy ----------------------------------------------------------------------------


async def test_occupancy_adds_up_over_nodes(world: World) -> None:
    one, two = await world.lease("a"), await world.lease("b")

    await world.store.occupy(one, APP, {"orders": 2, "news": 1})
    await world.store.occupy(two, APP, {"orders": 3, "presence-x": 1})

    assert await world.store.occupied(APP) == {"orders": 5, "news": 1, "presence-x": 1}
    assert await world.store.occupied(APP, "presence-") == {"presence-x": 1}
    assert await world.store.counts(APP, ["orders", "nobody", "news"]) == [5, 0, 1]


async def test_a_count_of_zero_forgets_the_channel(world: World) -> None:
    node = await world.lease("a")
    await world.store.occupy(node, APP, {"orders": 2, "news": 1})

    await world.store.occupy(node, APP, {"orders": 0})

    assert await world.store.occupied(APP) == {"news": 1}


async def test_a_dead_node_occupies_nothing(world: World) -> None:
    dead, alive = await world.lease("a"), await world.lease("b")
    await world.store.occupy(dead, APP, {"orders": 2})
    await world.store.occupy(alive, APP, {"orders": 3})

    world.end_lease_only(dead)

    assert await world.store.counts(APP, ["orders"]) == [3]
    assert await world.store.occupied(APP) == {"orders": 3}


async def test_two_epochs_of_one_node_count_its_connections_once(world: World) -> None:
    old, new = await world.lease("a", 1), await world.lease("a", 2)

    await world.store.occupy(old, APP, {"orders": 2, "news": 1})
    await world.store.occupy(new, APP, {"orders": 2})

    assert await world.store.counts(APP, ["orders", "news"]) == [2, 1]
    assert await world.store.occupied(APP) == {"orders": 2, "news": 1}


async def test_a_node_may_be_left_out_of_the_count_under_all_its_epochs(world: World) -> None:
    old, new, other = [await world.lease(*name) for name in (("a", 1), ("a", 2), ("ab", 1))]

    for lease in (old, new, other):
        await world.store.occupy(lease, APP, {"orders": 2})

    assert await world.store.counts(APP, ["orders"], without="a") == [2]
    assert await world.store.counts(APP, ["orders", "news"], without="ab") == [2, 0]


async def test_apps_do_not_see_each_others_occupancy(world: World) -> None:
    node = await world.lease("a")

    await world.store.occupy(node, "123", {"orders": 1})
    await world.store.occupy(node, "12", {"orders": 5})

    assert await world.store.occupied("123") == {"orders": 1}
    assert await world.store.counts("12", ["orders"]) == [5]


async def test_nothing_is_asked_when_nothing_is_wanted(world: World) -> None:
    assert await world.store.counts(APP, []) == []
    assert await world.store.member_counts(APP, []) == []
    assert await world.store.join_many(await world.lease("a"), []) == []
    assert await world.store.occupied(APP) == {}


async def test_many_lists_are_read_together_in_the_order_asked_for(world: World) -> None:
    lease = await world.lease("a", 1)
    names = [f"presence-{i}" for i in range(450)]
    await world.join(lease, "1.1", "ada", names[0])
    await world.join(lease, "1.1", "eve", names[449])

    snapshots = await world.store.snapshots(APP, names)

    assert [list(one.members) for one in snapshots if one.members] == [["ada"], ["eve"]]
    assert (list(snapshots[0].members), list(snapshots[449].members)) == (["ada"], ["eve"])
    assert snapshots[0] == await world.store.snapshot(APP, names[0])
    assert await world.store.snapshots(APP, []) == []


# -- what is told of it -------------------------------------------------------------------


async def test_the_first_connection_of_all_nodes_becomes_a_fact(world: World) -> None:
    one, two = await world.lease("a"), await world.lease("b")

    for lease in (one, two):
        await world.store.occupy(lease, APP, {"orders": 1, "#connections": 1}, wanted=FACTS)
    for count in (0, 1):
        await world.store.occupy(one, APP, {"orders": count}, wanted=FACTS)

    assert [short(fact) for fact in await emptied(world.clients)] == ["channel_occupied orders"]


async def test_a_short_absence_and_registering_after_data_loss_are_no_facts(world: World) -> None:
    lease = await world.lease("a")

    for count in (1, 0, 1):
        await world.store.occupy(lease, APP, {"orders": count}, wanted=FACTS, announce=False)

    assert await emptied(world.clients) == []


async def test_totals_over_all_nodes_are_answered_to_who_wants_counts(world: World) -> None:
    one, two = await world.lease("a"), await world.lease("b")
    counts = Wanted(counts=True)

    first = await world.store.occupy(one, APP, {"orders": 2}, wanted=counts)
    second = await world.store.occupy(two, APP, {"orders": 3, "news": 1}, wanted=counts)

    assert first["orders"].connections == 2
    assert {name: total.connections for name, total in second.items()} == {"orders": 5, "news": 1}
    assert second["orders"].version > first["orders"].version
    assert await world.store.occupy(two, APP, {"orders": 3}) == {}


async def test_comings_and_goings_of_members_become_facts_where_they_are_wanted(
    world: World,
) -> None:
    lease = await world.lease("a")
    joins = [joining("1.1", "ada")._replace(facts=True), joining("1.2", "bob")]

    await world.store.join_many(lease, joins, announce=True)
    for join in joins:
        await world.leave(lease, join.socket_id)

    facts = [short(fact) for fact in await emptied(world.clients, (APP, ROOM))]
    assert facts == [f"member_added {ROOM} ada", f"member_removed {ROOM} ada"]


async def test_internal_names_are_counted_and_not_listed(world: World) -> None:
    lease = await world.lease("a")

    await world.store.occupy(lease, APP, {"#connections": 7, "orders": 1})

    assert await world.store.counts(APP, ["#connections"]) == [7]
    assert await world.store.occupied(APP) == {"orders": 1}
