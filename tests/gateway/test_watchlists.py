"""Who watches a user hears of each coming and going once, over all gateways."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.drivers.redis.online import RedisOnline
from broadcaster.protocol.app import AppLimits
from tests.gateway.processes import serve_process
from tests.gateway.world import APP, running_gateway
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.errors import DriverError
    from broadcaster.testing.client import PusherClient
    from tests.faults import FaultyServer
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

pytestmark = pytest.mark.redis

EVENTS = "pusher_internal:watchlist_events"
CAME, WENT = "online", "offline"
NOISE = 3.0  # for a machine that is busy with other things


async def watches(client: PusherClient, *user_ids: str, name: str = "watcher") -> None:
    await client.sign_in({"id": name, "watchlist": list(user_ids)})


async def heard(client: PusherClient, count: int, within: float = 10.0) -> list[Any]:
    """Wait until `count` changes were told; return all that were."""
    await eventually(lambda: len(client.watched()) >= count, within=within)
    await client.settle()
    return client.watched()


async def comes_and_goes(gateway: RunningGateway, watcher: PusherClient, name: str) -> None:
    """Return when it is told that a watched user went: who left here before them is told too."""
    await gateway.node.users.settled(within=5)
    async with gateway.connect() as client:
        await client.sign_in({"id": name})
    await eventually(lambda: (WENT, [name]) in watcher.watched())


async def test_who_is_online_already_is_told_in_one_event(any_gateway: RunningGateway) -> None:
    async with any_gateway.connect() as ada, any_gateway.connect() as bob:
        await ada.sign_in({"id": "ada"})
        await bob.sign_in({"id": "bob"})
        await any_gateway.node.users.settled(within=5)
        async with any_gateway.connect() as watcher:
            await watches(watcher, "ada", "eve", "bob")
            event = await watcher.next(EVENTS)
            told = await heard(watcher, 1)

    assert event.channel is None
    assert event.data == {"events": [{"name": CAME, "user_ids": ["ada", "bob"]}]}
    assert told == [(CAME, ["ada", "bob"])]


async def test_coming_and_going_is_told_once_on_every_gateway(start_gateway: StartGateway) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as here, right.connect() as there:
        await watches(here, "ada", "bob")
        await watches(there, "ada", name="other")
        async with left.connect() as ada:
            await ada.sign_in({"id": "ada"})
            assert await heard(here, 1) == [(CAME, ["ada"])]
            assert await heard(there, 1) == [(CAME, ["ada"])]
        assert await heard(here, 2) == [(CAME, ["ada"]), (WENT, ["ada"])]
        assert await heard(there, 2) == [(CAME, ["ada"]), (WENT, ["ada"])]


async def test_a_user_is_online_until_their_last_connection_anywhere_is_gone(
    start_gateway: StartGateway,
) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as watcher:
        await watches(watcher, "ada", "bob", "eve")
        async with right.connect() as third:
            async with left.connect() as first, right.connect() as second:
                for client in (first, second, third):
                    await client.sign_in({"id": "ada"})
                await heard(watcher, 1)
            await comes_and_goes(left, watcher, "bob")
            await comes_and_goes(right, watcher, "eve")
            meanwhile = await heard(watcher, 5)
        at_last = await heard(watcher, 6)

    assert [told for told in meanwhile if told[1] == ["ada"]] == [(CAME, ["ada"])]
    assert at_last == [*meanwhile, (WENT, ["ada"])]


async def test_a_reload_within_the_grace_goes_unnoticed(start_gateway: StartGateway) -> None:
    left, right = await start_gateway(grace=1.5), await start_gateway(grace=1.5)
    async with left.connect() as watcher:
        await watches(watcher, "ada", "bob")
        async with left.connect() as ada:
            await ada.sign_in({"id": "ada"})
            await heard(watcher, 1)
        async with right.connect() as ada:
            await ada.sign_in({"id": "ada"})
            await comes_and_goes(left, watcher, "bob")
            told = await heard(watcher, 3)
        at_last = await heard(watcher, 4)

    assert told == [(CAME, ["ada"]), (CAME, ["bob"]), (WENT, ["bob"])]
    assert at_last == [*told, (WENT, ["ada"])]


async def test_a_user_may_watch_themselves(gateway: RunningGateway) -> None:
    async with gateway.connect() as ada:
        await ada.sign_in({"id": "ada", "watchlist": ["ada"]})
        assert await heard(ada, 1) == [(CAME, ["ada"])]


async def test_those_who_come_in_one_moment_are_told_together_or_in_turn(
    gateway: RunningGateway,
) -> None:
    names = [f"user-{i}" for i in range(20)]
    async with AsyncExitStack() as stack, gateway.connect() as watcher:
        await watches(watcher, *names)
        clients = [await stack.enter_async_context(gateway.connect()) for _ in names]
        await asyncio.gather(
            *(c.sign_in({"id": name}) for c, name in zip(clients, names, strict=True))
        )
        await eventually(lambda: len([u for _, us in watcher.watched() for u in us]) >= 20)
        await watcher.settle()
        told = watcher.watched()

    assert {event for event, _ in told} == {CAME}
    assert sorted(user for _, users in told for user in users) == sorted(names)


async def test_who_watched_and_is_gone_costs_nothing_any_more(gateway: RunningGateway) -> None:
    async with gateway.connect() as watcher:
        await watches(watcher, *(f"user-{i}" for i in range(100)))
        await eventually(lambda: len(gateway.node.hub.channels) == 101)

    await eventually(lambda: not gateway.node.hub.channels)
    lists = gateway.node.users._watchlists
    assert (lists._watched, lists._watchers, lists._unread) == ({}, {}, {})
    online = gateway.node.users._online
    await eventually(lambda: not (online._indexed or online._entered or online._counts))


async def test_online_lists_are_no_channels(gateway: RunningGateway) -> None:
    """Nobody can subscribe to them, publish to them, or see them."""
    async with gateway.connect() as watcher:
        await watches(watcher, "ada")
        await gateway.node.users.settled(within=5)
        await watcher.subscribe("#online-ada", wait=False)
        refused = await watcher.next("pusher:subscription_error")
        published = await gateway.publish("#online-ada", "hello")
        await gateway.node.counts_settled()
        channels = (await gateway.get("/channels")).json()["channels"]

    assert refused.data["status"] == 4009
    assert published.status_code == 400
    assert not any(name.startswith("#online-") for name in channels)


async def test_a_backend_may_ask_who_is_online(
    gateway: RunningGateway, clients: RedisClients
) -> None:
    reader = RedisOnline(clients)
    async with gateway.connect() as ada:
        before = await reader.aonline(APP.id, ["ada"])
        await ada.sign_in({"id": "ada"})
        await gateway.node.users.settled(within=5)
        assert await reader.aonline(APP.id, ["bob", "ada"]) == [False, True]
        assert before == [False]

    await eventually_async(lambda: _is_gone(reader))


async def _is_gone(reader: RedisOnline) -> bool:
    return await reader.aonline(APP.id, ["ada"]) == [False]


async def test_an_app_without_watchlists_writes_none(start_gateway: StartGateway) -> None:
    app = replace(APP, limits=replace(AppLimits(), watchlist=0))
    gateway = await start_gateway(app=app)
    async with gateway.connect() as client:
        await client.sign_in({"id": "ada", "watchlist": ["bob"]})
        error = await client.next("pusher:error")

        assert error.data["code"] == 4302
        assert gateway.node.users._online._counts == {}


# -- faults ---------------------------------------------------------------------------


@pytest.mark.process
async def test_users_of_a_killed_gateway_are_told_as_offline_once(
    start_gateway: StartGateway, redis_url: str, prefix: str
) -> None:
    """Within the lease and two seconds; who is signed in elsewhere too stays online."""
    lease = 2.0
    survivor = await start_gateway(lease=lease)
    async with (
        serve_process(redis_url, prefix, lease=lease) as victim,
        survivor.connect() as watcher,
        survivor.connect() as second_tab,
        victim.connect() as ada,
        victim.connect() as bob,
    ):
        await watches(watcher, "ada", "bob")
        await ada.sign_in({"id": "ada"})
        await bob.sign_in({"id": "bob"})
        await second_tab.sign_in({"id": "bob"})
        await eventually(lambda: len([u for _, us in watcher.watched() for u in us]) == 2)
        await survivor.node.users.settled(within=5)
        victim.kill()
        killed = time.monotonic()
        await eventually(lambda: (WENT, ["ada"]) in watcher.watched())
        took = time.monotonic() - killed
        await second_tab.settle()
        told = [(event, user) for event, users in watcher.watched() for user in users]

    assert took < lease + 2 + NOISE
    assert sorted(told) == [(WENT, "ada"), (CAME, "ada"), (CAME, "bob")]


@pytest.mark.process
async def test_users_of_a_paused_gateway_are_online_again_when_it_is_back(
    start_gateway: StartGateway, redis_url: str, prefix: str
) -> None:
    survivor = await start_gateway(lease=1.0)
    async with (
        serve_process(redis_url, prefix, lease=1.0) as sleeper,
        survivor.connect() as watcher,
        sleeper.connect() as ada,
        sleeper.connect() as sleeping_watcher,
    ):
        await watches(watcher, "ada")
        await ada.sign_in({"id": "ada"})
        await heard(watcher, 1)
        await watches(sleeping_watcher, "ada", "watcher", name="sleeping")
        assert await heard(sleeping_watcher, 1) == [(CAME, ["ada", "watcher"])]
        with sleeper.paused():
            await heard(watcher, 2)
        told = await heard(watcher, 3)
        await sleeping_watcher.settle()
        theirs = [(event, user) for event, us in sleeping_watcher.watched() for user in us]

    assert told == [(CAME, ["ada"]), (WENT, ["ada"]), (CAME, ["ada"])]
    # What it tells its own watchers ends with the truth, and never says one thing twice.
    assert [event for event, user in theirs if user == "ada"][-1] == CAME
    assert [event for event, user in theirs if user == "watcher"] == [CAME]


async def test_an_emptied_redis_changes_nobodys_state(
    redis_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who were online still are, and it is not said again; who left meanwhile is gone."""
    monkeypatch.setattr("broadcaster.gateway.watchlists.RECOVERY_SECONDS", 2.0)
    async with (
        running_gateway(redis_server.url, "lost", lease=1.5) as left,
        running_gateway(redis_server.url, "lost", lease=1.5) as right,
        left.connect() as watcher,
        right.connect() as ada,
        AsyncExitStack() as stack,
    ):
        bob = await stack.enter_async_context(right.connect())
        await watches(watcher, "ada", "bob")
        await ada.sign_in({"id": "ada"})
        await bob.sign_in({"id": "bob"})
        await eventually(lambda: len([u for _, us in watcher.watched() for u in us]) == 2)
        redis_server.restart(keep_data=False)
        await stack.aclose()
        await eventually(lambda: (WENT, ["bob"]) in watcher.watched(), within=20)
        await eventually(lambda: not left.node.reasons() and not right.node.reasons())
        async with left.connect() as late:
            await watches(late, "ada", "bob", name="late")
            assert await heard(late, 1) == [(CAME, ["ada"])]
        told = [(event, user) for event, users in watcher.watched() for user in users]

    assert sorted(told) == [(WENT, "bob"), (CAME, "ada"), (CAME, "bob")]


