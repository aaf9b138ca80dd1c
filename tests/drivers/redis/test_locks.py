"""Locks that live as long as the reservation that took them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.limits import LockOwner
from broadcaster.drivers.redis.locks import RedisLocks
from tests.polling import eventually_async

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

ONE, AGAIN, OTHER = LockOwner("1", 10), LockOwner("1", 11), LockOwner("2", 12)


@pytest.fixture
def locks(clients: RedisClients) -> RedisLocks:
    return RedisLocks(clients)


async def test_row_29_one_job_at_a_time_has_a_lock(locks: RedisLocks) -> None:
    assert await locks.aacquire("user 1", ONE, 30) == 0.0
    assert await locks.aacquire("user 2", OTHER, 30) == 0.0

    assert 29 < await locks.aacquire("user 1", OTHER, 30) <= 30
    assert await locks.aacquire("user 1", ONE, 30) == 0.0


async def test_a_lock_without_an_expiry_gets_one(locks: RedisLocks, clients: RedisClients) -> None:
    clients.sync.set(clients.keys.limit("k", "lock"), "garbage")

    assert await locks.aacquire("k", ONE, 30) == 30
    assert 29 < await locks.aacquire("k", ONE, 30) <= 30


async def test_only_its_owner_frees_a_lock(locks: RedisLocks) -> None:
    await locks.aacquire("k", ONE, 30)

    assert not await locks.arelease("k", OTHER)
    assert await locks.arelease("k", ONE)
    assert await locks.aacquire("k", OTHER, 30) == 0.0


async def test_a_later_run_of_a_job_takes_its_lock_over_and_the_earlier_one_loses_it(
    locks: RedisLocks,
) -> None:
    await locks.aacquire("k", ONE, 30)

    assert await locks.aacquire("k", AGAIN, 30) == 0.0

    assert await locks.aacquire("k", ONE, 30) > 0
    assert not await locks.arelease("k", ONE)
    assert await asyncio.to_thread(locks.renew, {"k": ONE}, 30) == {"k"}


async def test_a_lock_dies_with_a_worker_that_no_longer_renews_it(locks: RedisLocks) -> None:
    await locks.aacquire("dead", ONE, 0.05)
    await locks.aacquire("alive", ONE, 15)
    assert await asyncio.to_thread(locks.renew, {"alive": ONE}, 30) == frozenset()

    async def is_free() -> bool:
        return await locks.aacquire("dead", OTHER, 30) == 0.0

    await eventually_async(is_free)
    assert await locks.aacquire("alive", OTHER, 30) > 15


async def test_a_renewal_tells_what_was_lost(locks: RedisLocks) -> None:
    await locks.aacquire("mine", ONE, 30)
    await locks.aacquire("theirs", OTHER, 30)

    lost = await asyncio.to_thread(locks.renew, {"mine": ONE, "theirs": ONE, "none": ONE}, 30)

    assert lost == {"theirs", "none"}
    assert await asyncio.to_thread(locks.renew, {}, 30) == frozenset()


async def test_locks_of_code_without_a_loop_are_the_same(locks: RedisLocks) -> None:
    assert await asyncio.to_thread(locks.acquire, "k", ONE, 30) == 0.0
    assert await locks.aacquire("k", OTHER, 30) > 0
    assert await asyncio.to_thread(locks.release, "k", ONE)


async def test_any_text_names_a_lock(locks: RedisLocks) -> None:
    for key in ("", "{q:x}:jobs", "ü \n", "\ud800", "x" * 10_000):
        assert await locks.aacquire(key, ONE, 30) == 0.0
