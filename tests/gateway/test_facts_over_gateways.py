"""What webhooks and listeners are told, when several gateways and their deaths are involved."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.errors import DriverUnavailable
from broadcaster.gateway import outboxes
from broadcaster.protocol.facts import FACT_QUEUE
from broadcaster.testing.client import connected
from tests.drivers.redis.facts_world import Told
from tests.gateway.processes import serve_process
from tests.gateway.world import APP, running_gateway
from tests.polling import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.testing.client import PusherClient
    from tests.faults import FaultyServer
    from tests.gateway.conftest import StartGateway

pytestmark = pytest.mark.redis

TOLD_APP = replace(APP, server_events=True)
COUNTED_APP = replace(TOLD_APP, limits=replace(APP.limits, subscription_counts=True))
ADA = {"user_id": "ada", "user_info": {"name": "Ada"}}
SEVEN = {"user_id": 7}
ROOMS = ("orders", "presence-room")
COUNT = "pusher_internal:subscription_count"
ENVIRONMENT: dict[str, Any] = {
    "BROADCASTER_APP__SERVER_EVENTS": "true",
    "BROADCASTER_WEBHOOKS__DRAIN": "false",
    "BROADCASTER_GATEWAY__VACATE_GRACE": "0.5",
}


@pytest.fixture
async def own_clients(redis_server: FaultyServer, prefix: str) -> AsyncIterator[RedisClients]:
    made = RedisClients(redis_server.url, prefix)
    yield made
    await made.aclose()


async def test_comings_and_goings_over_two_gateways_are_told_once(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    left, right = [await start_gateway(app=TOLD_APP, vacate_grace=0.3) for _ in "ab"]
    told = Told(clients)

    async with left.connect() as a, right.connect() as b:
        await a.subscribe("orders")
        await b.subscribe("orders")
        await told.until("channel_occupied orders")
        await a.unsubscribe("orders")
        await a.subscribe("presence-room", SEVEN)
        await b.subscribe("presence-room", SEVEN)
        await told.until("channel_occupied presence-room", "member_added presence-room 7")
        await a.unsubscribe("presence-room")
    await told.until(
        "channel_vacated orders", "channel_vacated presence-room", "member_removed presence-room 7"
    )

    assert sorted(await told.look()) == sorted(
        [
            *("channel_occupied orders", "channel_vacated orders"),
            *("channel_occupied presence-room", "channel_vacated presence-room"),
            *("member_added presence-room 7", "member_removed presence-room 7"),
        ]
    )


async def test_visits_that_end_at_once_are_told_whole(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    gateway = await start_gateway(app=TOLD_APP, vacate_grace=0.2, grace=0.0)
    rooms = [f"presence-room{number}" for number in range(10)]
    whats = ("channel_occupied", "channel_vacated", "member_added", "member_removed")
    expected = [
        f"{what} {room} ada" if what.startswith("member") else f"{what} {room}"
        for what in whats
        for room in rooms
    ]
    told = Told(clients)

    for room in rooms:
        async with gateway.connect() as page:
            await page.subscribe(room, ADA)
    await told.until(*expected)

    assert sorted(await told.look()) == sorted(expected)


async def test_a_reload_within_the_grace_tells_nothing(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    left, right = [await start_gateway(app=TOLD_APP, vacate_grace=30, grace=30) for _ in "ab"]
    told = Told(clients)
    expected = [
        "channel_occupied presence-room",
        "channel_occupied the-end",
        "member_added presence-room ada",
    ]

    for gateway in (left, right, left):
        async with gateway.connect() as page:
            await page.subscribe("presence-room", ADA)
    async with right.connect() as page:
        await page.subscribe("the-end")
        await told.until(*expected)

    assert sorted(await told.look()) == expected


async def test_two_tabs_are_one_member(start_gateway: StartGateway, clients: RedisClients) -> None:
    left, right = [await start_gateway(app=TOLD_APP, vacate_grace=0.3) for _ in "ab"]
    told = Told(clients)

    async with left.connect() as one, right.connect() as two:
        await asyncio.gather(*(tab.subscribe("presence-room", ADA) for tab in (one, two)))
        await told.until("member_added presence-room ada")
    await told.until("member_removed presence-room ada", "channel_vacated presence-room")

    assert (await told.look()).count("member_added presence-room ada") == 1
    assert (await told.look()).count("member_removed presence-room ada") == 1


async def test_an_app_that_wants_no_facts_has_none(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    gateway = await start_gateway(vacate_grace=0.0, grace=0.0)

    async with gateway.connect() as page:
        await page.subscribe("presence-room", ADA)
        await page.subscribe("orders")
        await gateway.node.counts_settled()
        keys = [key.decode() async for key in clients.aio.scan_iter(f"{clients.prefix}:*")]

    assert not [key for key in keys if key.endswith((":told", ":facts", ":shown"))]
    assert await Told(clients).look() == []


async def test_five_hundred_channels_that_empty_at_once_are_told_once_each(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    gateway, _ = [await start_gateway(app=TOLD_APP, vacate_grace=0.2) for _ in "ab"]
    told = Told(clients)
    names = [f"room{number}" for number in range(500)]

    async with gateway.connect() as page:
        for name in names:
            await page.subscribe(name, wait=False)
        await told.until(*(f"channel_occupied {name}" for name in names))
    await told.until(*(f"channel_vacated {name}" for name in names))

    assert sorted(await told.look()) == sorted(
        f"channel_{what} {name}" for name in names for what in ("occupied", "vacated")
    )


@pytest.mark.process
async def test_a_killed_gateways_channels_and_members_are_told_once(
    start_gateway: StartGateway, redis_url: str, prefix: str, clients: RedisClients
) -> None:
    """Within the lease and some seconds; who is present elsewhere too stays."""
    lease = 2.0
    survivor = await start_gateway(app=TOLD_APP, lease=lease, vacate_grace=0.5)
    told = Told(clients)
    rooms = [f"room{number}" for number in range(40)]
    users = [f"user{number}" for number in range(5)]
    async with (
        serve_process(redis_url, prefix, lease=lease, **ENVIRONMENT) as victim,
        survivor.connect() as page,
        AsyncExitStack() as stack,
    ):
        await page.subscribe("room0")
        await page.subscribe("presence-room", {"user_id": "user0"})
        url = f"ws://127.0.0.1:{victim.port}"
        pages = [await stack.enter_async_context(connected(url, APP)) for _ in users]
        for client, user in zip(pages, users, strict=True):
            await client.subscribe("presence-room", {"user_id": user})
        for room in rooms:
            await pages[0].subscribe(room)
        await told.until(*(f"channel_occupied {room}" for room in rooms))
        victim.kill()
        vacated = [f"channel_vacated {room}" for room in rooms[1:]]
        removed = [f"member_removed presence-room {user}" for user in users[1:]]
        await told.until(*vacated, *removed)

        added = [f"member_added presence-room {user}" for user in users]
        occupied = [f"channel_occupied {room}" for room in [*rooms, "presence-room"]]
        assert sorted(await told.look()) == sorted([*occupied, *added, *vacated, *removed])


@pytest.mark.process
async def test_facts_outlive_the_gateway_that_found_them_out(
    start_gateway: StartGateway,
    redis_url: str,
    prefix: str,
    clients: RedisClients,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It could not queue them while it lived; others do when the queue takes them again."""
    monkeypatch.setattr(outboxes, "REFUSED_SECONDS", 0.1)
    told = Told(clients)
    jobs = clients.keys.queue(FACT_QUEUE, "jobs")
    await clients.aio.set(jobs, "garbage")
    async with serve_process(redis_url, prefix, lease=1.0, **ENVIRONMENT) as victim:
        url = f"ws://127.0.0.1:{victim.port}"
        async with connected(url, APP) as one, connected(url, APP) as two:
            await one.subscribe("presence-room", ADA)
            await two.subscribe("orders")

            async def found_out() -> bool:
                return await clients.aio.scard(clients.keys.nodes("told")) == len(ROOMS)

            await eventually_async(found_out)
            victim.kill()
    await clients.aio.delete(jobs)

    await start_gateway(app=TOLD_APP, lease=1.0, vacate_grace=0.5)
    both = [f"channel_{what} {name}" for name in ROOMS for what in ("occupied", "vacated")]
    members = [f"member_{what} presence-room ada" for what in ("added", "removed")]
    await told.until(*both, *members)

    assert sorted(await told.look()) == sorted([*both, *members])


