"""
Presence against a model of it: random joins, leaves, reloads and deaths over three nodes.

After every step, what was announced in it is what the model expects, in gapless versions;
applied to the list as it was before, it gives the list as it is; and both are the model's.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from broadcaster.drivers.redis.leases import node_name
from broadcaster.errors import LeaseLost
from tests.drivers.redis.nodes_machine import NODES, NodesMachine, run_against_its_model
from tests.drivers.redis.presence_world import APP, GRACE, ROOM, World, joining

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

USERS = st.sampled_from(["ada", "bob", "1", "a b\n:{}*"])
SOCKETS = st.sampled_from(["1.1", "1.2", "1.3"])
ONCE_OR_TWICE = st.integers(1, 2)


@dataclass
class Model:
    """
    What the list should be.

    Attributes:
        connections: user by node (with epoch) and socket id.
        leaving: whose last connection closed, and whether their time to come back is over.
        listed: users, oldest first.
    """

    connections: dict[tuple[str, str], str] = field(default_factory=dict)
    leaving: dict[str, bool] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)

    def join(self, name: str, socket_id: str, user: str) -> list[str]:
        held = self.connections.get((name, socket_id))
        if held == user:
            return []
        changes = self.drop(name, socket_id)
        if self.leaving.pop(user, False):
            changes += self._remove(user)
        self.connections[name, socket_id] = user
        if user not in self.listed:
            self.listed.append(user)
            changes.append("+" + user)
        return changes

    def drop(self, name: str, socket_id: str, *, grace: bool = False) -> list[str]:
        user = self.connections.pop((name, socket_id), None)
        if user is None or user in self.connections.values():
            return []
        if grace:
            self.leaving[user] = False
            return []
        return self._remove(user)

    def swept(self, name: str) -> list[str]:
        mine = [socket_id for node, socket_id in self.connections if node == name]
        return [change for socket_id in mine for change in self.drop(name, socket_id)]

    def finish(self) -> list[str]:
        over = [user for user, is_over in self.leaving.items() if is_over]
        return [change for user in over for change in self._remove(user)]

    def of(self, name: str) -> dict[str, str]:
        return {socket: user for (node, socket), user in self.connections.items() if node == name}

    def _remove(self, user: str) -> list[str]:
        self.leaving.pop(user, None)
        self.listed.remove(user)
        return ["-" + user]


class PresenceMachine(NodesMachine):
    """Members of a room, and what is announced in it."""

    def prepare(self) -> None:
        self.world.listen()
        self.model = Model()
        self.indexed: set[str] = set()
        self.version = self.floor = 0

    # -- what happens ---------------------------------------------------------------------

    @rule(node=NODES, socket_id=SOCKETS, user=USERS, times=ONCE_OR_TWICE)
    def join(self, node: str, socket_id: str, user: str, times: int) -> None:
        for _ in range(times):
            self.do(self.world.join(self.leases[node], socket_id, user))
        self.indexed.add(self.name(node))
        self.compare(self.model.join(self.name(node), socket_id, user))

    @rule(node=NODES, socket_id=SOCKETS, grace=st.booleans(), times=ONCE_OR_TWICE)
    def leave(self, node: str, socket_id: str, times: int, *, grace: bool) -> None:
        seconds = GRACE if grace else 0.0
        for _ in range(times):
            self.do(self.world.leave(self.leases[node], socket_id, grace=seconds))
        self.compare(self.model.drop(self.name(node), socket_id, grace=grace))

    @rule(node=NODES, number=st.integers(0, 2), other=NODES, late=st.booleans())
    def reload(self, node: str, number: int, other: str, *, late: bool) -> None:
        """A page is loaded again, perhaps at another node, perhaps too late."""
        mine = sorted(self.model.of(self.name(node)).items())
        if number < len(mine):
            socket_id, user = mine[number]
            self.leave(node, socket_id, 1, grace=True)
            if late:
                self.graces_end()
            self.join(other, "1.9", user, 1)

    @precondition(lambda self: self.model.leaving)
    @rule()
    def graces_end(self) -> None:
        self.world.end_graces()
        self.model.leaving = dict.fromkeys(self.model.leaving, True)
        self.compare([])

    @rule()
    def finish(self) -> None:
        wait = self.do(self.world.store.finish(APP, ROOM))
        self.compare(self.model.finish())
        assert (wait is None) == (not self.model.leaving)

    @precondition(lambda self: not self.model.leaving)
    @rule(node=NODES)
    def forget_channel(self, node: str) -> None:
        """As a gateway does after its last member left and was announced."""
        if not self.model.of(self.name(node)):
            self.do(self.world.store.index_remove(self.leases[node], APP, ROOM))
            self.indexed.discard(self.name(node))
        self.compare([])

    @rule(node=NODES)
    def register_anew(self, node: str) -> None:
        """The node lost its lease, or thinks so: everything again in the next epoch."""
        old, before = self.leases[node], self.name(node)
        self.start_node(node, old.epoch + 1)
        self._register(node, self.model.of(before))
        self.do(self.world.store.retire(old))
        self.dead[before] = old
        self.compare([])

    @precondition(lambda self: self.dead)
    @rule(user=USERS)
    def dead_node_writes(self, user: str) -> None:
        """As after a pause that was longer than the lease."""
        for lease in self.dead.values():
            with pytest.raises(LeaseLost):
                self.do(self.world.join(lease, "1.1", user))
        self.compare([])

    @precondition(lambda self: self.dead)
    @rule(racing=st.integers(0, 2))
    def sweep(self, racing: int) -> None:
        self.race_of_sweepers(racing)
        found = [name for name in self.dead if name in self.indexed]
        changes = [change for name in found for change in self.model.swept(name)]
        if found:
            changes += self.model.finish()
        self.compare(changes)
        keep = found if self.model.leaving else []
        self.dead = {name: self.dead[name] for name in keep}

    @rule()
    def lose_everything(self) -> None:
        """Redis came back empty; every node registers what it has, and nobody is announced."""
        mine = {node: self.model.of(self.name(node)) for node in "abc"}
        self.world.lose_everything()
        self.model, self.dead, self.indexed = Model(), {}, set()
        for node, sockets in mine.items():
            self.start_node(node, self.leases[node].epoch + 1)
            self._register(node, sockets)
        self.floor = max(self.floor, self.version)
        self.version = self.do(self.world.store.snapshot(APP, ROOM)).version
        assert self.version > self.floor or not self.model.listed
        self.compare([])

    # -- what holds -----------------------------------------------------------------------

    def compare(self, expected: list[str]) -> None:
        deltas = self.world.deltas()
        self._versions_are_gapless([delta.version for delta in deltas])
        signs = {"pusher_internal:member_added": "+", "pusher_internal:member_removed": "-"}
        heard = [signs[delta.event] + delta.user_id for delta in deltas]
        assert Counter(heard) == Counter(expected)
        # Per user in order; between users a sweep may take them as they come.
        for user in {change[1:] for change in expected}:
            assert [h for h in heard if h[1:] == user] == [e for e in expected if e[1:] == user]
        assert self.do(self.world.users()) == self.model.listed
        assert self.do(self.world.store.member_counts(APP, [ROOM])) == [len(self.model.listed)]
        assert self._tabs() == Counter(self.model.connections.values())

    def _versions_are_gapless(self, versions: list[int]) -> None:
        for version in versions:
            assert self.version in {0, version - 1}
            assert version > self.floor
            self.version = version

    def _tabs(self) -> Counter[str]:
        key = self.world.clients.keys.channel(APP, ROOM, "p:tabs")
        tabs = self.world.clients.sync.hgetall(key)
        return Counter({str(user, "utf-8"): int(count) for user, count in tabs.items()})  # type: ignore[arg-type]  # always bytes here

    # -- how ------------------------------------------------------------------------------

    def _register(self, node: str, sockets: dict[str, str]) -> None:
        joins = [joining(socket_id, user) for socket_id, user in sockets.items()]
        self.do(self.world.store.join_many(self.leases[node], joins))
        name = self.name(node)
        if joins:
            self.indexed.add(name)
        former = node_name(node, self.leases[node].epoch - 1)
        for socket_id, user in sockets.items():
            self.model.connections.pop((former, socket_id), None)
            self.model.connections[name, socket_id] = user
            if user not in self.model.listed:
                self.model.listed.append(user)


def test_presence_agrees_with_its_model(redis_url: str) -> None:
    run_against_its_model(PresenceMachine, redis_url)


@pytest.mark.parametrize("seed", range(5))
async def test_nodes_at_the_same_time_announce_every_change_once(
    clients: RedisClients, seed: int
) -> None:
    """Three nodes at once, each in order within itself, while sweepers and finishers interfere."""
    world = World(clients)
    world.listen()
    chance = random.Random(seed)
    plans = {node: [_step(chance) for _ in range(60)] for node in "abc"}

    async def live(node: str) -> None:
        lease = await world.lease(node)
        for socket_id, user, grace in plans[node]:
            if user:
                await world.join(lease, socket_id, user)
            else:
                await world.leave(lease, socket_id, grace=grace)

    async def interfere() -> None:
        for _ in range(60):
            world.end_graces()
            await world.store.finish(APP, ROOM)
            await world.store.sweep()

    await asyncio.gather(*(live(node) for node in plans), interfere(), interfere())

    heard: list[str] = []
    deltas = world.deltas()
    for delta in deltas:
        if delta.event == "pusher_internal:member_added":
            assert delta.user_id not in heard
            heard.append(delta.user_id)
        else:
            heard.remove(delta.user_id)
    first = deltas[0].version
    assert [delta.version for delta in deltas] == list(range(first, first + len(deltas)))
    assert await world.users() == heard
    world.close()


def _step(chance: random.Random) -> tuple[str, str, float]:
    """Return a socket id, who joins with it (nobody: it leaves), and a grace."""
    user = chance.choice(["ada", "bob", "eve", "", ""])
    return f"1.{chance.randint(1, 3)}", user, chance.choice([0.0, GRACE])
