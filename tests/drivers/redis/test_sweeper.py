"""Sweepers that race, die in the middle, or find what nobody should have written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis import sweeper as sweeper_module
from broadcaster.drivers.redis.presence import RedisPresence
from broadcaster.errors import DriverRefused, DriverUnavailable
from tests.drivers.redis.presence_world import APP, GRACE, ROOM, World, joining
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.contracts.presence import Lease
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

USERS = [f"user-{number}" for number in range(7)]


@pytest.fixture
def world(clients: RedisClients) -> Iterator[World]:
    """A world whose scripts handle two connections a call."""
    made = World(clients, batch=2)
    made.listen()
    yield made
    made.close()


async def _dead_node(world: World) -> Lease:
    lease = await world.lease("dead")
    joins = [joining(f"1.{number}", user) for number, user in enumerate(USERS)]
    await world.store.join_many(lease, joins)
    world.end_lease(lease)
    return lease


class Killed(BaseException):
    """The sweeper's process is gone."""


@pytest.mark.parametrize("call", range(1, 9))
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_a_sweeper_that_dies_at_any_step_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch, call: int, *, done: bool
) -> None:
    """Killed before or after each of its calls to Redis; the lock ends by its time."""
    await _dead_node(world)
    calls = 0

    def deadly(method: object) -> object:
        async def wrapped(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == call and not done:
                raise Killed
            answer = await method(*args)  # type: ignore[operator]  # any async method
            if calls == call:
                raise Killed
            return answer

        return wrapped

    victim = RedisPresence(world.clients, batch=2)
    for owner, name in (
        (victim._lists, "sweep"),
        (victim._sweeper, "_index_page"),
        (victim._sweeper, "_forget"),
        (victim._sweeper, "_drop"),
    ):
        monkeypatch.setattr(owner, name, deadly(getattr(owner, name)))
    try:
        await victim.sweep()
    except Killed:
        world.clients.sync.delete(world.clients.keys.nodes("sweeper"))

    await world.store.sweep()

    assert sorted(world.announced()) == [f"-{user}" for user in USERS]
    assert await world.users() == []
    assert world.clients.sync.zcard(world.clients.keys.nodes("leases")) == 0


async def test_a_script_call_removes_no_more_than_its_batch(world: World) -> None:
    await _dead_node(world)

    (progress,) = await world.store._lists.sweep("dead:1", [(APP, ROOM)], ["0"])

    assert len(world.announced()) == 2
    assert progress.cursor is not None


async def test_sweepers_without_a_lock_announce_everybody_once(world: World) -> None:
    await _dead_node(world)
    others = [RedisPresence(world.clients, batch=2) for _ in range(4)]

    await asyncio.gather(*(store._sweeper._sweep(["dead:1"]) for store in others))

    assert sorted(world.announced()) == [f"-{user}" for user in USERS]


async def test_only_one_sweeper_works_at_a_time(world: World) -> None:
    await _dead_node(world)
    world.clients.sync.set(world.clients.keys.nodes("sweeper"), "somebody else", px=60_000)

    wait = await world.store.sweep()

    assert wait == 1.0
    assert world.announced() == []
    assert world.clients.sync.get(world.clients.keys.nodes("sweeper")) == b"somebody else"


async def test_the_lock_is_given_back(world: World) -> None:
    await _dead_node(world)

    await world.store.sweep()

    assert not world.clients.sync.exists(world.clients.keys.nodes("sweeper"))


async def test_the_lock_is_given_back_when_a_step_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _dead_node(world)

    async def fail(*args: object) -> None:
        raise DriverUnavailable("gone")

    monkeypatch.setattr(world.store._lists, "sweep", fail)
    with pytest.raises(DriverUnavailable):
        await world.store.sweep()

    assert not world.clients.sync.exists(world.clients.keys.nodes("sweeper"))


async def test_a_large_dead_node_is_swept_in_several_steps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "CHANNELS_PER_STEP", 30)
    lease = await world.lease("dead")
    channels = [f"presence-{number}" for number in range(70)]
    joins = [joining("1.1", "ada", channel) for channel in channels]
    await world.store.join_many(lease, joins)
    world.end_lease(lease)

    waits = [await world.store.sweep() for _ in range(3)]

    assert waits == [0.0, 0.0, 1.0]
    assert await world.store.member_counts(APP, channels) == [0] * 70


async def test_a_step_that_can_only_wait_says_how_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "CHANNELS_PER_STEP", 2)
    monkeypatch.setattr(sweeper_module, "POLL_SECONDS", 60.0)
    lease = await world.lease("dead")
    for number in range(4):
        await world.join(lease, "1.1", "ada", f"presence-{number}")
        await world.leave(lease, "1.1", f"presence-{number}", grace=30)
    world.end_lease(lease)

    wait = await world.store.sweep()

    assert 20 < wait <= 30


