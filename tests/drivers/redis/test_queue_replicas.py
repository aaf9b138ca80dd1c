"""Pushes that wait until replicas have them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import NewJob, Pushed, Unique
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.keys import Keys
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_push import copying, pushed, unless_copied
from broadcaster.errors import DriverRefused, DriverUnavailable, NotReplicated
from tests.drivers.redis.queue_world import job_id
from tests.sentinels import Watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import redis


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Watched]:
    """A master and its replica, which is connected."""
    made = Watched(tmp_path / "pair", sentinels=0)
    try:
        made.start()
        made.copy()
        yield made
    finally:
        made.stop()


@pytest.fixture
async def clients(pair: Watched) -> AsyncIterator[RedisClients]:
    """Of the master."""
    made = RedisClients(f"redis://127.0.0.1:{pair.ports[0]}/0", "copies")
    yield made
    await made.aclose()


@pytest.fixture
async def replica(pair: Watched) -> AsyncIterator[redis.Redis]:
    made = RedisClients(f"redis://127.0.0.1:{pair.ports[1]}/0", "copies")
    yield made.sync
    await made.aclose()


def jobs(*numbers: int, queue: str = "q") -> list[NewJob]:
    return [NewJob(job_id(number), queue, b"body %d" % number) for number in numbers]


async def push(queue: RedisQueue, verb: str, *numbers: int) -> list[str]:
    if verb == "apush":
        return list((await queue.apush(jobs(*numbers))).new)
    return list((await asyncio.to_thread(queue.push, jobs(*numbers))).new)


def held(replica: redis.Redis, key: str) -> int:
    count: int = replica.hlen(key)  # type: ignore[assignment]  # redis-py has one type for both
    return count


def test_what_waits_is_a_write_and_the_wait_for_it() -> None:
    assert copying(Keys("p"), "mail", 2) == [("SET", "p:{q:mail}:copied", 1), ("WAIT", 2, 500)]


def test_too_few_replicas_are_an_error_that_says_what_is_so_and_what_to_do() -> None:
    assert unless_copied([None, ""], 2, replicas=2, where="host:1") == [None, ""]
    [error] = unless_copied([None], 1, replicas=2, where="host:1")

    assert isinstance(error, NotReplicated)
    assert error.replicas == 1
    assert "1 of 2 replicas" in error.message
    assert "do not dispatch it again" in error.message
    assert not isinstance(error, DriverUnavailable)  # so nothing falls back on another


def test_what_is_not_queued_is_not_called_so_for_want_of_replicas() -> None:
    refusal = DriverRefused("WRONGTYPE")

    found = unless_copied([None, "", "its owner", refusal], 0, replicas=1, where="host:1")

    assert [type(each) for each in found] == [NotReplicated, NotReplicated, str, DriverRefused]
    with pytest.raises(DriverRefused):
        pushed(jobs(1, 2, 3, 4), found)
    with pytest.raises(NotReplicated):
        pushed(jobs(1, 2, 3), found[:3])


@pytest.mark.parametrize("verb", ["push", "apush"])
async def test_a_push_ends_when_the_replica_has_it(
    clients: RedisClients, replica: redis.Redis, verb: str
) -> None:
    queue = RedisQueue(clients, replicas=1)
    key = clients.keys.queue("q", "jobs")

    for number in range(20):
        assert await push(queue, verb, number) == [job_id(number)]
        assert held(replica, key) == number + 1


@pytest.mark.parametrize("verb", ["push", "apush"])
async def test_scripts_that_the_server_has_forgotten_change_nothing(
    clients: RedisClients, replica: redis.Redis, verb: str
) -> None:
    queue = RedisQueue(clients, replicas=1)
    clients.sync.script_flush()

    assert await push(queue, verb, 1, 2) == [job_id(1), job_id(2)]

    assert held(replica, clients.keys.queue("q", "jobs")) == 2


@pytest.mark.parametrize("verb", ["push", "apush"])
async def test_what_no_replica_has_is_queued_and_that_is_said_each_time(
    pair: Watched, clients: RedisClients, verb: str
) -> None:
    queue = RedisQueue(clients, replicas=1)
    pair.freeze_replica()

    with pytest.raises(NotReplicated, match=r"is queued .* 0 of 1 replicas"):
        await push(queue, verb, 1, 2)

    again = RedisClients(clients.url, clients.prefix)  # its connections have written nothing
    with pytest.raises(NotReplicated):
        await push(RedisQueue(again, replicas=1), verb, 1, 2)
    await again.aclose()
    assert queue.sizes("q").ready == 2
    assert await push(RedisQueue(clients), verb, 3) == [job_id(3)]


async def test_each_of_many_callers_is_told(pair: Watched, clients: RedisClients) -> None:
    queue = RedisQueue(clients, replicas=1)
    pair.cut_replica()

    found = await asyncio.gather(
        *(queue.apush(jobs(number)) for number in range(50)), return_exceptions=True
    )

    assert [type(each) for each in found] == [NotReplicated] * 50
    assert queue.sizes("q").ready == 50


async def test_who_shares_a_call_is_told_what_became_of_their_own_jobs(
    pair: Watched, clients: RedisClients
) -> None:
    lock = Unique("lock", 60)
    await RedisQueue(clients).apush([NewJob(job_id(1), "q", b"owner", unique=lock)])
    clients.sync.set(clients.keys.queue("broken", "jobs"), "a string")
    queue = RedisQueue(clients, replicas=1)
    pair.cut_replica()

    found: tuple[object, ...] = await asyncio.gather(
        queue.apush(jobs(2)),
        queue.apush(jobs(3, queue="broken")),
        queue.apush([NewJob(job_id(4), "q", b"kept out", unique=lock)]),
        return_exceptions=True,
    )

    assert isinstance(found[0], NotReplicated)
    assert isinstance(found[1], DriverRefused)
    assert isinstance(found[2], Pushed)
    assert found[2].locked == {job_id(4): job_id(1)}


async def test_a_push_of_several_rounds_waits_for_the_last_one(
    clients: RedisClients, replica: redis.Redis
) -> None:
    queue = RedisQueue(clients, replicas=1)

    pushed = await queue.apush(jobs(*range(6_000)))

    assert len(pushed.new) == 6_000
    assert held(replica, clients.keys.queue("q", "jobs")) == 6_000