async def test_what_changed_while_redis_was_frozen_is_told_afterwards(
    redis_server: FaultyServer,
) -> None:
    async with (
        running_gateway(redis_server.url, "frozen", lease=15) as gateway,
        gateway.connect() as watcher,
        gateway.connect() as bob,
        AsyncExitStack() as stack,
    ):
        ada = await stack.enter_async_context(gateway.connect())
        await watches(watcher, "ada", "bob")
        await ada.sign_in({"id": "ada"})
        await heard(watcher, 1)
        online: Any = gateway.node.users._online
        given_up, failed = asyncio.Event(), online._failed

        async def noticed(error: DriverError) -> None:
            given_up.set()
            await failed(error)

        online._failed = noticed
        redis_server.freeze()
        try:
            await stack.aclose()
            await bob.sign_in({"id": "bob"}, wait=False)
            async with asyncio.timeout(20):
                await given_up.wait()
        finally:
            redis_server.thaw()
        told = await heard(watcher, 3)

    assert sorted(told[1:]) == [(WENT, ["ada"]), (CAME, ["bob"])]


async def test_what_is_published_while_pubsub_is_down_is_found_out(
    start_gateway: StartGateway,
) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as watcher, right.connect() as ada:
        await watches(watcher, "ada", "bob")
        back = await left.without_pubsub()
        await ada.sign_in({"id": "ada"})
        await right.node.users.settled(within=5)
        async with right.connect() as bob:
            await bob.sign_in({"id": "bob"})
            await right.node.users.settled(within=5)
        online = right.node.users._online
        await eventually(lambda: "bob" not in {user.user_id for user in online._indexed})
        back.set()

        assert await heard(watcher, 1) == [(CAME, ["ada"])]


