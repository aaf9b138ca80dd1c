"""Facts between the script that found them out and the queue."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.presence import Wanted
from broadcaster.drivers.redis import outbox as outbox_module
from broadcaster.drivers.redis.outbox import RedisOutbox, read_note
from broadcaster.protocol.facts import Fact
from tests.drivers.redis.facts_world import emptied, short
from tests.drivers.redis.presence_world import APP, GRACE, ROOM, World, joining

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.contracts.presence import Lease
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

HERE = (APP, ROOM)
FACTS = Wanted(facts=True)


@pytest.fixture
def world(clients: RedisClients) -> Iterator[World]:
    made = World(clients)
    made.listen()
    yield made
    made.close()


async def join(world: World, lease: Lease, socket_id: str, user: str, **more: Any) -> None:
    await world.store.index_add(lease, APP, ROOM)
    one = joining(socket_id, user)
    await world.store.join(
        lease,
        APP,
        ROOM,
        socket_id=socket_id,
        member=one.member,
        added_frame=one.added_frame,
        max_members=10,
        **{"facts": True, **more},
    )


async def told(world: World) -> list[str]:
    return [short(fact) for fact in await emptied(world.clients, HERE)]


# -- who comes and goes -------------------------------------------------------------------


async def test_a_member_is_told_where_pages_are_told(world: World) -> None:
    a, b = await world.lease("a"), await world.lease("b")

    await join(world, a, "1.1", "ada")
    await join(world, b, "2.2", "ada")
    await world.leave(a, "1.1")
    await world.leave(b, "2.2", grace=GRACE)
    in_grace = await told(world)
    world.end_graces()
    await world.store.finish(APP, ROOM)

    assert in_grace == [f"member_added {ROOM} ada"]
    assert await told(world) == [f"member_removed {ROOM} ada"]
    assert world.announced() == ["+ada", "-ada"]


async def test_a_reload_in_time_tells_nothing_and_one_too_late_tells_both(world: World) -> None:
    lease = await world.lease("a")
    await join(world, lease, "1.1", "ada")
    await told(world)

    await world.leave(lease, "1.1", grace=GRACE)
    await join(world, lease, "1.2", "ada")
    in_time = await told(world)
    await world.leave(lease, "1.2", grace=GRACE)
    world.end_graces()
    await join(world, lease, "1.3", "ada")

    assert in_time == []
    assert await told(world) == [f"member_removed {ROOM} ada", f"member_added {ROOM} ada"]


async def test_nobody_is_told_to_go_who_was_not_told_to_come(world: World) -> None:
    lease = await world.lease("a")

    await join(world, lease, "1.1", "ada", facts=False)
    await join(world, lease, "1.2", "ada")
    for socket_id in ("1.1", "1.2"):
        await world.leave(lease, socket_id)

    assert await told(world) == []


async def test_registering_after_data_loss_tells_nothing_until_somebody_goes(world: World) -> None:
    lease = await world.lease("a")

    await world.store.join_many(lease, [joining("1.1", "ada")._replace(facts=True)])
    silent = await told(world)
    await world.leave(lease, "1.1")

    assert silent == []
    assert await told(world) == [f"member_removed {ROOM} ada"]


async def test_user_ids_come_whole_whatever_is_in_them(world: World) -> None:
    lease = await world.lease("a")
    users = ["a b\n:{}*|", "nul\0nul", "ünï", "1"]

    for number, user in enumerate(users):
        await join(world, lease, f"1.{number}", user)

    facts = await emptied(world.clients, HERE)
    assert [fact.user_id for fact in facts] == users
    assert len({fact.id for fact in facts}) == len(users)


async def test_a_dead_nodes_members_are_told_through_the_outbox_of_all(world: World) -> None:
    """The sweeper may die, too: what it moved is found by everybody."""
    a, b = await world.lease("a"), await world.lease("b")
    for lease, socket_id, user in ((a, "1.1", "ada"), (b, "2.2", "bob"), (a, "1.2", "bob")):
        await join(world, lease, socket_id, user)

    world.end_lease(a)
    await world.store.sweep()

    facts = [short(fact) for fact in await emptied(world.clients)]
    assert facts == [
        f"member_added {ROOM} ada",
        f"member_added {ROOM} bob",
        f"member_removed {ROOM} ada",
    ]
    assert await told(world) == []


async def test_a_channel_stays_in_the_index_while_facts_wait_in_it(world: World) -> None:
    lease = await world.lease("a")
    await join(world, lease, "1.1", "ada")
    await world.leave(lease, "1.1")

    waiting = await world.store.finish(APP, ROOM)
    await told(world)

    assert waiting == 1.0
    assert await world.store.finish(APP, ROOM) is None


async def test_a_sweeper_waits_for_who_is_at_the_outbox(world: World) -> None:
    """Otherwise both would queue the same, perhaps after it was told."""
    lease = await world.lease("a")
    await join(world, lease, "1.1", "ada")
    outbox, token = RedisOutbox(world.clients), "holder"
    (page,) = await outbox.step(token, [HERE], [[]])
    world.end_lease(lease)

    await world.store.sweep()
    meanwhile = await emptied(world.clients)
    (rest,) = await outbox.step(token, [HERE], [[note.text for note in page.notes]])
    await outbox.step(token, [HERE], [[note.text for note in rest.notes]])
    await world.store.sweep()

    assert meanwhile == []
    assert [note.fact.name for note in rest.notes if note.fact] == ["member_removed"]
    assert await emptied(world.clients) == []
    assert not world.clients.sync.exists(world.clients.keys.nodes("index:a:1"))


# -- the outbox ---------------------------------------------------------------------------


async def test_an_outbox_has_one_reader_until_it_is_empty(world: World) -> None:
    lease = await world.lease("a")
    await world.store.occupy(lease, APP, {"x": 1, "y": 1, "z": 1}, wanted=FACTS)
    outbox = RedisOutbox(world.clients, batch=2)

    (first,) = await outbox.step("one", [None], [[]])
    (other,) = await outbox.step("two", [None], [[]])
    (second,) = await outbox.step("one", [None], [[note.text for note in first.notes]])
    (end,) = await outbox.step("one", [None], [[note.text for note in second.notes]])
    await world.store.occupy(lease, APP, {"w": 1}, wanted=FACTS)
    (free,) = await outbox.step("two", [None], [[]])

    assert [len(page.notes) for page in (first, other, second, end, free)] == [2, 0, 1, 0, 1]
    assert 0 < other.busy <= outbox_module.LOCK_SECONDS
    assert first.busy == second.busy == free.busy == 0


async def test_facts_are_handed_out_again_until_they_are_forgotten(world: World) -> None:
    lease = await world.lease("a")
    await world.store.occupy(lease, APP, {"x": 1}, wanted=FACTS)
    outbox = RedisOutbox(world.clients)

    (first,) = await outbox.step("one", [None], [[]])
    (again,) = await outbox.step("one", [None], [[]])

    assert first.notes == again.notes


async def test_facts_are_in_the_order_in_which_they_happened(world: World) -> None:
    lease = await world.lease("a")
    names = [f"room{secrets.token_hex(4)}" for _ in range(30)]

    for name in names:
        await world.store.occupy(lease, APP, {name: 1}, wanted=FACTS)

    assert [fact.channel for fact in await emptied(world.clients, batch=7)] == names


async def test_a_full_outbox_drops_the_newest_and_says_how_many(world: World) -> None:
    lease = await world.lease("a")
    key = world.clients.keys.nodes("facts")
    text = f"1\0channel_occupied\x001\0{APP}\0x{{}}\0"
    world.clients.sync.zadd(key, {text.format(n): n for n in range(100_000)})

    await world.store.occupy(lease, APP, {"x": 1, "y": 1}, wanted=FACTS)
    (page,) = await RedisOutbox(world.clients).step("one", [None], [[]])
    (later,) = await RedisOutbox(world.clients).step("one", [None], [[]])

    assert (page.lost, later.lost) == (2, 0)
    assert len(page.notes) == 200
    assert world.clients.sync.zcard(key) == 100_000


async def test_a_fact_that_does_not_fit_when_it_is_moved_is_counted(world: World) -> None:
    lease = await world.lease("a")
    await join(world, lease, "1.1", "ada")
    key = world.clients.keys.nodes("facts")
    world.clients.sync.zadd(key, {f"{n}": n for n in range(100_000)})

    await RedisOutbox(world.clients).rescue(HERE)

    assert world.clients.sync.zscore(key, "!") == 1.0


@pytest.mark.parametrize(
    "garbage",
    [
        *(b"", b"\xff", b"1\0channel_occupied", b"1\0exploded\x001\x001\0x\0"),
        *(b"1\0channel_occupied\0now\x001\0x\0", b"1\0subscription_count\x001\x001\0x\0many"),
    ],
)
async def test_what_is_no_fact_is_said_and_leaves_the_outbox(
    world: World, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    key = world.clients.keys.nodes("facts")
    world.clients.sync.zadd(key, {garbage: 1})

    facts = await emptied(world.clients)

    assert facts == []
    assert "holds something that is no fact" in caplog.text
    assert not world.clients.sync.exists(key)


def test_a_fact_has_one_id_whoever_reads_it() -> None:
    text = b"17\0subscription_count\x001700000000000\x00123\0orders\x005"

    first, second = read_note(text), read_note(text)

    assert first == second
    assert isinstance(first.fact, Fact)
    assert (first.fact.subscription_count, first.fact.user_id) == (5, None)
    assert first.fact.id != getattr(read_note(text.replace(b"17", b"18", 1)).fact, "id", "")


async def test_nothing_is_due_when_nothing_happened(world: World) -> None:
    settled = await RedisOutbox(world.clients).settle()

    assert (settled.wait, settled.facts) == (None, 0)


async def test_the_next_channel_to_be_vacated_says_when(world: World) -> None:
    lease = await world.lease("a")
    for count in (1, 0):
        await world.store.occupy(lease, APP, {"x": count}, wanted=FACTS)

    settled = await RedisOutbox(world.clients).settle()

    assert settled.wait is not None
    assert 0 < settled.wait <= 3.0
    assert settled.facts == 1
