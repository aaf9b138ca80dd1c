"""
Totals against a model of them: random counts, deaths, new epochs and data loss on three nodes.

After every step the totals are what the living and the unswept dead count, and what was told
is what the model expects, in its order per channel.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from broadcaster.contracts.presence import Wanted
from broadcaster.drivers.redis.facts import QueuedFacts
from broadcaster.drivers.redis.outbox import RedisOutbox
from broadcaster.drivers.redis.presence import RedisPresence
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import LeaseLost
from broadcaster.gateway.outboxes import Outboxes
from tests.drivers.redis.facts_world import Told, emptied
from tests.drivers.redis.nodes_machine import NODES, NodesMachine, run_against_its_model
from tests.drivers.redis.presence_world import APP, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

CHANNELS = ("x", "y", "#z")
COUNTS = st.dictionaries(st.sampled_from(CHANNELS), st.integers(0, 3), min_size=1)
TIMES = st.integers(1, 2)
FACTS = Wanted(facts=True)


@dataclass
class Model:
    """
    What should be known.

    Attributes:
        held: connections by node (with epoch) and channel.
        told: channels that were told to be occupied.
        empty: those of them that are not any more, and whether their grace is over.
    """

    held: dict[tuple[str, str], int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    empty: dict[str, bool] = field(default_factory=dict)

    def totals(self) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for (_, channel), count in self.held.items():
            totals[channel] += count
        return {channel: total for channel, total in totals.items() if total}

    def set(self, name: str, counts: Mapping[str, int], *, announce: bool = True) -> list[str]:
        for channel, count in counts.items():
            self.held[name, channel] = count
        return self.conclude(announce=announce, touched=counts)

    def move(self, former: str, name: str) -> None:
        for channel in CHANNELS:
            if (former, channel) in self.held:
                self.held[name, channel] = self.held.pop((former, channel))

    def forget(self, name: str) -> list[str]:
        for channel in CHANNELS:
            self.held.pop((name, channel), None)
        return self.conclude(announce=True, touched=())

    def settle(self) -> list[str]:
        over = [channel for channel, is_over in self.empty.items() if is_over]
        for channel in over:
            self._vacate(channel)
        return [f"-{channel}" for channel in over]

    def conclude(self, *, announce: bool, touched: Mapping[str, int] | tuple[()]) -> list[str]:
        changes: list[str] = []
        totals = self.totals()
        for channel in ("x", "y"):
            if totals.get(channel):
                if self.empty.get(channel) and channel in touched:
                    self._vacate(channel)
                    changes.append(f"-{channel}")
                if channel in touched:
                    self.empty.pop(channel, None)
                if channel in touched and channel not in self.told:
                    self.told.add(channel)
                    changes += [f"+{channel}"] if announce else []
            elif channel in self.told:
                self.empty.setdefault(channel, False)
        return changes

    def _vacate(self, channel: str) -> None:
        del self.empty[channel]
        self.told.discard(channel)


class TotalsMachine(NodesMachine):
    """Counts of connections, and what is told of channels."""

    def prepare(self) -> None:
        self.model = Model()
        self.ids: set[str] = set()

    # -- what happens ---------------------------------------------------------------------

    @rule(node=NODES, counts=COUNTS, times=TIMES)
    def count(self, node: str, counts: dict[str, int], times: int) -> None:
        for _ in range(times):
            self._occupy(node, counts)
        self.compare(self.model.set(self.name(node), counts))

    @precondition(lambda self: self.model.empty)
    @rule()
    def graces_end(self) -> None:
        key = self.world.clients.keys.nodes("vacating")
        redis: Any = self.world.clients.sync
        for channel in redis.zrange(key, 0, -1):
            redis.zadd(key, {channel: 1})
        self.model.empty = dict.fromkeys(self.model.empty, True)
        self.compare([])

    @rule(times=TIMES)
    def settle(self, times: int) -> None:
        for _ in range(times):
            self.do(RedisOutbox(self.world.clients).settle())
        self.compare(self.model.settle())

    @rule(node=NODES, counts=COUNTS)
    def register_anew(self, node: str, counts: dict[str, int]) -> None:
        """Some connections left meanwhile, some came: what is registered is what is now."""
        old, former = self.leases[node], self.name(node)
        self.start_node(node, old.epoch + 1)
        now = {c: self.model.held.get((former, c), 0) for c in CHANNELS} | counts
        self._occupy(node, now)
        self.model.move(former, self.name(node))
        self.compare(self.model.set(self.name(node), now))
        self.do(self.world.store.retire(old))
        self.dead[former] = old

    @precondition(lambda self: self.dead)
    @rule(counts=COUNTS)
    def dead_node_writes(self, counts: dict[str, int]) -> None:
        for lease in self.dead.values():
            with pytest.raises(LeaseLost):
                self.do(self.world.store.occupy(lease, APP, counts, wanted=FACTS))
        self.compare([])

    @precondition(lambda self: self.dead)
    @rule(racing=st.integers(0, 2))
    def sweep(self, racing: int) -> None:
        self.race_of_sweepers(racing)
        self.compare([change for name in self.dead for change in self.model.forget(name)])
        self.dead = {}

    @rule()
    def lose_everything(self) -> None:
        """Redis came back empty; every node registers what it has, and nothing is told."""
        held = {node: self._held(node) for node in "abc"}
        self.world.lose_everything()
        self.model, self.dead = Model(), {}
        for node, counts in held.items():
            self.start_node(node, self.leases[node].epoch + 1)
            self._occupy(node, counts, announce=False)
            self.model.set(self.name(node), counts, announce=False)
        self.compare([])

    # -- what holds -----------------------------------------------------------------------

    def compare(self, expected: list[str]) -> None:
        facts = self.do(emptied(self.world.clients))
        signs = {"channel_occupied": "+", "channel_vacated": "-"}
        heard = [signs[fact.name] + fact.channel for fact in facts]
        for channel in CHANNELS:
            assert [h for h in heard if h[1:] == channel] == [
                e for e in expected if e[1:] == channel
            ]
        assert not self.ids & {fact.id for fact in facts}
        self.ids |= {fact.id for fact in facts}
        assert self._totals() == self.model.totals()

    def _totals(self) -> dict[str, int]:
        redis: Any = self.world.clients.sync
        found = redis.hgetall(self.world.clients.keys.nodes("totals"))
        return {name.decode().partition("|")[2]: int(total) for name, total in found.items()}

    # -- how ------------------------------------------------------------------------------

    def _occupy(self, node: str, counts: dict[str, int], *, announce: bool = True) -> None:
        store = self.world.store
        self.do(store.occupy(self.leases[node], APP, counts, wanted=FACTS, announce=announce))

    def _held(self, node: str) -> dict[str, int]:
        return {c: n for (name, c), n in self.model.held.items() if name == self.name(node)}


def test_totals_agree_with_their_model(redis_url: str) -> None:
    run_against_its_model(TotalsMachine, redis_url)


@pytest.mark.parametrize("seed", range(3))
async def test_nodes_at_the_same_time_tell_every_transition_once(
    clients: RedisClients, seed: int
) -> None:
    """Three nodes count, die and begin anew; three gateways empty the outbox into the queue."""
    world, told = World(clients), Told(clients)
    chance = random.Random(seed)
    store = RedisPresence(clients, sweep_after=0.0, vacate_grace=0.0)
    sinks = [Outboxes(RedisOutbox(clients), QueuedFacts(RedisQueue(clients))) for _ in "abc"]
    emptying = [asyncio.create_task(sink.run()) for sink in sinks]

    async def live(node: str) -> None:
        lease = await world.lease(node)
        for _ in range(80):
            channel, count = chance.choice("xyz"), chance.choice([0, 0, 1, 2])
            await store.occupy(lease, APP, {channel: count}, wanted=FACTS)
            chance.choice(sinks).wake()
            if chance.random() < 0.1:
                await store.retire(lease)
                lease = await world.lease(node, lease.epoch + chance.choice([1, 100]))
        await store.occupy(lease, APP, {"x": 0, "y": 1, "z": 0}, wanted=FACTS)

    async def interfere() -> None:
        for _ in range(80):
            await store.sweep()

    await asyncio.gather(*(live(node) for node in "abc"), interfere(), interfere())
    for _ in range(10):  # a step sweeps some of the dead
        await store.sweep()
    await told.until("channel_occupied y")
    for sink in sinks:
        sink.wake()
        await sink.settled(within=10)
    for task in emptying:
        task.cancel()
    await asyncio.gather(*emptying, return_exceptions=True)

    facts = await told.look()
    for channel, last in (("x", "vacated"), ("y", "occupied"), ("z", "vacated")):
        mine = [fact.split("_")[1].split()[0] for fact in facts if fact.endswith(channel)]
        assert mine == (["occupied", "vacated"] * len(mine))[: len(mine)]
        assert mine[-1:] in ([], [last])
    assert await store.counts(APP, ["x", "y", "z"]) == [0, 3, 0]
