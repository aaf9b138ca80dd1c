"""Cache channels as their subscribers see them: success, the last event, then what follows."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.history import RedisHistory
from broadcaster.testing.client import SUCCEEDED
from tests.gateway.world import APP, running_gateway
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.history import Cached
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.protocol.facts import Fact
    from broadcaster.testing.client import PusherClient
    from tests.faults import FaultyServer
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

MISS = "pusher:cache_miss"
ADA: dict[str, object] = {"user_id": "ada", "user_info": {"name": "Ada"}}
GRACE: dict[str, object] = {"user_id": "grace", "user_info": {"name": "Grace"}}
CHANNELS = ["cache-a", "private-cache-a", "private-encrypted-cache-a", "presence-cache-a"]


def member_of(channel: str) -> dict[str, object] | None:
    return ADA if channel.startswith("presence-") else None


def heard(client: PusherClient, channel: str) -> list[str]:
    """Return the names of the channel's frames, oldest first."""
    return [frame.event for frame in client.frames if frame.channel == channel]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_subscriber_gets_the_last_event_after_success(
    any_gateway: RunningGateway, channel: str
) -> None:
    """It was published while nobody was subscribed."""
    await any_gateway.publish(channel, "price", '{"old":true}')
    await any_gateway.publish(channel, "price", '{"new":true}')

    async with any_gateway.connect() as client:
        await client.subscribe(channel, member_of(channel))
        frame = await client.next("price")
        await any_gateway.publish(channel, "live")
        await client.next("live")

    assert frame.raw == {"event": "price", "channel": channel, "data": '{"new":true}'}
    assert heard(client, channel) == [SUCCEEDED, "price", "live"]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_without_one_the_subscriber_is_told_of_the_miss(
    any_gateway: RunningGateway, channel: str
) -> None:
    async with any_gateway.connect() as client:
        await client.subscribe(channel, member_of(channel))
        miss = await client.next(MISS)
        await any_gateway.publish(channel, "live")
        await client.next("live")

    assert miss.raw == {"event": MISS, "channel": channel, "data": "{}"}
    assert heard(client, channel) == [SUCCEEDED, MISS, "live"]


@pytest.mark.parametrize("channel", ["orders", "cached-a", "private-a", "presence-a"])
async def test_other_channels_have_neither(gateway: RunningGateway, channel: str) -> None:
    await gateway.publish(channel, "price")

    async with gateway.connect() as client:
        await client.subscribe(channel, member_of(channel))
        await client.settle()

    assert heard(client, channel) == [SUCCEEDED]


async def test_the_last_event_survives_the_last_subscriber_and_the_gateway(
    start_gateway: StartGateway, redis_url: str, prefix: str
) -> None:
    async with running_gateway(redis_url, prefix) as first, first.connect() as client:
        await client.subscribe("cache-a")
        await first.publish("cache-a", "price")
        await client.next("price")

    second = await start_gateway()
    async with second.connect() as client:
        await client.subscribe("cache-a")
        await client.next("price")

    assert client.received(MISS) == []


async def test_client_events_are_not_cached(gateway: RunningGateway) -> None:
    async with gateway.connect() as speaker, gateway.connect() as listener:
        await speaker.subscribe("private-cache-a")
        await listener.subscribe("private-cache-a")
        await speaker.whisper("private-cache-a", "typing", {})
        await listener.next("client-typing")

        async with gateway.connect() as late:
            await late.subscribe("private-cache-a")
            await late.next(MISS)


async def test_who_comes_and_goes_is_not_cached(gateway: RunningGateway) -> None:
    """A member who leaves must not overwrite the last event with an event of the protocol."""
    await gateway.publish("presence-cache-a", "price")
    async with gateway.connect() as watcher:
        await watcher.subscribe("presence-cache-a", GRACE)
        async with gateway.connect() as client:
            await client.subscribe("presence-cache-a", ADA)
            await client.unsubscribe("presence-cache-a")
            await watcher.next("pusher_internal:member_removed")

        async with gateway.connect() as late:
            success = await late.subscribe("presence-cache-a", ADA)
            await late.next("price")

    assert success is not None
    assert success.data["presence"]["ids"] == ["grace", "ada"]
    assert heard(late, "presence-cache-a") == [SUCCEEDED, "price"]


async def test_an_event_that_left_somebody_out_is_given_to_all_who_come_later(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as client:
        await gateway.publish("cache-a", "price", socket_id=client.socket_id)
        await client.subscribe("cache-a")
        await client.next("price")


def misses(told: list[Fact]) -> list[tuple[str, str]]:
    return [(fact.app_id, fact.channel) for fact in told if fact.name == "cache_miss"]


async def test_a_miss_is_told_once_over_all_gateways(
    start_gateway: StartGateway, told: list[Fact], clients: RedisClients
) -> None:
    app = replace(APP, server_events=True)
    left, right = await start_gateway(app=app), await start_gateway(app=app)

    async def enter(gateway: RunningGateway, wanted: str) -> None:
        async with gateway.connect() as client:
            await client.subscribe("cache-a")
            await client.next(wanted)

    for gateway in (left, right, left):
        await enter(gateway, MISS)
    assert misses(told) == [(app.id, "cache-a")]

    await left.publish("cache-a", "price")
    await enter(right, "price")
    await clients.aio.delete(clients.keys.channel(app.id, "cache-a", "c"))
    await enter(right, MISS)
    await eventually(lambda: len(misses(told)) == 2)
    assert len({fact.id for fact in told if fact.name == "cache_miss"}) == 2


async def test_a_miss_is_not_told_if_nobody_wants_to_know(
    gateway: RunningGateway, told: list[Fact]
) -> None:
    async with gateway.connect() as client:
        await client.subscribe("cache-a")
        await client.next(MISS)
        await client.settle()

    assert told == []


async def test_many_who_come_at_once_share_few_readings(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.publish("cache-a", "price")
    readings: list[Sequence[str]] = []
    read = RedisHistory.cached

    async def counting(
        self: RedisHistory, app_id: str, channels: Sequence[str]
    ) -> list[Cached | None]:
        readings.append(channels)
        return await read(self, app_id, channels)

    monkeypatch.setattr(RedisHistory, "cached", counting)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gateway.connect()) for _ in range(50)]
        await asyncio.gather(*(client.subscribe("cache-a") for client in clients))
        for client in clients:
            await client.next("price")

    assert all(heard(client, "cache-a") == [SUCCEEDED, "price"] for client in clients)
    assert len(readings) < 50


