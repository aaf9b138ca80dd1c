"""Joins and leaves of one node, against a store that answers when the test lets it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from broadcaster.contracts.presence import Lease, Member, Refused, Snapshot
from broadcaster.errors import DriverError, DriverRefused, DriverUnavailable
from broadcaster.gateway import presence
from broadcaster.gateway.presence import Rosters
from broadcaster.gateway.tasks import TaskOwner
from broadcaster.hub.channel import Joining
from broadcaster.hub.hub import Hub
from broadcaster.protocol.envelope import START
from broadcaster.protocol.session import Join, Session
from broadcaster.protocol.subscription_auth import Verified
from tests.gateway.world import APP
from tests.hub.subscribers import Owner
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.lease import LeaseKeeper
    from broadcaster.protocol.app import App

NAME = "presence-a"
TOPIC = b"t:presence-a"
ADA = Member("ada", '{"user_id":"ada"}')
SUBSCRIBE = b'{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"k:s"}}'
UNSUBSCRIBE = b'{"event":"pusher:unsubscribe","data":{"channel":"presence-a"}}'


class GatedStore:
    """Answers joins in turn, each when `gate` was released once more."""

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(0)
        self.answers: list[Snapshot | Refused | DriverError] = []
        self.calls: list[str] = []

    async def join(self, *_: object, **__: object) -> Snapshot | Refused:
        self.calls.append("join")
        await self.gate.acquire()
        answer = self.answers.pop(0) if self.answers else Snapshot(1, {"ada": ADA.data})
        if isinstance(answer, DriverError):
            raise answer
        return answer

    async def leave(self, *_: object, **__: object) -> None:
        self.calls.append("leave")

    async def finish(self, *_: object) -> None:
        self.calls.append("finish")

    async def index_add(self, *_: object) -> None:
        self.calls.append("index_add")

    async def index_remove(self, *_: object) -> None:
        self.calls.append("index_remove")


class HeldLease:
    async def current(self) -> Lease:
        return Lease("node", 1, 0)

    def wake(self) -> None: ...


class Caller:
    """A connection as the rosters see it."""

    def __init__(self, socket_id: str, app: App = APP) -> None:
        self.app = app
        self.socket_id = socket_id
        self.paused = False
        self.session = Session(app, socket_id, _verified)
        self.sent: list[bytes] = []

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.sent.append

    def deliver(self, data: bytes) -> None:
        self.sent.append(data)

    def send_raw(self, data: bytes) -> None:
        self.sent.append(data)

    def joined(self, channel: str, generation: int, frame: bytes) -> None:
        self.act(self.session.joined(channel, generation, frame))

    def act(self, effects: list[Any]) -> None:
        self.sent += [effect.frame for effect in effects if hasattr(effect, "frame")]


def _verified(
    _auth: str, _channel: str, _channel_data: str | None, _held_since: float | None
) -> Verified:
    return Verified(ADA.data, 0, "ada")


class World:
    def __init__(self) -> None:
        self.hub = Hub(Owner())
        self.store = GatedStore()
        self.tasks = TaskOwner()
        self.rosters = Rosters(
            self.hub,
            cast("PresenceStore", self.store),
            cast("LeaseKeeper", HeldLease()),
            self.tasks,
            grace=0.0,
            wake=lambda _: None,
            entered=self._note_entered,
        )

    async def _note_entered(self, app_id: str, name: str, topic: bytes) -> None:
        assert (app_id, name, topic) == (APP.id, NAME, TOPIC)
        self.store.calls.append("entered")

    def subscribe(self, caller: Caller) -> None:
        """What a node does with the subscription once the channel is live."""
        (join,) = caller.session.received(SUBSCRIBE, 0.0)
        assert isinstance(join, Join)
        channel = self.hub.open(TOPIC, APP.id, NAME)
        if not channel.stream.live:
            channel.stream.acknowledged()
            channel.stream.checked(START, [])
        channel.joining[caller] = Joining()
        self.rosters.join(channel, cast("Connection", caller), join.generation, ADA)

    def unsubscribe(self, caller: Caller) -> None:
        caller.session.received(UNSUBSCRIBE, 0.0)
        self.hub.remove(TOPIC, caller)
        self.rosters.leave(TOPIC, APP.id, NAME, caller.socket_id)


async def test_a_join_given_up_and_asked_for_again_is_answered_once_and_in_the_end() -> None:
    world, caller, other = World(), Caller("1.1"), Caller("2.2")
    world.subscribe(caller)
    await eventually(lambda: "join" in world.store.calls)
    world.subscribe(other)  # keeps the channel open
    world.unsubscribe(caller)
    world.subscribe(caller)

    for _ in range(2):  # the one given up, and the other one's, which stands before the leave
        world.store.gate.release()
    await eventually(lambda: "leave" in world.store.calls)
    subscribed_by_old_answer = caller in world.hub.channels[TOPIC].subscribers
    world.store.gate.release()
    await eventually(lambda: any(b"subscription_succeeded" in sent for sent in caller.sent))
    await world.tasks.aclose()

    assert not subscribed_by_old_answer
    assert len(caller.sent) == 1
    assert caller in world.hub.channels[TOPIC].subscribers


async def test_a_refusal_of_a_join_given_up_does_not_end_the_next_one() -> None:
    world, caller, other = World(), Caller("1.1"), Caller("2.2")
    world.store.answers.append(Refused(100))
    world.subscribe(caller)
    await eventually(lambda: "join" in world.store.calls)
    world.subscribe(other)
    world.unsubscribe(caller)
    world.subscribe(caller)

    for _ in range(3):
        world.store.gate.release()
    await eventually(lambda: any(b"subscription_succeeded" in sent for sent in caller.sent))
    await world.tasks.aclose()

    assert len(caller.sent) == 1


async def test_a_join_that_redis_refuses_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(presence, "REFUSED_SECONDS", 0.0)
    world, one = World(), Caller("1.1")
    world.store.answers.append(DriverRefused("WRONGTYPE"))
    world.subscribe(one)
    for _ in range(2):
        world.store.gate.release()

    await eventually(lambda: one in world.hub.channels[TOPIC].subscribers)
    await world.tasks.aclose()

    assert "presence of presence-a waits: WRONGTYPE" in caplog.text


async def test_joins_are_repeated_when_none_of_them_is_under_way_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One left behind could reach Redis after the leave that follows it: a ghost member."""
    monkeypatch.setattr(presence, "RETRY_SECONDS", 0.0)
    world, one, other = World(), Caller("1.1"), Caller("2.2")
    world.store.answers.append(DriverUnavailable("away"))
    world.subscribe(one)
    world.subscribe(other)
    await eventually(lambda: world.store.calls.count("join") == 2)

    world.store.gate.release()
    for _ in range(20):
        await asyncio.sleep(0)
    joins_while_one_is_out = world.store.calls.count("join")
    for _ in range(3):
        world.store.gate.release()
    await eventually(lambda: other in world.hub.channels[TOPIC].subscribers)
    await world.tasks.aclose()

    assert joins_while_one_is_out == 2
    assert one in world.hub.channels[TOPIC].subscribers


async def test_the_first_member_here_is_counted_before_they_hear_of_success() -> None:
    """Also when they left while they were joining; the second one here changes nothing."""
    app = replace(APP, server_events=True)
    world, one, other, late = World(), *(Caller(f"{n}.{n}", app) for n in (1, 2, 3))
    world.subscribe(one)
    await eventually(lambda: world.store.calls == ["index_add", "join"])
    world.subscribe(other)
    world.unsubscribe(one)
    for _ in range(3):
        world.store.gate.release()
    await eventually(lambda: other in world.hub.channels[TOPIC].subscribers)
    world.subscribe(late)
    await eventually(lambda: late in world.hub.channels[TOPIC].subscribers)
    await world.tasks.aclose()

    joins = [call for call in world.store.calls if call in ("join", "entered")]
    assert joins == ["join", "entered", "join", "entered", "join"]


async def test_who_is_refused_is_not_counted_as_having_come() -> None:
    world, one = World(), Caller("1.1", replace(APP, server_events=True))
    world.store.answers.append(Refused(100))
    world.subscribe(one)
    world.store.gate.release()
    await eventually(lambda: one.sent)
    await world.tasks.aclose()

    assert "entered" not in world.store.calls
