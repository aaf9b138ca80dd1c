"""What watchers are told when reads, changes and interruptions cross each other."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.contracts.presence import Snapshot
from broadcaster.errors import DriverError, DriverRefused, DriverUnavailable
from broadcaster.gateway.tasks import TaskOwner
from broadcaster.gateway.watchlists import Watchlists
from broadcaster.hub.hub import Hub
from broadcaster.protocol.app import App
from broadcaster.protocol.envelope import NO_ID, START, Envelope, Flag
from broadcaster.protocol.watchlist import CAME, LEFT
from tests.hub.subscribers import Owner
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.hub.channel import LocalChannel

pytestmark = pytest.mark.filterwarnings("error")


class Watcher:
    """A connection that keeps what it was told."""

    def __init__(self) -> None:
        self.app = App(id="1", key="k", secret="s")
        self.told: list[list[tuple[str, list[str]]]] = []

    def send(self, frame: bytes) -> None:
        events = json.loads(json.loads(frame)["data"])["events"]
        self.told.append([(event["name"], event["user_ids"]) for event in events])


class ListStore:
    """Lists by name; a read is answered as of the moment when `gate` is passed."""

    def __init__(self) -> None:
        self.lists: dict[str, tuple[int, bool]] = {}
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[DriverError] = []
        self.broken = ""

    async def snapshots(self, _app_id: str, names: Sequence[str]) -> list[Snapshot]:
        self.reads += 1
        answers = [self._snapshot(name) for name in names]
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.broken in names:
            raise DriverRefused("wrong type")
        return answers

    def _snapshot(self, name: str) -> Snapshot:
        version, online = self.lists.get(name, (0, False))
        user_id = name.removeprefix("#online-")
        return Snapshot(version, {user_id: "{}"} if online else {})


class Confirmed:
    async def confirm(self) -> None:
        await asyncio.sleep(0)


class LiveOwner(Owner):
    """Acknowledges what is opened when the test says so, or at once."""

    def call_soon(self, callback: Any) -> None:
        asyncio.get_running_loop().call_soon(callback)


class World:
    def __init__(self) -> None:
        self.hub = Hub(LiveOwner())
        self.store = ListStore()
        self.tasks = TaskOwner()
        self.lists = Watchlists(
            self.hub,
            cast("Any", self.store),
            cast("Any", Confirmed()),
            self.tasks,
            topic=lambda app_id, name: f"{app_id}:{name}".encode(),
        )

    def watch(self, *user_ids: str) -> Watcher:
        watcher = Watcher()
        self.lists.watch(cast("Any", watcher), user_ids)
        return watcher

    def channel(self, user_id: str) -> LocalChannel:
        return self.hub.channels[f"1:#online-{user_id}".encode()]

    def acknowledge(self, *user_ids: str) -> None:
        for user_id in user_ids:
            channel = self.channel(user_id)
            self.hub.acknowledged(channel.topic)
            self.hub.checked(channel, START, [])

    def says(self, user_id: str, version: int, *, online: bool) -> None:
        """What a user's list publishes."""
        frame = CAME if online else LEFT
        self.hub.received(
            self.channel(user_id).topic,
            Envelope(Flag.PRESENCE, version, 0, NO_ID, NO_ID, "node", frame),
        )

    async def read(self, count: int) -> None:
        await eventually(lambda: self.store.reads >= count)
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name in ("RETRY_SECONDS", "REFUSED_SECONDS", "RECOVERY_SECONDS"):
        monkeypatch.setattr(f"broadcaster.gateway.watchlists.{name}", 0.001)
    made = World()
    made.tasks.keep(made.lists.run, "watchlists")
    yield made
    await made.tasks.aclose()


async def test_nothing_is_told_before_everybody_on_the_list_is_known(world: World) -> None:
    world.store.lists["#online-ada"] = (5, True)
    watcher = world.watch("ada", "bob")
    world.acknowledge("ada")
    await world.read(1)
    world.says("ada", 6, online=False)
    world.says("ada", 7, online=True)
    before = list(watcher.told)
    world.acknowledge("bob")
    await world.read(2)

    assert before == []
    assert watcher.told == [[("online", ["ada"])]]


async def test_a_second_watcher_is_told_what_the_node_knows(world: World) -> None:
    world.store.lists["#online-ada"] = (5, True)
    world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)

    second = world.watch("ada")

    assert second.told == [[("online", ["ada"])]]
    assert world.store.reads == 1


async def test_what_came_while_the_list_was_read_is_newer_than_the_answer(world: World) -> None:
    world.store.lists["#online-ada"] = (5, True)
    world.store.gate.clear()
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)
    world.says("ada", 6, online=False)
    world.store.gate.set()
    await world.read(1)
    world.says("ada", 7, online=True)
    await world.read(1)

    assert watcher.told == [[("online", ["ada"])]]
    assert world.channel("ada").roster == 7


async def test_what_the_answer_knows_already_is_not_told_again(world: World) -> None:
    world.store.lists["#online-ada"] = (6, False)
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)
    world.says("ada", 5, online=True)
    world.says("ada", 6, online=False)
    await world.read(1)

    assert watcher.told == []


async def test_changes_of_one_tick_are_one_event_and_what_cancels_out_is_none(
    world: World,
) -> None:
    world.store.lists["#online-bob"] = (1, True)
    watcher = world.watch("ada", "bob", "eve")
    world.acknowledge("ada", "bob", "eve")
    await world.read(1)
    world.says("ada", 1, online=True)
    world.says("bob", 2, online=False)
    world.says("eve", 1, online=True)
    world.says("eve", 2, online=False)
    await world.read(1)

    assert watcher.told == [
        [("online", ["bob"])],
        [("online", ["ada"]), ("offline", ["bob"])],
    ]