async def test_a_stopped_gateway_leaves_its_users_time_to_come_back(
    start_gateway: StartGateway, redis_url: str, prefix: str
) -> None:
    """A deploy: nobody who reconnects is told as gone."""
    stays = await start_gateway(grace=2.0)
    async with (
        AsyncExitStack() as stack,
        stays.connect() as watcher,
        stays.connect() as ada,
    ):
        await watches(watcher, "ada", "bob")
        async with running_gateway(redis_url, prefix, grace=2.0) as stops:
            old = await stack.enter_async_context(stops.connect())
            await old.sign_in({"id": "ada"})
            await heard(watcher, 1)
        assert (await old.wait_closed())[0] == 4200
        await ada.sign_in({"id": "ada"})
        async with stays.connect() as bob:
            await bob.sign_in({"id": "bob"})
        await eventually(lambda: (WENT, ["bob"]) in watcher.watched())

    assert watcher.watched() == [(CAME, ["ada"]), (CAME, ["bob"]), (WENT, ["bob"])]


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_watchers_are_told_changes_alone_and_end_with_the_truth(
    redis_server: FaultyServer, seed: int
) -> None:
    """Users come and go on two gateways while pub/sub connections and Redis itself fail."""
    chance = random.Random(seed)
    names = ["ada", "bob", "eve"]
    async with (
        running_gateway(redis_server.url, "churn", lease=15, grace=0.1) as left,
        running_gateway(redis_server.url, "churn", lease=15, grace=0.1) as right,
        left.connect() as one,
        right.connect() as two,
    ):
        gateways = (left, right)
        await watches(one, *names, name="one")
        await watches(two, *names, name="two")
        here: list[tuple[str, AsyncExitStack]] = []
        for _ in range(60):
            await asyncio.sleep(chance.random() * 0.05)
            what = chance.random()
            if what < 0.05:
                subscriptions: Any = chance.choice(gateways).node._subscriptions
                if subscriptions._link is not None:
                    subscriptions._link.abort()
            elif what < 0.08:
                redis_server.freeze()
                await asyncio.sleep(chance.random() * 0.4)
                redis_server.thaw()
            elif what < 0.5 and here:
                _, stack = here.pop(chance.randrange(len(here)))
                await stack.aclose()
            else:
                stack, name = AsyncExitStack(), chance.choice(names)
                client = await stack.enter_async_context(chance.choice(gateways).connect())
                await client.sign_in({"id": name})
                here.append((name, stack))
        truth = {name for name, _ in here}
        await eventually(lambda: _told(one) == truth and _told(two) == truth)
        await one.settle()
        for _, stack in here:
            await stack.aclose()
        await eventually(lambda: not (_told(one) or _told(two)))

    for watcher in (one, two):
        for name in names:
            events = [event for event, users in watcher.watched() if name in users]
            assert events == [CAME, WENT] * (len(events) // 2)


def _told(watcher: PusherClient) -> set[str]:
    """Who is online, by what a watcher was told."""
    online: set[str] = set()
    for event, users in watcher.watched():
        online = online | set(users) if event == CAME else online - set(users)
    return online
