"""Revocations in Redis: the latest counts, nothing is kept for ever, and nodes are told."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.revocations import MOMENTS_AT_ONCE, RedisRevocations
from broadcaster.errors import DriverError, DriverUnavailable, MalformedMessage
from broadcaster.protocol.envelope import Flag, decode_envelope
from broadcaster.protocol.revocation import CONNECTIONS, Revocation, decode_revoked
from tests.polling import eventually

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients
    from tests.faults import FaultyServer

pytestmark = pytest.mark.redis

APP = "1"


def revoked(user: str = "42", channel: str = "", ago: float = 0.0, left: float = 60) -> Revocation:
    now = time.time()
    return Revocation(user, channel, now - ago, now + left)


@pytest.fixture
def store(clients: RedisClients) -> RedisRevocations:
    return RedisRevocations(clients)


async def test_what_was_added_is_read_exactly(store: RedisRevocations) -> None:
    items = [revoked(), revoked(channel="private-orders.*"), revoked("a b:c\u00e4")]

    await store.add(APP, items)
    stored = await store.read(APP)

    assert sorted(stored.items, key=repr) == sorted(items, key=repr)
    assert stored.version == await store.version(APP)


async def test_there_is_nothing_at_first(store: RedisRevocations) -> None:
    assert await store.read(APP) == (None, [])
    assert await store.version(APP) is None


async def test_apps_are_kept_apart(store: RedisRevocations) -> None:
    await store.add("1", [revoked()])

    assert (await store.read("2")).items == []


async def test_of_two_the_later_is_kept_in_any_order(store: RedisRevocations) -> None:
    early, late = revoked(ago=5), revoked()

    await store.add(APP, [early])
    await store.add(APP, [late])
    await store.add(APP, [early])

    assert (await store.read(APP)).items == [late]


async def test_every_addition_changes_the_version(store: RedisRevocations) -> None:
    versions = []
    for user in ("1", "2", "2"):
        await store.add(APP, [revoked(user)])
        versions.append(await store.version(APP))

    assert len(set(versions)) == 3


async def test_what_has_expired_is_dropped_and_never_comes_back(store: RedisRevocations) -> None:
    short, long = revoked("1", left=0.3), revoked("2")
    await store.add(APP, [short, long])
    await eventually(lambda: time.time() > short.until)

    await store.add(APP, [revoked("3")])
    await store.add(APP, [short])

    assert {item.user for item in (await store.read(APP)).items} == {"2", "3"}


async def test_the_keys_end_with_their_last_entry(
    store: RedisRevocations, clients: RedisClients
) -> None:
    await store.add(APP, [revoked("1", left=600), revoked("2", left=60)])

    for suffix in ("revoked", "revoked:ends"):
        left = await clients.aio.ttl(clients.keys.of_app(APP, suffix))
        assert 60 < left <= 601


async def test_there_is_a_bound_and_it_is_said(clients: RedisClients) -> None:
    """Dropping an old one silently would let somebody in again."""
    store = RedisRevocations(clients, max_kept=2)
    await store.add(APP, [revoked("1"), revoked("2")])

    with pytest.raises(DriverError, match="too many revocations") as caught:
        await store.add(APP, [revoked("3")])
    await store.add(APP, [revoked("2")])

    assert caught.value.code == "revocations_full"
    assert {item.user for item in (await store.read(APP)).items} == {"1", "2"}


async def test_many_are_added_in_several_messages(store: RedisRevocations) -> None:
    await store.add(APP, [revoked(str(number)) for number in range(250)])

    assert len((await store.read(APP)).items) == 250


async def test_nodes_are_told_in_the_same_step(
    store: RedisRevocations, clients: RedisClients
) -> None:
    item = revoked()
    listener = clients.aio.pubsub(ignore_subscribe_messages=True)
    async with listener:
        await listener.subscribe(clients.keys.control(APP))
        await listener.get_message(timeout=5)
        await asyncio.to_thread(store.revoke, APP, item)
        message = None
        async with asyncio.timeout(5):
            while message is None:
                message = await listener.get_message(timeout=1)

    envelope = decode_envelope(message["data"])
    assert envelope.flags == Flag.CONTROL
    assert decode_revoked(envelope.frame) == [item]
    assert (await store.read(APP)).items == [item]


async def test_an_entry_that_is_none_is_passed_over(
    store: RedisRevocations, clients: RedisClients, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad entry must not take the others with it."""
    item = revoked()
    await store.add(APP, [item])
    for name, value in ((b"\xff\n", b"1 2"), (b"7\n", b"soon"), (b"8\n", b"")):
        clients.sync.hset(clients.keys.of_app(APP, "revoked"), name, value)  # type: ignore[arg-type] # redis-py wants text

    assert (await store.read(APP)).items == [item]
    assert len(caplog.records) == 3


