"""
Totals against a model of them: random counts, deaths, new epochs and data loss on three nodes.

After every step the totals are what the living and the unswept dead count, and what was told
is what the model expects, in its order per channel.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from broadcaster.contracts.presence import Lease, Wanted
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.leases import node_name
from broadcaster.drivers.redis.outbox import RedisOutbox
from broadcaster.errors import LeaseLost
from tests.drivers.redis.facts_world import emptied
from tests.drivers.redis.presence_world import APP, World

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    T = TypeVar("T")

pytestmark = pytest.mark.redis

NODES = st.sampled_from("abc")
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


class TotalsMachine(RuleBasedStateMachine):
    """Drives the store and the model side by side, and compares them after every rule."""

    url = ""

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.world = World(RedisClients(self.url, f"t{uuid.uuid4().hex[:12]}"), batch=2)
        self.model = Model()
        self.leases: dict[str, Lease] = {}
        self.dead: dict[str, Lease] = {}
        self.ids: set[str] = set()
        for node in "abc":
            self._start_node(node, 1)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.world.lose_everything()
            self._do(self.world.clients.aclose())
            self.runner.close()

    # -- what happens ---------------------------------------------------------------------

    @rule(node=NODES, counts=COUNTS, times=TIMES)
    def count(self, node: str, counts: dict[str, int], times: int) -> None:
        for _ in range(times):
            self._occupy(node, counts)
        self._compare(self.model.set(self._name(node), counts))

    @precondition(lambda self: self.model.empty)
    @rule()
    def graces_end(self) -> None:
        key = self.world.clients.keys.nodes("vacating")
        redis: Any = self.world.clients.sync
        for channel in redis.zrange(key, 0, -1):
            redis.zadd(key, {channel: 1})
        self.model.empty = dict.fromkeys(self.model.empty, True)
        self._compare([])

    @rule(times=TIMES)
    def settle(self, times: int) -> None:
        for _ in range(times):
            self._do(RedisOutbox(self.world.clients).settle())
        self._compare(self.model.settle())

    @rule(node=NODES, counts=COUNTS)
    def register_anew(self, node: str, counts: dict[str, int]) -> None:
        """Some connections left meanwhile, some came: what is registered is what is now."""
        old, former = self.leases[node], self._name(node)
        self._start_node(node, old.epoch + 1)
        now = {c: self.model.held.get((former, c), 0) for c in CHANNELS} | counts
        self._occupy(node, now)
        self.model.move(former, self._name(node))
        self._compare(self.model.set(self._name(node), now))
        self._do(self.world.store.retire(old))
        self.dead[former] = old

    @rule(node=NODES)
    def die(self, node: str) -> None:
        """The process is gone. Another one begins, far from the epochs of the first."""
        lease = self.leases[node]
        self.world.end_lease(lease)
        self.dead[self._name(node)] = lease
        self._start_node(node, lease.epoch + 100)
        self._compare([])

    @precondition(lambda self: self.dead)
    @rule(counts=COUNTS)
    def dead_node_writes(self, counts: dict[str, int]) -> None:
        for lease in self.dead.values():
            with pytest.raises(LeaseLost):
                self._do(self.world.store.occupy(lease, APP, counts, wanted=FACTS))
        self._compare([])

    @precondition(lambda self: self.dead)
    @rule(racing=st.integers(0, 2))
    def sweep(self, racing: int) -> None:
        sweeper = self.world.store._sweeper

        async def race() -> None:
            late = [sweeper._sweep(list(self.dead)) for _ in range(racing)]
            await asyncio.gather(self.world.store.sweep(), *late)

        self._do(race())
        self._compare([change for name in self.dead for change in self.model.forget(name)])
        self.dead = {}

    @rule()
    def lose_everything(self) -> None:
        """Redis came back empty; every node registers what it has, and nothing is told."""
        held = {node: self._held(node) for node in "abc"}
        self.world.lose_everything()
        self.model, self.dead = Model(), {}
        for node, counts in held.items():
            self._start_node(node, self.leases[node].epoch + 1)
            self._occupy(node, counts, announce=False)
            self.model.set(self._name(node), counts, announce=False)
        self._compare([])

    # -- what holds -----------------------------------------------------------------------

    def _compare(self, expected: list[str]) -> None:
        facts = self._do(emptied(self.world.clients))
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
        self._do(store.occupy(self.leases[node], APP, counts, wanted=FACTS, announce=announce))

    def _held(self, node: str) -> dict[str, int]:
        return {c: n for (name, c), n in self.model.held.items() if name == self._name(node)}

    def _start_node(self, node: str, epoch: int) -> None:
        self.leases[node] = self._do(self.world.lease(node, epoch))

    def _name(self, node: str) -> str:
        return node_name(node, self.leases[node].epoch)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)


def test_totals_agree_with_their_model(redis_url: str) -> None:
    machine = type("Machine", (TotalsMachine,), {"url": redis_url})

    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # not annotated by Hypothesis
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
