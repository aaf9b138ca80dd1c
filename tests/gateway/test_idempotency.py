"""Repeats of a publish over real gateways: whatever happens, subscribers get each event once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from broadcaster.contracts.publisher import Publication
from broadcaster.drivers.http.pusher import PusherPublisher
from broadcaster.testing.client import SUCCEEDED

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.testing.client import PusherClient
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

BODY = {"name": "greeting", "data": "1", "channels": ["orders", "others"], "idempotency_key": "k"}


def encoded(**change: object) -> bytes:
    return json.dumps({**BODY, **change}).encode()


async def greetings(gateway: RunningGateway, client: PusherClient) -> int:
    """How many arrived before a last event of both channels did."""
    await gateway.post("/events", encoded(name="end", idempotency_key=None))
    await client.next("end", channel="orders")
    await client.next("end", channel="others")
    return len(client.received("greeting"))


async def test_many_repeats_at_once_over_two_gateways_are_one_delivery(
    start_gateway: StartGateway,
) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as client:
        await client.subscribe("orders")
        await client.subscribe("others")

        answers = await asyncio.gather(
            *(
                gateway.post("/events", encoded(info="subscription_count"))
                for _ in range(10)
                for gateway in (left, right)
            )
        )

        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert await greetings(left, client) == 2


async def test_a_repeat_completes_what_failed_half_way(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    gateway = await start_gateway()
    async with gateway.connect() as client:
        await client.subscribe("orders")
        await client.subscribe("others")
        broken = clients.keys.channel(gateway.app.id, "others", "m")
        await clients.aio.delete(broken)
        await clients.aio.set(broken, "no hash")
        first = await gateway.post("/events", encoded())
        assert (first.status_code, first.json()["error"]["code"]) == (500, "driver_refused")
        await client.next("greeting", channel="orders")
        await clients.aio.delete(broken)

        again = await gateway.post("/events", encoded())

        assert (again.status_code, again.content) == (200, b"{}")
        assert await greetings(gateway, client) == 2
        assert len(client.received("greeting", "orders")) == 1


async def test_our_own_driver_may_repeat_what_was_published(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    url = f"http://127.0.0.1:{gateway.port}"
    driver = PusherPublisher(gateway.app, base_url=url, timeout=10)
    single = Publication(
        id="1" * 32,
        app_id=gateway.app.id,
        channels=("orders", "others"),
        name="greeting",
        data="1",
    )
    both = [
        replace(single, id=str(n) * 32, channels=(name,))
        for n, name in ((2, "orders"), (3, "others"))
    ]
    async with gateway.connect() as client:
        await client.subscribe("orders")
        await client.subscribe("others")

        for _ in range(3):
            await driver.apublish([single, *both])

        assert await greetings(gateway, client) == 4
    await driver.aclose()


async def test_an_event_of_the_same_name_and_data_is_another_one_under_another_key(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway()
    async with gateway.connect() as client:
        await client.subscribe("orders")
        await client.subscribe("others")

        await gateway.post("/events", encoded(idempotency_key="k1"))
        await gateway.post("/events", encoded(idempotency_key="k2"))

        assert await greetings(gateway, client) == 4


async def test_the_cache_keeps_what_a_key_published_once(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    for data, key in (("1", "k1"), ("2", "k2"), ("1", "k1")):
        await gateway.post("/events", encoded(data=data, channels=["cache-a"], idempotency_key=key))

    answer = await gateway.get("/channels/cache-a", info="cache")

    assert answer.json()["cache"]["data"] == "2"
    assert 1_700 < answer.json()["cache"]["ttl"] <= 1_800
    async with gateway.connect() as client:
        await client.subscribe("cache-a")
        assert client.received(SUCCEEDED, "cache-a")
        assert (await client.next("greeting", channel="cache-a")).data == 2
