"""Three nodes on one Redis that do at random whatever nodes do, beside a model of it."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.leases import node_name
from tests.drivers.redis.presence_world import World

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from broadcaster.contracts.presence import Lease

    T = TypeVar("T")

NODES = st.sampled_from("abc")


class NodesMachine(RuleBasedStateMachine):
    """
    Drives the store and the model side by side, and compares them after every rule.

    Attributes:
        leases: of the living, by node.
        dead: leases of those whom nobody has swept yet, by name of node and epoch.
    """

    url = ""

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.world = World(RedisClients(self.url, f"t{uuid.uuid4().hex[:12]}"), batch=2)
        self.leases: dict[str, Lease] = {}
        self.dead: dict[str, Lease] = {}
        self.prepare()
        for node in "abc":
            self.start_node(node, 1)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.world.lose_everything()
            self.world.close()
            self.do(self.world.clients.aclose())
            self.runner.close()

    @rule(node=NODES)
    def die(self, node: str) -> None:
        """The process is gone. Another one begins, far from the epochs of the first."""
        lease = self.leases[node]
        self.world.end_lease(lease)
        self.dead[self.name(node)] = lease
        self.start_node(node, lease.epoch + 100)
        self.compare([])

    def prepare(self) -> None:
        """Make the model."""
        raise NotImplementedError

    def compare(self, expected: list[str]) -> None:
        """Fail unless what was told since the last call is `expected`, and the model holds."""
        raise NotImplementedError

    def race_of_sweepers(self, racing: int) -> None:
        """One sweeper has the lock; `racing` others were slow, and work on without it."""
        sweeper = self.world.store._sweeper

        async def race() -> None:
            late = [sweeper._sweep(list(self.dead)) for _ in range(racing)]
            await asyncio.gather(self.world.store.sweep(), *late)

        self.do(race())

    def start_node(self, node: str, epoch: int) -> None:
        self.leases[node] = self.do(self.world.lease(node, epoch))

    def name(self, node: str) -> str:
        return node_name(node, self.leases[node].epoch)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)


def run_against_its_model(machine: type[NodesMachine], redis_url: str) -> None:
    """Do forty times what happens to `machine`, forty rules at most each."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # not annotated by Hypothesis
        type("Machine", (machine,), {"url": redis_url}),
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
