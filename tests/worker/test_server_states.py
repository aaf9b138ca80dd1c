"""A server that answers, but not as it should: workers and producers outlive each of its states."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.errors import DriverUnavailable
from tests.polling import eventually
from tests.worker import sample_jobs
from tests.worker.sample_jobs import Note
from tests.worker.worker_world import WorkerWorld

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

    from tests.faults import FaultyServer

pytestmark = pytest.mark.redis

SECONDS = 0.7  # for which a state lasts
AGAIN = 5.0  # seconds in which workers go on: ten times what a busy machine takes

Commands = tuple[tuple[str | int, ...], ...]
NOWHERE = ("REPLICAOF", "127.0.0.1", 1)

STATES: dict[str, tuple[Commands, Commands]] = {
    "used memory": ((("CONFIG", "SET", "maxmemory", 1),), (("CONFIG", "SET", "maxmemory", 0),)),
    "read only replica": ((NOWHERE,), (("REPLICAOF", "NO", "ONE"),)),
    "Link with MASTER is down": (
        (("CONFIG", "SET", "replica-serve-stale-data", "no"), NOWHERE),
        (("REPLICAOF", "NO", "ONE"),),
    ),
    "NOREPLICAS": (
        (("CONFIG", "SET", "min-replicas-to-write", 1),),
        (("CONFIG", "SET", "min-replicas-to-write", 0),),
    ),
    "in time": ((("CLIENT", "PAUSE", 2_000, "ALL"),), ()),
}
"""What a refusal says, the commands that bring it about, and those that end it."""


def run(server: redis.Redis, commands: Sequence[tuple[str | int, ...]]) -> None:
    for command in commands:
        server.execute_command(*command)  # type: ignore[no-untyped-call]  # not annotated by redis-py


async def push_all(world: WorkerWorld, accepted: list[str], refusals: list[str]) -> None:
    for number in range(100_000):
        try:
            await world.push(Note(str(number)))
        except DriverUnavailable as error:
            refusals.append(str(error))
            await asyncio.sleep(0.02)
            continue
        accepted.append(str(number))
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("state", STATES)
async def test_a_worker_goes_on_after_a_state_of_the_server(
    state: str, redis_server: FaultyServer
) -> None:
    begin, end = STATES[state]
    clients, admin = RedisClients(redis_server.url), RedisClients(redis_server.url)
    world = WorkerWorld(clients)
    sample_jobs.seen.clear()
    accepted: list[str] = []
    refusals: list[str] = []
    try:
        async with world.running(lease=3):
            pushing = asyncio.create_task(push_all(world, accepted, refusals))
            await eventually(lambda: len(sample_jobs.seen) > 20)

            await asyncio.to_thread(run, admin.sync, begin)
            await eventually(lambda: any(state in text for text in refusals))
            await asyncio.sleep(SECONDS)
            await asyncio.to_thread(run, admin.sync, end)
            back, before = time.monotonic(), len(accepted)
            await eventually(lambda: set(accepted[before:]) & set(sample_jobs.seen), within=20)
            took = time.monotonic() - back
            pushing.cancel()
            await asyncio.wait([pushing])
            await eventually(lambda: set(accepted) <= set(sample_jobs.seen))
    finally:
        await clients.aclose()
        await admin.aclose()

    assert took < AGAIN
    assert len(sample_jobs.seen) == len(set(sample_jobs.seen))


async def test_producers_do_not_notice_forgotten_scripts_and_cut_connections(
    redis_server: FaultyServer,
) -> None:
    clients, admin = RedisClients(redis_server.url), RedisClients(redis_server.url)
    world = WorkerWorld(clients)
    sample_jobs.seen.clear()
    accepted: list[str] = []
    refusals: list[str] = []
    try:
        async with world.running(lease=3) as worker:
            pushing = asyncio.create_task(push_all(world, accepted, refusals))
            for _ in range(20):
                # One cut for each call at most: it is repeated once.
                ran, pushed = len(sample_jobs.seen), len(accepted)
                await eventually(
                    lambda ran=ran, pushed=pushed: (  # type: ignore[misc]  # defaults bind the loop's variables
                        len(sample_jobs.seen) > ran and len(accepted) > pushed
                    )
                )
                await asyncio.to_thread(
                    run, admin.sync, [("SCRIPT", "FLUSH"), ("CLIENT", "KILL", "TYPE", "normal")]
                )
            pushing.cancel()
            await asyncio.wait([pushing])
            await eventually(lambda: set(accepted) <= set(sample_jobs.seen))
    finally:
        await clients.aclose()
        await admin.aclose()

    assert refusals == []
    assert len(sample_jobs.seen) == len(set(sample_jobs.seen)) == worker.running.done
