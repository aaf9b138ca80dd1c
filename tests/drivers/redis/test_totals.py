"""Who comes first and goes last in a channel, over all nodes; and what subscribers are told."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.presence import NOTHING, Wanted
from broadcaster.drivers.redis.outbox import RedisOutbox
from broadcaster.errors import DriverRefused, LeaseLost
from broadcaster.protocol.envelope import Flag
from broadcaster.protocol.messages import encode_subscription_count
from tests.drivers.redis.facts_world import emptied, short
from tests.drivers.redis.presence_world import APP, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broadcaster.contracts.presence import Lease
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

FACTS, COUNTS, BOTH = Wanted(facts=True), Wanted(counts=True), Wanted(facts=True, counts=True)


class TotalsWorld(World):
    """Time passes for empty channels and for held numbers, too."""

    async def occupy(
        self, lease: Lease, counts: Mapping[str, int], wanted: Wanted = FACTS, **options: bool
    ) -> None:
        await self.store.occupy(lease, APP, counts, wanted=wanted, **options)

    def pass_time(self, ms: int) -> None:
        """Everything that is due within `ms` is due now."""
        redis: Any = self.clients.sync
        for part in ("vacating", "counting"):
            key = self.clients.keys.nodes(part)
            for entry in redis.zrange(key, 0, -1):
                redis.zincrby(key, -ms, entry)
        shown = self.clients.keys.nodes("shown")
        for entry, value in redis.hgetall(shown).items():
            count, _, at = value.partition(b":")
            redis.hset(shown, entry, b"%b:%d" % (count, int(at) - ms))

    async def settle(self) -> None:
        await RedisOutbox(self.clients).settle()

    async def facts(self) -> list[str]:
        """Settle, empty the outbox."""
        await self.settle()
        return [short(fact) for fact in await emptied(self.clients)]

    def total(self, channel: str) -> int:
        found = self.clients.sync.hget(self.clients.keys.nodes("totals"), f"{APP}|{channel}")
        return int(found or 0)  # type: ignore[arg-type]  # always bytes here

    def shown(self, channel: str) -> list[int]:
        """What subscribers were told since the last call."""
        frames = [json.loads(envelope.frame) for envelope in self.envelopes(channel)]
        return [json.loads(frame["data"])["subscription_count"] for frame in frames]


@pytest.fixture
def world(clients: RedisClients) -> Iterator[TotalsWorld]:
    made = TotalsWorld(clients)
    made.listen("orders")
    yield made
    made.close()


# -- occupied and vacated -----------------------------------------------------------------


async def test_only_the_first_of_all_nodes_occupies_and_only_the_last_vacates(
    world: TotalsWorld,
) -> None:
    a, b, c = [await world.lease(node) for node in "abc"]

    for lease, count in ((a, 1), (b, 2), (a, 3), (c, 1), (a, 0), (b, 0)):
        await world.occupy(lease, {"orders": count})
    before = await world.facts()
    await world.occupy(c, {"orders": 0})
    world.pass_time(3_000)

    assert before == ["channel_occupied orders"]
    assert await world.facts() == ["channel_vacated orders"]
    assert world.total("orders") == 0


async def test_a_channel_that_fills_again_in_time_says_nothing(world: TotalsWorld) -> None:
    a, b = await world.lease("a"), await world.lease("b")
    await world.occupy(a, {"orders": 1})
    await world.facts()

    await world.occupy(a, {"orders": 0})
    world.pass_time(2_000)
    await world.settle()
    await world.occupy(b, {"orders": 1})
    world.pass_time(60_000)

    assert await world.facts() == []


async def test_a_channel_that_fills_too_late_says_both_though_nobody_had_looked(
    world: TotalsWorld,
) -> None:
    a = await world.lease("a")
    await world.occupy(a, {"orders": 1})

    await world.occupy(a, {"orders": 0})
    world.pass_time(4_000)
    await world.occupy(a, {"orders": 2})

    told = ["channel_occupied orders", "channel_vacated orders", "channel_occupied orders"]
    assert await world.facts() == told


async def test_a_grace_begins_once_however_often_emptiness_is_reported(world: TotalsWorld) -> None:
    a = await world.lease("a")
    await world.occupy(a, {"orders": 1})
    await world.occupy(a, {"orders": 0})
    world.pass_time(2_990)

    await world.occupy(a, {"orders": 0})
    world.pass_time(20)

    assert await world.facts() == ["channel_occupied orders", "channel_vacated orders"]


async def test_repeats_tell_nothing_twice(world: TotalsWorld) -> None:
    a = await world.lease("a")

    for _ in range(2):
        await world.occupy(a, {"orders": 2})
    for _ in range(2):
        await world.occupy(a, {"orders": 0})
    world.pass_time(3_000)
    await world.settle()

    assert await world.facts() == ["channel_occupied orders", "channel_vacated orders"]


async def test_an_app_that_wants_nothing_leaves_nothing_but_counts(world: TotalsWorld) -> None:
    a = await world.lease("a")

    await world.occupy(a, {"orders": 1}, NOTHING)
    parts = {key.rpartition(":")[2] for key in world.all_keys()}
    await world.occupy(a, {"orders": 0}, NOTHING)

    assert parts == {"incarnation", "leases", "starts", "1", "totals"}
    assert await world.facts() == []
    assert world.envelopes("orders") == []


async def test_who_begins_to_want_facts_hears_of_channels_when_they_change(
    world: TotalsWorld,
) -> None:
    a = await world.lease("a")
    await world.occupy(a, {"orders": 1}, NOTHING)

    await world.occupy(a, {"orders": 2})
    await world.occupy(a, {"orders": 0}, NOTHING)
    world.pass_time(3_000)

    assert await world.facts() == ["channel_occupied orders", "channel_vacated orders"]


async def test_internal_names_are_counted_and_never_told(world: TotalsWorld) -> None:
    a, b = await world.lease("a"), await world.lease("b")

    for lease in (a, b):
        await world.occupy(lease, {"#connections": 5}, BOTH)

    assert await world.facts() == []
    assert await world.store.counts(APP, ["#connections"]) == [10]
    assert await world.store.occupied(APP) == {}


# -- nodes that begin anew, and nodes that die --------------------------------------------


async def test_a_new_epoch_takes_the_counts_of_the_last_one_over(world: TotalsWorld) -> None:
    old = await world.lease("a", 1)
    await world.occupy(old, {"orders": 3, "chat": 1})
    await world.facts()

    new = await world.lease("a", 2)
    await world.occupy(new, {"orders": 3})
    both = world.total("orders")
    await world.store.retire(old)
    await world.store.sweep()
    world.pass_time(3_000)

    assert (both, world.total("orders"), world.total("chat")) == (3, 3, 0)
    assert await world.facts() == ["channel_vacated chat"]


async def test_an_old_epoch_that_is_swept_first_says_nothing(world: TotalsWorld) -> None:
    old = await world.lease("a", 1)
    await world.occupy(old, {"orders": 3})
    await world.facts()
    world.end_lease(old)
    await world.store.sweep()

    await world.occupy(await world.lease("a", 2), {"orders": 3})
    world.pass_time(60_000)

    assert world.total("orders") == 3
    assert await world.facts() == []


async def test_counts_of_a_dead_node_are_subtracted_once_by_racing_sweepers(
    world: TotalsWorld,
) -> None:
    a, b = await world.lease("a"), await world.lease("b")
    await world.occupy(a, {f"room{n}": 1 for n in range(500)})
    await world.occupy(b, {"room7": 1})
    await world.facts()
    world.end_lease(a)

    sweeper = world.store._sweeper
    await asyncio.gather(*(sweeper._sweep(["a:1"]) for _ in range(3)))
    world.pass_time(3_000)
    told = await world.facts()
    for _ in range(3):
        told += await world.facts()

    assert sorted(told) == sorted(f"channel_vacated room{n}" for n in range(500) if n != 7)
    assert await world.store.counts(APP, ["room7"]) == [1]
    assert world.clients.sync.hlen(world.clients.keys.nodes("totals")) == 1


async def test_a_living_nodes_counts_are_not_swept(world: TotalsWorld) -> None:
    a = await world.lease("a")
    await world.occupy(a, {"orders": 1})

    await world.store._sweeper._sweep(["a:1"])

    assert world.total("orders") == 1


async def test_a_dead_node_cannot_count(world: TotalsWorld) -> None:
    a = await world.lease("a")
    world.end_lease_only(a)

    with pytest.raises(LeaseLost):
        await world.occupy(a, {"orders": 1})

    assert world.total("orders") == 0
    assert await world.facts() == []


async def test_after_data_loss_nodes_register_silently_and_later_ends_are_told(
    world: TotalsWorld,
) -> None:
    a, b = await world.lease("a"), await world.lease("b")
    for lease in (a, b):
        await world.occupy(lease, {"orders": 1})
    world.lose_everything()

    a, b = await world.lease("a", 2), await world.lease("b", 2)
    for lease in (a, b):
        await world.occupy(lease, {"orders": 1}, announce=False)
    silent = await world.facts()
    for lease in (a, b):
        await world.occupy(lease, {"orders": 0})
    world.pass_time(3_000)

    assert silent == []
    assert await world.facts() == ["channel_vacated orders"]


async def test_ids_differ_from_one_life_of_a_channel_to_the_next(world: TotalsWorld) -> None:
    a = await world.lease("a")
    ids: list[str] = []

    for _ in range(3):
        for count in (1, 0):
            await world.occupy(a, {"orders": count})
        world.pass_time(3_000)
        await world.settle()
        ids += [fact.id for fact in await emptied(world.clients)]
    world.lose_everything()
    await world.occupy(await world.lease("a", 2), {"orders": 1})
    ids += [fact.id for fact in await emptied(world.clients)]

    assert len(ids) == len(set(ids)) == 7


@pytest.mark.parametrize("part", ["totals", "told", "vacating", "shown", "counting", "facts"])
async def test_a_key_of_another_type_stops_the_script_before_it_writes(
    world: TotalsWorld, part: str
) -> None:
    a = await world.lease("a")
    key = world.clients.keys.nodes(part)
    world.clients.sync.set(key, "garbage")

    with pytest.raises(DriverRefused):
        await world.occupy(a, {"orders": 1}, BOTH)
    world.clients.sync.delete(key)
    await world.occupy(a, {"orders": 1}, BOTH)

    assert world.total("orders") == 1
    assert await world.facts() == ["channel_occupied orders", "subscription_count orders 1"]


# -- how many subscribers there are -------------------------------------------------------


async def test_every_change_of_a_total_is_told_with_a_rising_version(world: TotalsWorld) -> None:
    a, b = await world.lease("a"), await world.lease("b")

    for lease, count in ((a, 1), (b, 2), (b, 2), (a, 0)):
        await world.occupy(lease, {"orders": count}, COUNTS)
    envelopes = world.envelopes("orders")

    numbers = [encode_subscription_count("orders", total) for total in (1, 3, 2)]
    assert [envelope.frame for envelope in envelopes] == numbers
    assert {envelope.flags for envelope in envelopes} == {Flag.COUNT | Flag.EPHEMERAL}
    versions = [envelope.offset for envelope in envelopes]
    assert versions == sorted(set(versions))


async def test_the_answer_has_totals_and_a_version_newer_than_what_was_told(
    world: TotalsWorld,
) -> None:
    a, b = await world.lease("a"), await world.lease("b")
    await world.occupy(b, {"orders": 2}, COUNTS)

    totals = await world.store.occupy(a, APP, {"orders": 1, "chat": 0}, wanted=COUNTS)

    assert {name: total.connections for name, total in totals.items()} == {"orders": 3, "chat": 0}
    assert totals["orders"].version > max(e.offset for e in world.envelopes("orders"))
    assert await world.store.occupy(a, APP, {"orders": 1}, wanted=FACTS) == {}


async def test_over_a_hundred_are_told_every_five_seconds_and_the_last_number_always(
    world: TotalsWorld,
) -> None:
    a = await world.lease("a")

    for count in (101, 102, 103):
        await world.occupy(a, {"orders": count}, COUNTS)
        await world.settle()
    first = world.shown("orders")
    world.pass_time(5_000)
    await world.settle()
    await world.settle()

    assert first == [101]
    assert world.shown("orders") == [103]


async def test_below_a_hundred_a_held_number_is_told_at_once(world: TotalsWorld) -> None:
    a = await world.lease("a")

    for count in (150, 151, 99):
        await world.occupy(a, {"orders": count}, COUNTS)
    world.pass_time(5_000)
    await world.settle()

    assert world.shown("orders") == [150, 99]


async def test_a_number_that_is_true_again_is_not_told(world: TotalsWorld) -> None:
    a = await world.lease("a")

    for count in (150, 151, 150):
        await world.occupy(a, {"orders": count}, COUNTS)
    world.pass_time(5_000)
    await world.settle()

    assert world.shown("orders") == [150]


async def test_survivors_hear_that_a_dead_nodes_subscribers_are_gone(world: TotalsWorld) -> None:
    a, b = await world.lease("a"), await world.lease("b")
    await world.occupy(a, {"orders": 2}, BOTH)
    await world.occupy(b, {"orders": 1}, BOTH)
    world.end_lease(a)

    await world.store.sweep()

    assert world.shown("orders") == [2, 3, 1]
    numbers = [f"subscription_count orders {n}" for n in (2, 3, 1)]
    assert await world.facts() == ["channel_occupied orders", *numbers]


async def test_presence_channels_are_not_counted_out_loud(world: TotalsWorld) -> None:
    a = await world.lease("a")
    world.listen("presence-room")

    await world.occupy(a, {"presence-room": 1}, BOTH)

    assert world.envelopes("presence-room") == []
    assert await world.facts() == ["channel_occupied presence-room"]


async def test_what_was_told_is_forgotten_with_the_last_subscriber(world: TotalsWorld) -> None:
    a = await world.lease("a")

    for count in (1, 0):
        await world.occupy(a, {"orders": count}, BOTH)
    world.pass_time(3_000)
    facts = await world.facts()

    left = {key.rpartition(":")[2] for key in world.all_keys()}
    assert left == {"incarnation", "leases", "starts", "sequence"}
    assert facts[-2:] == ["subscription_count orders 0", "channel_vacated orders"]
