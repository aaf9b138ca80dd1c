"""First answers in Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from broadcaster.contracts.idempotency import Begun, FirstAnswer
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.idempotency import MAX_ANSWER_BYTES, RedisIdempotency
from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.idempotency import WINDOW_SECONDS, Attempt

if TYPE_CHECKING:
    from tests.faults import FaultyServer

ATTEMPT = Attempt("1", "key", b"f" * 32)
OTHER = ATTEMPT._replace(fingerprint=b"g" * 32)
ANSWER = FirstAnswer(200, b'{"channels":{"a":{"subscription_count":1}}}')


@pytest.fixture
def store(clients: RedisClients) -> RedisIdempotency:
    return RedisIdempotency(clients)


async def test_a_request_begins_once_and_again_until_it_is_answered(
    store: RedisIdempotency,
) -> None:
    assert await store.begin(ATTEMPT) == Begun(same=True, answer=None)
    assert await store.begin(ATTEMPT) == Begun(same=True, answer=None)

    assert await store.finish(ATTEMPT, ANSWER) == ANSWER

    assert await store.begin(ATTEMPT) == Begun(same=True, answer=ANSWER)


async def test_the_first_answer_stays(store: RedisIdempotency) -> None:
    await store.begin(ATTEMPT)
    await store.finish(ATTEMPT, ANSWER)

    assert await store.finish(ATTEMPT, FirstAnswer(202, b"{}")) == ANSWER
    assert (await store.begin(ATTEMPT)).answer == ANSWER


async def test_a_key_belongs_to_one_request(store: RedisIdempotency) -> None:
    await store.begin(ATTEMPT)

    assert await store.begin(OTHER) == Begun(same=False, answer=None)

    await store.finish(ATTEMPT, ANSWER)
    assert await store.begin(OTHER) == Begun(same=False, answer=None)
    assert (await store.begin(ATTEMPT)).answer == ANSWER


async def test_apps_and_keys_are_kept_apart(store: RedisIdempotency) -> None:
    await store.begin(ATTEMPT)

    assert (await store.begin(OTHER._replace(app_id="2"))).same
    assert (await store.begin(OTHER._replace(key="other"))).same


async def test_of_many_at_once_all_get_the_same_answer(store: RedisIdempotency) -> None:
    answers = [FirstAnswer(200, b"%d" % n) for n in range(20)]
    await store.begin(ATTEMPT)

    given = await asyncio.gather(*(store.finish(ATTEMPT, answer) for answer in answers))

    assert len(set(given)) == 1


async def test_what_is_kept_ends_by_itself(store: RedisIdempotency, clients: RedisClients) -> None:
    await store.begin(ATTEMPT)
    [name] = cast("list[bytes]", await clients.aio.keys(f"{clients.prefix}:*"))
    assert name.startswith(f"{clients.prefix}:{{1:}}:request:".encode())
    assert 0 < await clients.aio.ttl(name) <= WINDOW_SECONDS

    await clients.aio.expire(name, 5)
    await store.finish(ATTEMPT, ANSWER)

    assert 5 < await clients.aio.ttl(name) <= WINDOW_SECONDS


async def test_an_answer_that_is_too_long_is_given_and_not_kept(store: RedisIdempotency) -> None:
    long = FirstAnswer(200, b"x" * MAX_ANSWER_BYTES)
    await store.begin(ATTEMPT)

    assert await store.finish(ATTEMPT, long) == long
    assert await store.begin(ATTEMPT) == Begun(same=True, answer=None)


async def test_a_store_that_is_away_is_named(redis_server: FaultyServer, prefix: str) -> None:
    clients = RedisClients(redis_server.url, prefix)
    redis_server.stop()

    with pytest.raises(DriverUnavailable):
        await RedisIdempotency(clients).begin(ATTEMPT)

    await clients.aclose()