@pytest.mark.process
async def test_a_gateway_that_stood_still_for_too_long_is_told_to_go_and_to_come(
    start_gateway: StartGateway, redis_url: str, prefix: str, clients: RedisClients
) -> None:
    await start_gateway(app=TOLD_APP, lease=1.0, vacate_grace=0.2)
    told = Told(clients)
    async with serve_process(redis_url, prefix, lease=1.0, **ENVIRONMENT) as sleeper:
        async with sleeper.connect() as page:
            await page.subscribe("orders")
            await told.until("channel_occupied orders")
            with sleeper.paused():
                await told.until("channel_vacated orders")
            await told.until(*["channel_occupied orders"] * 2)
            await page.settle()
        await told.until(*["channel_vacated orders"] * 2)

    assert len(await told.look()) == 4


async def test_facts_wait_while_redis_is_frozen(
    redis_server: FaultyServer, prefix: str, own_clients: RedisClients
) -> None:
    told = Told(own_clients)
    async with (
        running_gateway(redis_server.url, prefix, app=TOLD_APP, lease=15, vacate_grace=0.2) as node,
        node.connect() as page,
    ):
        await page.subscribe("orders")
        await told.until("channel_occupied orders")
        redis_server.freeze()
        await page.unsubscribe("orders")
        await page.subscribe("chat", wait=False)
        await page.settle()
        redis_server.thaw()
        await told.until("channel_vacated orders", "channel_occupied chat")

        assert len(await told.look()) == 3


