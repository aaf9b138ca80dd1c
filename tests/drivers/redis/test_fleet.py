"""Workers that describe themselves on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.fleet import CurrentJob, WorkerRecord
from broadcaster.drivers.redis.fleet import RedisFleet
from tests.polling import eventually_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

RECORD = WorkerRecord(
    id="host-7-ab",
    name="mail",
    pool="emails",
    host="host",
    pid=7,
    queues=("mail", "default"),
    slots=10,
    running=1,
    current=(CurrentJob("a" * 32, "SendMail", "mail", 1.5),),
    memory=1_000_000,
    state="paused",
)


async def listed(fleet: RedisFleet) -> Sequence[WorkerRecord]:
    return await asyncio.to_thread(fleet.workers)


async def test_a_worker_is_listed_as_it_described_itself(clients: RedisClients) -> None:
    fleet = RedisFleet(clients)

    assert await fleet.beat(RECORD) == 0
    (found,) = await listed(fleet)

    assert found.current == RECORD.current
    assert (found.id, found.pool, found.queues, found.state) == (
        "host-7-ab",
        "emails",
        ("mail", "default"),
        "paused",
    )
    assert found.seen_at > 1_700_000_000


async def test_a_worker_that_left_or_is_silent_is_not_listed(clients: RedisClients) -> None:
    fleet = RedisFleet(clients)
    hasty = RedisFleet(clients, silence=0.05)
    await fleet.beat(RECORD)

    await fleet.leave(RECORD.id)
    assert await listed(fleet) == []

    await fleet.beat(RECORD)
    await eventually_async(lambda: _gone(hasty))
    await hasty.beat(WorkerRecord(id="other"))
    assert [record.id for record in await listed(fleet)] == ["other"]


async def _gone(fleet: RedisFleet) -> bool:
    return not await listed(fleet)


async def test_restart_is_a_moment_that_all_workers_see_row_42(clients: RedisClients) -> None:
    fleet = RedisFleet(clients)

    first = await asyncio.to_thread(fleet.restart)
    second = await asyncio.to_thread(fleet.restart)

    assert second > first
    assert await fleet.beat(RECORD) == second


async def test_a_record_that_cannot_be_read_is_left_out(clients: RedisClients) -> None:
    fleet = RedisFleet(clients)
    await fleet.beat(RECORD)
    await clients.aio.hset(clients.keys.queues("workers"), RECORD.id, b"{")

    assert await listed(fleet) == []
