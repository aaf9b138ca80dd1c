"""What one node tells the presence store, in which order, and how often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.contracts.presence import Joining as Joined
from broadcaster.contracts.presence import Lease, Member, Refused, Snapshot
from broadcaster.errors import DriverRefused, DriverUnavailable, LeaseLost
from broadcaster.gateway import presence
from broadcaster.gateway.presence import Rosters
from broadcaster.gateway.tasks import TaskOwner
from broadcaster.hub.channel import Joining
from broadcaster.protocol import close_codes
from broadcaster.protocol.envelope import NO_ID, START, Envelope, Flag
from broadcaster.protocol.session import Join
from broadcaster.protocol.subscription_auth import Verified
from tests.gateway.fakes import FakeNode, FakeTransport, close_code
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.outbox import Source
    from broadcaster.gateway.socket import Socket

NAME, TOPIC = "presence-a", b"t:presence-a"
ADA = Member("ada", '{"user_id":"ada"}')
SUBSCRIBE = b'{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"k:s"}}'
UNSUBSCRIBE = b'{"event":"pusher:unsubscribe","data":{"channel":"presence-a"}}'


class ScriptedStore:
    """Says what it was asked; fails as scripted; joins wait while `gate` is shut."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.registered: list[Member] = []
        self.fail: dict[str, list[Exception]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()  # by a join of many
        self.joining, self.reading = asyncio.Event(), asyncio.Event()
        self.joining.set()
        self.reading.set()
        self.version = 1
        self.grace: float | None = None
        self.unusable = False
        self.is_full = False

    def _say(self, name: str, what: str = "") -> None:
        self.calls.append(f"{name} {what}".strip())
        if self.fail.get(name):
            raise self.fail[name].pop(0)

    async def join(self, *_: object, socket_id: str, **__: object) -> Snapshot | Refused:
        self._say("join", socket_id)
        is_full = self.is_full
        await self.gate.wait()
        await self.joining.wait()
        return Refused(1) if is_full else await self.snapshot_now()

    async def join_many(
        self, _lease: Lease, joins: Sequence[Joined], *, announce: bool
    ) -> list[DriverRefused | None]:
        self.asked.set()
        await self.gate.wait()
        self.registered += [join.member for join in joins]
        self._say("join_many", ",".join(join.socket_id for join in joins))
        self.calls.append("announced" if announce else "quiet")
        return [DriverRefused("WRONGTYPE") if self.unusable else None] * len(joins)

    async def leave(self, *_: object, socket_id: str, **__: object) -> float | None:
        self._say("leave", socket_id)
        return self.grace

    async def finish(self, *_: object) -> float | None:
        self._say("finish")
        return None

    async def index_add(self, *_: object) -> None:
        self._say("index_add")

    async def index_remove(self, *_: object) -> None:
        self._say("index_remove")

    async def snapshot(self, *_: object) -> Snapshot:
        self._say("snapshot")
        snapshot = await self.snapshot_now()
        await self.reading.wait()
        return snapshot

    async def snapshot_now(self) -> Snapshot:
        return Snapshot(self.version, {"ada": ADA.data})


class HeldLease:
    def __init__(self) -> None:
        self.woken = 0

    async def current(self) -> Lease:
        return Lease("node", 1, 0)

    async def confirm(self) -> None:
        return

    def wake(self) -> None:
        self.woken += 1


class World:
    def __init__(self) -> None:
        self.node = FakeNode()
        self.node.proved = Verified(ADA.data, 0, "ada")
        self.hub = self.node.hub
        self.store, self.lease, self.tasks = ScriptedStore(), HeldLease(), TaskOwner()
        self.woken: list[Source] = []
        self.rosters = Rosters(
            self.hub,
            cast("Any", self.store),
            cast("Any", self.lease),
            self.tasks,
            grace=0.0,
            wake=self.woken.append,
            entered=self._note_entered,
        )

    async def _note_entered(self, app_id: str, name: str, topic: bytes) -> None:
        """No app of these tests wants facts."""
        raise AssertionError((app_id, name, topic))

    def caller(self) -> Socket:
        return self.node.connection(FakeTransport())

    def subscribe(self, caller: Socket, member: Member = ADA) -> Joining:
        """What a node does with a subscription once the channel is live."""
        [join] = caller.session.received(SUBSCRIBE, 0.0)
        assert isinstance(join, Join)
        channel = self.hub.open(TOPIC, APP.id, NAME)
        if not channel.stream.live:
            channel.stream.acknowledged()
            channel.stream.checked(START, [])
        joining = channel.joining[caller] = Joining()
        self.rosters.join(channel, caller, join.generation, member)
        return joining

    def unsubscribe(self, caller: Socket) -> None:
        caller.session.received(UNSUBSCRIBE, 0.0)
        self.hub.remove(TOPIC, caller)
        self.rosters.leave(TOPIC, APP.id, NAME, caller.socket_id)

    async def settle(self) -> list[str]:
        await self.rosters.settled(within=10)
        return self.store.calls


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(presence, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(presence, "RECOVERY_SECONDS", 0.0)
    return World()


async def test_the_index_is_written_before_the_first_join_and_removed_after_the_last(
    world: World,
) -> None:
    one, other = world.caller(), world.caller()
    world.subscribe(one)
    await world.settle()
    world.subscribe(other)
    await world.settle()
    world.unsubscribe(one)
    world.unsubscribe(other)

    assert await world.settle() == [
        "index_add",
        "join 1.1",
        "join 2.1",
        "leave 1.1",
        "leave 2.1",
        "finish",
        "index_remove",
    ]


async def test_the_outbox_is_looked_at_after_each_change_if_the_app_wants_facts(
    world: World,
) -> None:
    silent, told = world.caller(), world.caller()
    told.app = replace(APP, server_events=True)
    world.subscribe(silent)
    await world.settle()
    before = list(world.woken)

    world.subscribe(told)
    await world.settle()
    joined = list(world.woken)
    world.unsubscribe(told)
    await world.settle()

    assert (before, joined) == ([], [(APP.id, NAME)])
    assert world.woken == [(APP.id, NAME)] * 2


async def test_a_leave_never_overtakes_its_join(world: World) -> None:
    caller = world.caller()
    world.store.gate.clear()
    world.subscribe(caller)
    await eventually(lambda: "join 1.1" in world.store.calls)
    world.unsubscribe(caller)
    await asyncio.sleep(0)
    before = list(world.store.calls)
    world.store.gate.set()

    calls = await world.settle()
    assert before == ["index_add", "join 1.1"]
    assert calls[2] == "leave 1.1"


async def test_a_join_that_was_given_up_before_its_turn_is_not_made(world: World) -> None:
    first, second = world.caller(), world.caller()
    world.store.gate.clear()
    world.subscribe(first)
    await eventually(lambda: "join 1.1" in world.store.calls)
    world.subscribe(second)
    world.unsubscribe(second)
    world.store.gate.set()

    calls = await world.settle()
    assert not {"join 2.1", "leave 2.1"} & set(calls)


async def test_a_leave_is_repeated_until_the_store_answers(world: World) -> None:
    caller = world.caller()
    world.subscribe(caller)
    await world.settle()
    world.store.fail["leave"] = [DriverUnavailable("away"), DriverUnavailable("away")]
    world.unsubscribe(caller)
    world.subscribe(caller)

    calls = await world.settle()
    assert calls[2:6] == ["leave 1.1", "leave 1.1", "leave 1.1", "join 1.1"]


async def test_a_write_under_a_lost_lease_wakes_the_keeper_and_is_repeated(world: World) -> None:
    world.store.fail["join"] = [LeaseLost("swept")]
    caller = world.caller()
    world.subscribe(caller)

    calls = await world.settle()
    assert calls == ["index_add", "join 1.1", "join 1.1"]
    assert world.lease.woken == 1
    assert caller.session.subscriptions[NAME].active


async def test_a_member_who_may_come_back_is_finished_later(world: World) -> None:
    caller = world.caller()
    world.subscribe(caller)
    await world.settle()
    world.store.grace = 0.0
    world.unsubscribe(caller)

    await eventually(lambda: "index_remove" in world.store.calls)
    assert world.store.calls[2:] == ["leave 1.1", "finish", "index_remove"]


async def test_who_could_not_be_kept_up_to_date_while_joining_is_closed(world: World) -> None:
    caller = world.caller()
    world.store.gate.clear()
    joining = world.subscribe(caller)
    joining.overflowed = True
    world.store.gate.set()
    await world.settle()

    transport = caller._outlet
    assert isinstance(transport, FakeTransport)
    assert close_code(close_codes.SLOW_CONSUMER, transport.written)


async def test_who_is_closed_by_the_list_is_not_left_behind_in_the_channel(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader so slow that the list of members is more than may wait for it."""
    other, caller = world.caller(), world.caller()
    world.subscribe(other)
    await world.settle()

    def closing(_connection: object) -> None:
        caller.session.subscriptions.clear()
        world.hub.remove(TOPIC, caller)
        world.rosters.leave(TOPIC, APP.id, NAME, caller.socket_id)

    def slow_consumer(_connection: object) -> None:
        caller.close(close_codes.SLOW_CONSUMER)

    monkeypatch.setattr(world.node, "closing", closing)
    monkeypatch.setattr(world.node, "slow_consumer", slow_consumer)
    caller.paused = True
    cast("FakeTransport", caller._outlet).unsent = APP.limits.max_backlog_bytes
    world.subscribe(caller)

    calls = await world.settle()

    assert calls == ["index_add", "join 1.1", "join 2.1", "leave 2.1"]
    assert list(world.hub.channels[TOPIC].subscribers) == [other]


# -- registering everything again -----------------------------------------------------


async def test_every_member_of_the_node_is_registered_again(world: World) -> None:
    for caller in (world.caller(), world.caller()):
        world.subscribe(caller)
        await world.settle()
    await world.rosters.register_all(Lease("node", 2, 0), data_lost=False)
    await eventually(lambda: "snapshot" in world.store.calls)

    assert world.store.calls[3:5] == ["join_many 1.1,2.1", "announced"]


async def test_a_list_that_cannot_be_used_is_registered_later_and_stops_no_new_lease(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, world: World
) -> None:
    monkeypatch.setattr(presence, "REFUSED_SECONDS", 0.001)
    caller = world.caller()
    world.subscribe(caller)
    await world.settle()
    world.store.unusable = True

    await world.rosters.register_all(Lease("node", 2, 0), data_lost=True)
    await eventually(lambda: world.store.calls.count("join_many 1.1") > 3)
    world.unsubscribe(caller)
    said = [record.levelname for record in caplog.records if "waits" in record.getMessage()]
    world.store.unusable = False
    await eventually(lambda: "leave 1.1" in world.store.calls)
    calls = await world.settle()

    assert "announced" not in calls
    assert said.count("WARNING") == 1
    assert calls.count("leave 1.1") == 1


async def test_who_leaves_while_being_registered_again_leaves_again(world: World) -> None:
    caller, other = world.caller(), world.caller()
    for one in (caller, other):
        world.subscribe(one)
        await world.settle()
    world.store.gate.clear()
    registering = asyncio.create_task(
        world.rosters.register_all(Lease("node", 2, 0), data_lost=False)
    )
    await asyncio.sleep(0)
    world.unsubscribe(caller)
    await eventually(lambda: world.store.calls.count("leave 1.1") == 1)
    world.store.gate.set()
    await registering
    await eventually(lambda: world.store.calls.count("leave 1.1") == 2)

    calls = await world.settle()
    assert calls.index("join_many 1.1,2.1") < len(calls) - calls[::-1].index("leave 1.1")
    assert calls[::-1].index("leave 1.1") < calls[::-1].index("join_many 1.1,2.1")


async def test_who_left_and_came_back_while_being_registered_again_stays(world: World) -> None:
    caller, other, third = world.caller(), world.caller(), world.caller()
    for one in (caller, other):
        world.subscribe(one)
        await world.settle()
    world.store.gate.clear()
    registering = asyncio.create_task(
        world.rosters.register_all(Lease("node", 2, 0), data_lost=False)
    )
    await asyncio.sleep(0)
    world.unsubscribe(caller)
    await eventually(lambda: "leave 1.1" in world.store.calls)
    world.subscribe(third)
    await eventually(lambda: "join 3.1" in world.store.calls)
    world.subscribe(caller)  # waits behind the join of the third

    world.store.gate.set()
    await registering
    calls = await world.settle()

    assert caller in world.hub.channels[TOPIC].subscribers
    assert calls[::-1].index("join 1.1") < calls[::-1].index("leave 1.1")


async def registering_again(world: World) -> asyncio.Task[None]:
    """Begin to register everybody again; the store has done it when its gate opens."""
    world.store.gate.clear()
    registering = asyncio.create_task(
        world.rosters.register_all(Lease("node", 2, 0), data_lost=False)
    )
    await world.store.asked.wait()
    return registering


async def test_who_is_all_gone_and_back_while_being_registered_again_leaves_in_the_end(
    world: World,
) -> None:
    """The store was done with the channel in between, as after the last leave."""
    caller, other = world.caller(), world.caller()
    world.subscribe(caller)
    await world.settle()
    registering = await registering_again(world)
    world.unsubscribe(caller)
    await world.settle()
    world.subscribe(other)
    world.store.gate.set()
    await registering
    await world.settle()
    came = list(world.store.calls)

    world.unsubscribe(other)
    await world.settle()

    # What was registered for nobody is removed; the index names the channel until all are gone.
    assert "leave 1.1" in came[came.index("join_many 1.1") :]
    assert "index_remove" not in came
    assert world.store.calls[len(came) :] == ["leave 2.1", "finish", "index_remove"]


async def test_who_was_registered_again_and_takes_back_another_join_is_in_no_list(
    world: World,
) -> None:
    caller, other, third = world.caller(), world.caller(), world.caller()
    for one in (caller, other):
        world.subscribe(one)
        await world.settle()
    registering = await registering_again(world)
    world.unsubscribe(caller)
    await eventually(lambda: "leave 1.1" in world.store.calls)
    world.store.joining.clear()
    world.subscribe(third)
    await eventually(lambda: "join 3.1" in world.store.calls)
    world.subscribe(caller)  # waits behind the join of the third
    world.store.gate.set()
    await registering

    world.unsubscribe(caller)
    world.store.joining.set()
    calls = await world.settle()

    assert calls[::-1].index("leave 1.1") < calls[::-1].index("join_many 1.1,2.1")


async def test_who_is_refused_while_being_registered_again_is_in_no_list(world: World) -> None:
    """Registering knows no limit: who was there before it may stay."""
    first, caller = world.caller(), world.caller()
    world.subscribe(first)
    await world.settle()
    world.store.is_full = True
    world.store.joining.clear()
    world.subscribe(caller)
    await eventually(lambda: "join 2.1" in world.store.calls)
    await world.rosters.register_all(Lease("node", 2, 0), data_lost=False)
    world.store.joining.set()

    calls = await world.settle()

    assert NAME not in caller.session.subscriptions
    assert "leave 2.1" in calls[calls.index("join_many 1.1,2.1") :]


async def test_who_is_somebody_else_while_being_registered_again_is_registered_as_that(
    world: World,
) -> None:
    caller = world.caller()
    world.subscribe(caller)
    await world.settle()
    registering = await registering_again(world)
    world.unsubscribe(caller)
    await eventually(lambda: "leave 1.1" in world.store.calls)
    world.subscribe(caller, Member("bob", "{}"))
    await eventually(lambda: world.store.calls.count("join 1.1") == 2)
    world.store.gate.set()
    await registering

    calls = await world.settle()

    assert calls.count("join_many 1.1") == 2
    assert [member.user_id for member in world.store.registered] == ["ada", "bob"]


async def test_a_channel_that_all_have_left_is_forgotten_though_registering_it_failed(
    world: World,
) -> None:
    caller = world.caller()
    world.subscribe(caller)
    await world.settle()
    world.store.fail["join_many"] = [DriverUnavailable("away")]
    registering = await registering_again(world)
    world.unsubscribe(caller)
    await world.settle()
    world.store.gate.set()
    with pytest.raises(DriverUnavailable):
        await registering
    await world.settle()

    world.rosters.leave(TOPIC, APP.id, NAME, "9.9")
    assert await world.settle() == [
        "index_add",
        "join 1.1",
        "leave 1.1",
        "finish",
        "join_many 1.1",
        "finish",
        "index_remove",
    ]


async def test_lost_data_is_registered_quietly_and_lists_follow_when_all_had_time(
    world: World,
) -> None:
    caller = world.caller()
    world.subscribe(caller)
    await world.settle()
    channel = world.hub.channels[TOPIC]
    await world.rosters.register_all(Lease("node", 2, 0), data_lost=True)
    forgotten = channel.roster
    world.store.version = 40
    await eventually(lambda: channel.roster == 40)

    transport = caller._outlet
    assert forgotten is None
    assert "quiet" in world.store.calls
    assert isinstance(transport, FakeTransport)
    assert transport.written.count(b"subscription_succeeded") == 2


# -- reading the list again -----------------------------------------------------------


async def test_a_list_is_sent_again_only_when_something_was_missed(world: World) -> None:
    caller = world.caller()
    world.subscribe(caller)
    await world.settle()
    channel = world.hub.channels[TOPIC]
    transport = caller._outlet
    assert isinstance(transport, FakeTransport)

    world.rosters.refresh(channel)
    await world.settle()
    unchanged = transport.written.count(b"subscription_succeeded")
    world.store.version = 5
    world.rosters.refresh(channel)
    await world.settle()

    assert unchanged == 1
    assert transport.written.count(b"subscription_succeeded") == 2
    assert channel.roster == 5


def delta(version: int) -> Envelope:
    """What the store publishes when a member has come."""
    return Envelope(Flag.PRESENCE, version, 0, NO_ID, NO_ID, "", b'{"event":"came"}')


@pytest.mark.parametrize("always", [False, True])
async def test_a_list_that_was_read_before_what_subscribers_know_is_not_sent(
    world: World,
    always: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Who came while it was on its way would not be in it, and nobody would say so again."""
    caller = world.caller()
    world.subscribe(caller)
    await world.settle()
    channel, transport = world.hub.channels[TOPIC], caller._outlet
    assert isinstance(transport, FakeTransport)
    world.store.reading.clear()
    world.rosters.refresh(channel, always=always)
    await eventually(lambda: "snapshot" in world.store.calls)
    world.hub.received(TOPIC, delta(2))
    world.hub.flush()
    world.store.version = 2
    world.store.reading.set()
    await eventually(lambda: world.store.calls.count("snapshot") == 1 + always)
    await world.settle()

    assert channel.roster == 2
    assert transport.written.count(b"subscription_succeeded") == 1 + always


async def test_a_list_of_a_store_that_has_forgotten_something_is_sent(world: World) -> None:
    """A replica that became the master, for example: it is as old as that for ever."""
    caller = world.caller()
    world.store.version = 7
    world.subscribe(caller)
    await world.settle()
    world.store.version = 5
    channel = world.hub.channels[TOPIC]

    world.rosters.refresh(channel)
    await world.settle()

    assert channel.roster == 5


async def test_leaving_what_was_never_joined_asks_nobody(world: World) -> None:
    world.rosters.leave(TOPIC, APP.id, NAME, "9.9")

    assert await world.settle() == []


async def test_a_fault_in_one_join_is_answered_undone_and_silences_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    unlucky, other = world.caller(), world.caller()
    world.store.fail["join"] = [ValueError("garbage")]
    world.subscribe(unlucky)
    world.subscribe(other)
    calls = await world.settle()

    assert f"leave {unlucky.socket_id}" in calls
    assert set(world.hub.channels[TOPIC].subscribers) == {other}
    assert NAME not in unlucky.session.subscriptions
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info


async def test_a_fault_before_the_join_is_answered_and_the_next_one_succeeds(world: World) -> None:
    caller = world.caller()
    world.store.fail["index_add"] = [ValueError("garbage")]
    world.subscribe(caller)
    await world.settle()
    refused = NAME not in caller.session.subscriptions
    world.subscribe(caller)
    await world.settle()

    assert refused
    assert caller in world.hub.channels[TOPIC].subscribers


async def test_a_member_in_redis_that_cannot_be_read_is_left_out_and_told_once(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def with_garbage() -> Snapshot:
        return Snapshot(1, {"ada": ADA.data, "evil": "garbage{"})

    monkeypatch.setattr(world.store, "snapshot_now", with_garbage)
    first, second = world.caller(), world.caller()
    world.subscribe(first)
    await world.settle()
    world.subscribe(second)
    await world.settle()

    assert set(world.hub.channels[TOPIC].subscribers) == {first, second}
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == [
        "presence-a: 1 members in Redis cannot be read and are left out, first 'evil'"
    ]