async def test_a_node_is_not_forgotten_before_its_index_is_empty(world: World) -> None:
    await _dead_node(world)

    await world.store._sweeper._drop("dead:1", 0)
    await world.store.sweep()

    assert sorted(world.announced()) == [f"-{user}" for user in USERS]


async def test_many_dead_nodes_are_swept(world: World) -> None:
    for number in range(20):
        lease = await world.lease(f"dead{number}")
        await world.join(lease, "1.1", f"user-{number}")
        world.end_lease(lease)

    while world.clients.sync.zcard(world.clients.keys.nodes("leases")):
        await world.store.sweep()

    assert len(world.announced()) == 40
    assert await world.users() == []


async def test_a_dead_node_with_someone_leaving_does_not_hold_up_others(world: World) -> None:
    first, second = await world.lease("dead1"), await world.lease("dead2")
    await world.join(first, "1.1", "ada")
    await world.leave(first, "1.1", grace=GRACE)
    await world.join(second, "2.1", "bob", "presence-other")
    world.end_lease(first)
    world.end_lease(second)

    await world.store.sweep()

    assert await world.users("presence-other") == []
    assert await world.users() == ["ada"]


async def test_a_node_whose_name_begins_like_another_is_left_alone(world: World) -> None:
    one, other = await world.lease("n"), await world.lease("n.1")
    await world.join(one, "1.1", "ada")
    await world.join(other, "1.1", "bob")
    world.end_lease(one)

    await world.store.sweep()

    assert await world.users() == ["bob"]


@pytest.mark.parametrize(("users", "level"), [(0, logging.DEBUG), (1, logging.INFO)])
async def test_a_node_that_leaves_no_presence_is_swept_quietly(
    world: World, caplog: pytest.LogCaptureFixture, users: int, level: int
) -> None:
    caplog.set_level(logging.DEBUG, "broadcaster")
    lease = await world.lease("dead")
    for user in range(users):
        await world.join(lease, "1.1", f"user-{user}")
    world.end_lease(lease)

    await world.store.sweep()

    assert [record.levelno for record in caplog.records if "swept" in record.msg] == [level]


async def test_an_index_entry_that_names_no_channel_is_dropped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await _dead_node(world)
    index = world.clients.keys.nodes("index:dead:1")
    world.clients.sync.hset(index, "no channel {at} all", "1")

    await world.store.sweep()

    assert "names no channel" in caplog.text
    assert not world.clients.sync.exists(index)
    assert await world.users() == []


async def test_connections_in_large_channels_are_found(world: World) -> None:
    """A hash of thousands is scanned in pages, some of them without a connection of the dead."""
    alive, dead = await world.lease("alive"), await world.lease("dead")
    store = RedisPresence(world.clients, batch=50)
    await store.join_many(alive, [joining(f"1.{n}", f"user-{n % 9}") for n in range(3_000)])
    await store.join_many(dead, [joining(f"2.{n}", f"gone-{n}") for n in range(120)])
    world.end_lease(dead)

    await store.sweep()

    assert len(await world.users()) == 9
    connections = world.clients.keys.channel(APP, ROOM, "p:connections")
    assert world.clients.sync.hlen(connections) == 3_000


async def test_a_node_that_stops_renewing_is_announced_without_help(clients: RedisClients) -> None:
    """The same with a real clock: short lease, nobody moves the time."""
    world = World(clients)
    world.store = RedisPresence(clients, lease=2.0, sweep_after=0.05)
    world.listen()
    await world.join(await world.lease("dead"), "1.1", "ada")
    heard: list[str] = []

    async def living_node() -> None:
        while True:
            await world.store.renew("alive", 1)
            await asyncio.sleep(min(0.05, await world.store.sweep()))

    def announced() -> bool:
        heard.extend(world.announced())
        return "-ada" in heard

    task = asyncio.create_task(living_node())
    await eventually(announced)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert heard == ["+ada", "-ada"]
    world.close()


async def test_leases_that_name_no_node_do_not_stand_before_those_to_be_swept(
    world: World,
) -> None:
    lease = await _dead_node(world)
    junk = [b"\xff\xfe:1", b"", b"no epoch", b"a:b:1", *(b"x%d" % n for n in range(40))]
    nodes = world.clients.keys.nodes("leases")
    world.clients.sync.zadd(nodes, dict.fromkeys(junk, 1))

    for _ in range(8):
        await world.store.sweep()

    assert world.clients.sync.zcard(nodes) == 0
    assert await world.users() == []
    assert lease.node == "dead"


async def test_a_channel_that_cannot_be_swept_does_not_keep_other_nodes_from_it(
    world: World,
) -> None:
    broken = await world.lease("abroken")
    await world.store.index_add(broken, APP, "presence-broken")
    connections = world.clients.keys.channel(APP, "presence-broken", "p:connections")
    world.clients.sync.set(connections, "no hash")
    world.end_lease(broken)
    await _dead_node(world)

    for _ in range(3):
        with contextlib.suppress(DriverRefused):
            await world.store.sweep()

    assert await world.users() == []