async def test_nothing_is_lost_or_doubled_while_events_keep_coming(
    start_gateway: StartGateway,
) -> None:
    """Each subscriber sees the last event at its success, and from there every one once."""
    left, right = await start_gateway(), await start_gateway()
    done = asyncio.Event()
    total = 0

    async def publish() -> None:
        nonlocal total
        while not done.is_set():
            total += 1
            await left.publish("cache-a", "n", str(total))

    async with AsyncExitStack() as stack:
        publishing = asyncio.create_task(publish())
        clients: list[PusherClient] = []
        await eventually(lambda: total > 3)
        for number in range(40):
            gateway = (left, right)[number % 2]
            clients.append(await stack.enter_async_context(gateway.connect()))
            await clients[-1].subscribe("cache-a")
        done.set()
        await publishing
        await left.publish("cache-a", "end")
        for client in clients:
            await client.next("end")

    for client in clients:
        numbers = client.received("n")
        assert numbers == list(range(numbers[0], total + 1))
        assert heard(client, "cache-a")[:2] == [SUCCEEDED, "n"]


async def test_while_redis_is_away_the_answer_waits(redis_server: FaultyServer) -> None:
    async with running_gateway(redis_server.url, "cache", lease=15) as gateway:
        await gateway.publish("cache-a", "price")
        async with gateway.connect() as client:
            await client.subscribe("cache-a")
            await client.next("price")
            redis_server.freeze()
            async with gateway.connect() as late:
                await late.subscribe("cache-a", wait=False)
                await late.settle()
                assert heard(late, "cache-a") == []

                redis_server.thaw()

                await late.next("price", within=15)

    assert heard(late, "cache-a") == [SUCCEEDED, "price"]


async def test_the_last_event_survives_a_restart_of_redis_that_keeps_its_data(
    redis_server: FaultyServer,
) -> None:
    async with running_gateway(redis_server.url, "cache", lease=15) as gateway:
        await gateway.publish("presence-cache-a", "price")
        redis_server.restart(keep_data=True)
        async with gateway.connect() as client:
            await client.subscribe("presence-cache-a", ADA)
            await client.next("price", within=15)

    assert heard(client, "presence-cache-a") == [SUCCEEDED, "price"]


async def test_after_the_data_is_lost_there_is_a_miss(redis_server: FaultyServer) -> None:
    async with (
        running_gateway(redis_server.url, "cache", lease=15) as gateway,
        gateway.connect() as watcher,
    ):
        await watcher.subscribe("cache-a")
        await gateway.publish("cache-a", "price")
        redis_server.restart(keep_data=False)
        await watcher.next("pusher:resync", within=15)
        async with gateway.connect() as client:
            await client.subscribe("cache-a")
            await client.next(MISS, within=15)


async def test_a_cached_event_that_cannot_be_read_holds_up_no_other_channel(
    gateway: RunningGateway, clients: RedisClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.gateway.last_events.REFUSED_SECONDS", 0.2)
    key = clients.keys.channel(APP.id, "cache-a", "c")
    clients.sync.rpush(key, "no text")
    await gateway.publish("cache-b", "price")

    async with gateway.connect() as client:
        await client.subscribe("cache-a", wait=False)
        await client.subscribe("cache-b")
        await client.next("price")
        assert heard(client, "cache-a") == []
        clients.sync.delete(key)
        await client.next(MISS)

    assert heard(client, "cache-a") == [SUCCEEDED, MISS]


async def test_what_is_no_envelope_counts_as_nothing(
    gateway: RunningGateway, clients: RedisClients, caplog: pytest.LogCaptureFixture
) -> None:
    clients.sync.set(clients.keys.channel(APP.id, "cache-a", "c"), "no envelope", ex=60)

    async with gateway.connect() as client:
        await client.subscribe("cache-a")
        await client.next(MISS)

    assert "the cached event of cache-a" in caplog.text


async def test_who_leaves_before_the_answer_is_gone(redis_server: FaultyServer) -> None:
    """And who comes back meanwhile has one success and one event."""
    async with running_gateway(redis_server.url, "cache", lease=15) as gateway:
        await gateway.publish("cache-a", "price")
        async with gateway.connect() as stays, gateway.connect() as client:
            await stays.subscribe("cache-a")
            await stays.next("price")
            redis_server.freeze()
            await client.subscribe("cache-a", wait=False)
            await client.unsubscribe("cache-a")
            await client.subscribe("cache-a", wait=False)
            await client.settle()
            redis_server.thaw()
            await client.next("price", within=15)
            await gateway.publish("cache-a", "live")
            await client.next("live", within=15)

    assert heard(client, "cache-a") == [SUCCEEDED, "price", "live"]