async def test_after_data_loss_nobody_is_told_to_have_come(
    redis_server: FaultyServer, prefix: str, own_clients: RedisClients
) -> None:
    told = Told(own_clients)
    async with (
        running_gateway(redis_server.url, prefix, app=TOLD_APP, lease=15, vacate_grace=0.2) as left,
        running_gateway(
            redis_server.url, prefix, app=TOLD_APP, lease=15, vacate_grace=0.2
        ) as right,
        left.connect() as a,
        right.connect() as b,
    ):
        await a.subscribe("orders")
        await b.subscribe("chat")
        await b.subscribe("presence-room", ADA)
        before = ("channel_occupied orders", "channel_occupied chat")
        await told.until(*before, "member_added presence-room ada")

        redis_server.restart(keep_data=False)
        told = Told(own_clients)

        async def registered() -> bool:
            names = ["orders", "chat", "presence-room"]
            with suppress(DriverUnavailable):
                return await left.node._stores.presence.counts(APP.id, names) == [1, 1, 1]
            return False

        await eventually_async(registered)
        await a.unsubscribe("orders")
        await told.until("channel_vacated orders")
        await b.unsubscribe("presence-room")
        await told.until("channel_vacated presence-room", "member_removed presence-room ada")

        assert len(await told.look()) == 3


# -- how many subscribers there are -------------------------------------------------------


def counts(client: PusherClient, channel: str = "orders") -> list[int]:
    return [data["subscription_count"] for data in client.received(COUNT, channel)]


async def last_count(client: PusherClient, wanted: int) -> None:
    async def is_last() -> bool:
        return counts(client)[-1:] == [wanted]

    await eventually_async(is_last)


async def test_subscribers_on_all_gateways_hear_how_many_they_are(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    left, right = [await start_gateway(app=COUNTED_APP) for _ in "ab"]
    told = Told(clients)

    async with left.connect() as a, right.connect() as b:
        await a.subscribe("orders")
        await last_count(a, 1)
        await b.subscribe("orders")
        for client in (a, b):
            await last_count(client, 2)
        async with left.connect() as c:
            await c.subscribe("orders")
            for client in (a, b, c):
                await last_count(client, 3)
        for client in (a, b):
            await last_count(client, 2)
    await told.until(*(f"subscription_count orders {number}" for number in (1, 2, 3)))


async def test_over_a_hundred_newcomers_are_told_and_the_last_number_comes_to_all(
    start_gateway: StartGateway,
) -> None:
    left, right = [await start_gateway(app=COUNTED_APP) for _ in "ab"]

    async with AsyncExitStack() as stack:
        pages = [
            await stack.enter_async_context((left, right)[number % 2].connect())
            for number in range(110)
        ]
        for page in pages:
            await page.subscribe("orders", wait=False)
        newest = await stack.enter_async_context(right.connect())
        await newest.subscribe("orders")
        await newest.next(COUNT)
        for page in (*pages, newest):
            await last_count(page, 111)

    assert all(len(counts(page)) < 100 for page in pages)


async def test_numbers_that_a_broken_connection_lost_are_made_up_for(
    redis_server: FaultyServer, prefix: str
) -> None:
    options: dict[str, Any] = {"app": COUNTED_APP, "lease": 15}
    async with (
        running_gateway(redis_server.url, prefix, **options) as left,
        running_gateway(redis_server.url, prefix, **options) as right,
        left.connect() as a,
        right.connect() as b,
    ):
        await a.subscribe("orders")
        await b.subscribe("orders")
        await last_count(a, 2)
        redis_server.restart(keep_data=True)
        await b.unsubscribe("orders")
        await last_count(a, 1)