async def test_a_missing_change_is_read_and_told_once(world: World) -> None:
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)
    world.store.lists["#online-ada"] = (3, True)
    world.says("ada", 3, online=True)  # the hub holds it back: versions 1 and 2 are missing
    world.lists.refresh(world.channel("ada"))
    await world.read(2)
    world.says("ada", 4, online=False)
    await world.read(2)

    assert watcher.told == [[("online", ["ada"])], [("offline", ["ada"])]]


async def test_an_interruption_is_followed_by_a_read(world: World) -> None:
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)
    world.hub.interrupted()
    world.store.lists["#online-ada"] = (9, True)
    world.acknowledge("ada")
    world.lists.refresh(world.channel("ada"))
    await world.read(2)

    assert watcher.told == [[("online", ["ada"])]]


async def test_a_list_that_was_read_while_the_connection_fell_is_read_again(world: World) -> None:
    world.store.gate.clear()
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)
    world.hub.interrupted()
    world.store.lists["#online-ada"] = (9, True)
    world.store.gate.set()
    await world.read(2)

    assert watcher.told == [[("online", ["ada"])]]


async def test_after_data_loss_lists_are_believed_whatever_their_version(world: World) -> None:
    world.store.lists["#online-ada"] = (50, True)
    watcher = world.watch("ada", "bob")
    world.acknowledge("ada", "bob")
    await world.read(1)
    world.store.lists = {"#online-bob": (3, True)}
    world.lists.recover(data_lost=True)
    await world.read(2)
    await eventually(lambda: len(watcher.told) == 2)
    world.says("bob", 4, online=False)
    await eventually(lambda: len(watcher.told) == 3)

    assert watcher.told == [
        [("online", ["ada"])],
        [("online", ["bob"]), ("offline", ["ada"])],
        [("offline", ["bob"])],
    ]


@pytest.mark.parametrize("failure", [DriverUnavailable("away"), DriverRefused("wrong type")])
async def test_a_read_that_fails_is_repeated(world: World, failure: DriverError) -> None:
    world.store.failures = [failure, failure]
    world.store.lists["#online-ada"] = (1, True)
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await eventually(lambda: watcher.told)

    assert watcher.told == [[("online", ["ada"])]]
    assert world.store.reads == 3


async def test_a_change_that_passes_a_read_after_a_new_lease_is_believed(world: World) -> None:
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)
    world.store.gate.clear()
    world.lists.recover(data_lost=False)
    await eventually(lambda: world.store.reads == 2)
    world.store.lists["#online-ada"] = (1, True)
    world.says("ada", 1, online=True)
    world.hub.flush()
    world.store.gate.set()
    await world.read(3)

    assert watcher.told == [[("online", ["ada"])]]


async def test_who_is_gone_before_the_answer_comes_is_told_nothing(world: World) -> None:
    world.store.lists["#online-ada"] = (1, True)
    world.store.gate.clear()
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)
    world.lists.forget(cast("Any", watcher))
    world.store.gate.set()
    await world.read(1)

    assert watcher.told == []
    assert world.hub.channels == {}


async def test_a_list_watched_anew_while_it_is_read_for_somebody_gone_is_read_anew(
    world: World,
) -> None:
    world.store.gate.clear()
    gone = world.watch("ada")
    world.acknowledge("ada")
    await world.read(1)
    world.lists.forget(cast("Any", gone))
    world.store.lists["#online-ada"] = (2, True)
    watcher = world.watch("ada")
    world.acknowledge("ada")
    world.store.gate.set()
    await eventually(lambda: watcher.told)

    assert watcher.told == [[("online", ["ada"])]]


async def test_who_forgets_twice_or_never_watched_harms_nobody(world: World) -> None:
    watcher = world.watch()
    world.lists.forget(cast("Any", watcher))
    world.lists.forget(cast("Any", watcher))

    assert world.hub.channels == {}


async def test_a_watcher_who_is_closed_by_what_it_is_told_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store.lists["#online-ada"] = (1, True)
    slow, other = world.watch("ada"), world.watch("ada")

    def over_its_bound(_frame: bytes) -> None:
        world.lists.forget(cast("Any", slow))

    monkeypatch.setattr(slow, "send", over_its_bound)
    world.acknowledge("ada")
    await world.read(1)

    assert other.told == [[("online", ["ada"])]]


async def test_what_was_to_be_read_is_read_although_a_bug_ended_the_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.gateway.tasks.RESTART_SECONDS", 0.001)
    world.store.failures = [cast("Any", RuntimeError("bug"))]
    world.store.lists["#online-ada"] = (1, True)
    watcher = world.watch("ada")
    world.acknowledge("ada")
    await eventually(lambda: watcher.told)

    assert watcher.told == [[("online", ["ada"])]]


async def test_a_list_that_is_refused_holds_up_no_other(world: World) -> None:
    world.store.lists = {"#online-ada": (1, True), "#online-bob": (1, True)}
    world.store.broken = "#online-bob"
    watcher, unlucky = world.watch("ada"), world.watch("ada", "bob")
    world.acknowledge("ada", "bob")
    await eventually(lambda: watcher.told)
    before = list(unlucky.told)

    world.store.broken = ""
    await eventually(lambda: unlucky.told)

    assert watcher.told == [[("online", ["ada"])]]
    assert before == []
    assert unlucky.told == [[("online", ["ada", "bob"])]]