async def test_an_absent_server_is_said_within_two_seconds(
    redis_server: FaultyServer, clients: RedisClients
) -> None:
    gone = RedisRevocations(type(clients)(redis_server.url))
    redis_server.stop()

    with pytest.raises(DriverUnavailable):
        await gone.arevoke(APP, revoked())
    with pytest.raises(DriverUnavailable):
        await asyncio.to_thread(gone.revoke, APP, revoked())


# -- terminations ---------------------------------------------------------------------


async def test_a_termination_is_kept_and_told_to_every_node(
    store: RedisRevocations, clients: RedisClients
) -> None:
    pubsub = clients.aio.pubsub()
    await pubsub.subscribe(clients.keys.control(APP))
    await pubsub.get_message(timeout=5)

    await store.aterminate(APP, "ada")
    message = await pubsub.get_message(timeout=5)
    await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py has no types here

    (kept,) = (await store.read(APP)).items
    assert (kept.user, kept.channel) == ("ada", CONNECTIONS)
    assert message is not None
    assert decode_revoked(decode_envelope(message["data"]).frame) == [kept]


async def test_a_sign_in_is_after_the_terminations_before_it_and_before_those_after_it(
    store: RedisRevocations,
) -> None:
    for _ in range(20):
        store.terminate(APP, "ada")
        (before,) = [item.at for item in (await store.read(APP)).items]
        (moment, _) = await store.moments(APP, ["ada", "grace"])
        await store.aterminate(APP, "ada")
        (after,) = [item.at for item in (await store.read(APP)).items]

        assert before <= moment < after


async def test_a_clock_that_steps_back_changes_no_order(store: RedisRevocations) -> None:
    now = time.time()
    await store.add(APP, [Revocation("ada", CONNECTIONS, now + 500, now + 900)])

    (moment,) = await store.moments(APP, ["ada"])
    await store.aterminate(APP, "ada")

    (kept,) = (await store.read(APP)).items
    assert now + 499 < moment < kept.at


async def test_a_moment_that_is_rounded_up_is_before_what_follows_it(
    store: RedisRevocations,
) -> None:
    """Moments have six digits; a float of our days has a bit of a seventh."""
    at = time.time() + 500
    while f"{at:.6f}" != f"{at + 0.000001:.6f}":
        at = math.nextafter(at, math.inf)
    await store.add(APP, [Revocation("ada", CONNECTIONS, at, at + 400)])

    (moment,) = await store.moments(APP, ["ada"])
    await store.aterminate(APP, "ada")

    (kept,) = (await store.read(APP)).items
    assert moment < kept.at


async def test_many_moments_come_in_the_order_of_the_users(store: RedisRevocations) -> None:
    now = time.time()
    last = 2 * MOMENTS_AT_ONCE
    users = [str(number) for number in range(last + 1)]
    await store.add(APP, [Revocation(str(last), CONNECTIONS, now + 500, now + 900)])

    moments = await store.moments(APP, users)

    assert len(moments) == len(users)
    assert [user for user, at in zip(users, moments, strict=True) if at > now + 400] == [str(last)]
    assert await store.moments(APP, []) == []


@pytest.mark.parametrize("user_id", ["", "a b", "x" * 129, "a\n"])
async def test_nobody_is_terminated_who_cannot_sign_in(
    store: RedisRevocations, user_id: str
) -> None:
    with pytest.raises(MalformedMessage, match="cannot have signed in"):
        await store.aterminate(APP, user_id)
    with pytest.raises(MalformedMessage):
        store.terminate(APP, user_id)


async def test_a_full_store_says_so_and_takes_a_user_it_knows(clients: RedisClients) -> None:
    store = RedisRevocations(clients, max_kept=1)
    await store.aterminate(APP, "ada")

    with pytest.raises(DriverError, match="too many"):
        await store.aterminate(APP, "grace")
    await store.aterminate(APP, "ada")
