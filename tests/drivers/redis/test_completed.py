"""Row 48: which jobs were done is kept by count and by age."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.completed import CompletedJob
from broadcaster.drivers.redis.completed import RedisCompletedJobs
from broadcaster.errors import DriverRefused
from tests.polling import eventually

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients


@pytest.fixture
def store(clients: RedisClients) -> RedisCompletedJobs:
    return RedisCompletedJobs(clients)


def done(number: int) -> CompletedJob:
    return CompletedJob(
        id=f"{number:032x}",
        job="SendMail",
        queue="mail",
        connection_name="default",
        attempts=2,
        seconds=0.25,
    )


def add(store: RedisCompletedJobs, *numbers: int, most: int = 100, seconds: float = 60) -> None:
    store.add([done(number) for number in numbers], most=most, seconds=seconds)


async def test_the_latest_comes_first_with_the_time_of_the_store(store: RedisCompletedJobs) -> None:
    add(store, 1, 2)
    add(store, 3)

    found = store.find()

    assert [int(job.id, 16) for job in found] == [3, 2, 1]
    assert (found[0].job, found[0].queue, found[0].attempts, found[0].seconds) == (
        "SendMail",
        "mail",
        2,
        0.25,
    )
    assert abs(found[0].noted_at - time.time()) < 5


async def test_no_more_are_kept_than_it_is_told(store: RedisCompletedJobs) -> None:
    add(store, *range(10), most=3)

    assert [int(job.id, 16) for job in store.find()] == [9, 8, 7]
    assert [int(job.id, 16) for job in store.find(limit=1)] == [9]


async def test_old_ones_go_when_new_ones_come(store: RedisCompletedJobs) -> None:
    add(store, 1)

    def only_the_new_one() -> bool:
        add(store, 2, seconds=0.2)
        return 1 not in {int(job.id, 16) for job in store.find()}

    await eventually(only_the_new_one)


async def test_all_go_when_none_come(store: RedisCompletedJobs) -> None:
    add(store, 1, seconds=0.1)

    await eventually(lambda: not store.find())


async def test_an_entry_of_another_version_is_passed_over(
    store: RedisCompletedJobs, clients: RedisClients
) -> None:
    add(store, 1)
    for entry in (b"", b"12 {}", b"now {}", b"12 null"):
        clients.sync.lpush(clients.keys.queues("completed"), entry)

    assert [int(job.id, 16) for job in store.find()] == [1]


async def test_a_key_of_another_type_is_refused(
    store: RedisCompletedJobs, clients: RedisClients
) -> None:
    clients.sync.set(clients.keys.queues("completed"), "text")

    with pytest.raises(DriverRefused):
        store.find()
    with pytest.raises(DriverRefused):
        add(store, 1)
