from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.broker import Outgoing
from broadcaster.contracts.history import HistoryLimits
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.history import RedisHistory
from broadcaster.drivers.redis.publish import RedisBroker
from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.envelope import START, Position, decode_envelope

if TYPE_CHECKING:
    from tests.faults import FaultyServer


def event(channel: str = "news") -> Outgoing:
    return Outgoing("1", channel, os.urandom(16), b"{}")


@pytest.fixture
def broker(clients: RedisClients) -> RedisBroker:
    return RedisBroker(clients)


@pytest.fixture
def history(clients: RedisClients) -> RedisHistory:
    return RedisHistory(clients)


async def test_positions_are_those_of_the_last_events(
    broker: RedisBroker, history: RedisHistory
) -> None:
    first, second, other = event(), event(), event("other")
    await broker.publish([first, second, other])

    assert await history.positions("1", ["news", "never", "other"]) == [
        Position(2, second.event_id),
        START,
        Position(1, other.event_id),
    ]


async def test_positions_of_many_channels_come_in_order(
    broker: RedisBroker, history: RedisHistory
) -> None:
    last = event("c1500")
    await broker.publish([last])

    found = await history.positions("1", [f"c{number}" for number in range(2_100)])

    assert found[1_500] == Position(1, last.event_id)
    assert found.count(START) == 2_099


async def test_no_channels_have_no_positions(history: RedisHistory) -> None:
    assert await history.positions("1", []) == []


async def test_kept_envelopes_are_read_oldest_first(
    broker: RedisBroker, history: RedisHistory
) -> None:
    messages = [event() for _ in range(5)]
    await broker.publish(messages)

    kept = [decode_envelope(data) for data in await history.read("1", "news")]

    assert [one.event_id for one in kept] == [one.event_id for one in messages]
    assert await history.read("1", "never") == []


async def test_the_cached_event_of_a_cache_channel_is_its_last(
    broker: RedisBroker, history: RedisHistory
) -> None:
    last = event("cache-x")
    await broker.publish([event("cache-x"), last])

    found, nothing = await history.cached("1", ["cache-x", "cache-never"])

    assert found is not None
    assert decode_envelope(found.envelope).event_id == last.event_id
    assert 1_790 < found.ttl <= 1_800
    assert nothing is None


async def test_an_event_is_cached_with_history_turned_off(clients: RedisClients) -> None:
    limits = HistoryLimits(events=0)
    last = event("private-cache-x")
    await RedisBroker(clients, limits).publish([last])

    (found,) = await RedisHistory(clients, limits).cached("1", ["private-cache-x"])

    assert found is not None
    assert decode_envelope(found.envelope).event_id == last.event_id


async def test_client_events_are_never_cached(broker: RedisBroker, history: RedisHistory) -> None:
    await broker.relay([event("private-cache-x")])

    assert await history.cached("1", ["private-cache-x"]) == [None]


async def test_a_miss_is_news_once_whoever_notes_it(
    clients: RedisClients, history: RedisHistory
) -> None:
    other = RedisHistory(clients)

    assert await history.missed("1", ["cache-x", "cache-y"]) == [True, True]
    assert await other.missed("1", ["cache-x", "cache-z"]) == [False, True]
    assert await history.cached("1", ["cache-x"]) == [None]


async def test_a_miss_is_news_again_after_a_minute(
    clients: RedisClients, history: RedisHistory
) -> None:
    await history.missed("1", ["cache-x"])
    key = clients.keys.channel("1", "cache-x", "c")

    assert 50 < await clients.aio.ttl(key) <= 60


async def test_a_miss_is_news_again_after_an_event_came_and_went(
    clients: RedisClients, broker: RedisBroker, history: RedisHistory
) -> None:
    await history.missed("1", ["cache-x"])
    await broker.publish([event("cache-x")])
    assert (await history.cached("1", ["cache-x"]))[0] is not None
    await clients.aio.delete(clients.keys.channel("1", "cache-x", "c"))

    assert await history.missed("1", ["cache-x"]) == [True]


async def test_a_miss_never_takes_an_event_away(broker: RedisBroker, history: RedisHistory) -> None:
    await broker.publish([event("cache-x")])

    assert await history.missed("1", ["cache-x"]) == [False]
    assert (await history.cached("1", ["cache-x"]))[0] is not None


async def test_touch_keeps_the_position_of_a_quiet_channel_alive(
    clients: RedisClients, broker: RedisBroker
) -> None:
    history = RedisHistory(clients, HistoryLimits(meta_seconds=5_000))
    await broker.publish([event()])
    key = clients.keys.channel("1", "news", "m")
    await clients.aio.expire(key, 10)

    await history.touch("1", ["news", "never"])

    assert 4_900 < await clients.aio.ttl(key) <= 5_000
    assert await history.positions("1", ["never"]) == [START]


async def test_after_the_data_is_lost_every_position_is_the_start(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    broker, history = RedisBroker(clients), RedisHistory(clients)
    await broker.publish([event()])

    await clients.aio.flushall()

    assert await history.positions("1", ["news"]) == [START]
    assert await history.read("1", "news") == []
    await clients.aclose()


async def test_a_server_that_is_away_raises_ours(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)
    history = RedisHistory(clients)
    redis_server.stop()

    with pytest.raises(DriverUnavailable):
        await history.positions("1", ["news"])
    with pytest.raises(DriverUnavailable):
        await history.read("1", "news")
    redis_server.start()

    assert await history.positions("1", ["news"]) == [START]
    await clients.aclose()


@pytest.mark.parametrize(("offset", "event_id"), [(b"x", b"i" * 16), (b"1", b"short")])
async def test_a_position_that_is_none_of_ours_counts_as_none(
    clients: RedisClients, history: RedisHistory, offset: bytes, event_id: bytes
) -> None:
    key = clients.keys.channel("1", "news", "m")
    clients.sync.hset(key, mapping={"o": offset, "i": event_id})

    assert await history.positions("1", ["news"]) == [START]
