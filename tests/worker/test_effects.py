"""What a worker owes is done beside its loop, and stays owed when it cannot be done."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.settlements import BatchMark, Link, NewJob, Owed, Push
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.lifecycle import JobQueued
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.worker.effects import MAX_CALLS, Effects
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.contracts.queue import Pushing, Queue
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.worker.effects import Telling

OWED = Owed("a:1", (), "a")


class SlowQueue:
    """Applies when `gate` is set, and raises `error` then, if there is one."""

    def __init__(self, gate: asyncio.Event, error: Exception | None = None) -> None:
        self.gate, self.error = gate, error
        self.applied: list[Sequence[Owed]] = []
        self.begun = 0

    async def apply(self, queue: str, owed: Sequence[Owed], push: Pushing | None = None) -> None:
        del queue, push
        self.begun += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.applied.append(owed)


def made(queue: SlowQueue, told: list[str]) -> Effects:
    double: Queue = queue  # type: ignore[assignment]  # the one method that is called
    return Effects(double, lambda: told.append("look again"))


class RefusingQueue:
    """Does one after the other, and raises when it was to do `refused`."""

    def __init__(self, refused: str) -> None:
        self.refused = refused

    async def apply(self, queue: str, owed: Sequence[Owed], push: Pushing | None = None) -> None:
        del queue, push
        if self.refused in [one.key for one in owed]:
            raise DriverRefused("WRONGTYPE")


def telling(told: list[str], queue: str, owed: Owed) -> tuple[Owed, Telling]:
    del queue

    async def tell() -> None:
        told.append(owed.id)

    return owed, tell


@pytest.fixture
def gate() -> asyncio.Event:
    return asyncio.Event()


async def test_the_worker_looks_again_when_something_was_done(gate: asyncio.Event) -> None:
    told: list[str] = []
    queue = SlowQueue(gate)
    effects = made(queue, told)

    await effects.take("q", [OWED])
    assert (effects.busy, told) == (True, [])
    gate.set()
    await effects.finish(5)

    assert (queue.applied, told, effects.busy) == ([[OWED]], ["look again"], False)


async def test_so_much_at_once_and_no_more_is_under_way(gate: asyncio.Event) -> None:
    effects = made(queue := SlowQueue(gate), [])
    for _ in range(MAX_CALLS):
        await effects.take("q", [OWED])

    one_more = asyncio.create_task(effects.take("q", [OWED]))
    await eventually(lambda: queue.begun == MAX_CALLS)
    assert not one_more.done()
    gate.set()
    await one_more
    await effects.finish(5)

    assert queue.begun == MAX_CALLS + 1


async def test_an_outage_is_no_news(gate: asyncio.Event, caplog: pytest.LogCaptureFixture) -> None:
    """The steps of the worker report it."""
    gate.set()
    told: list[str] = []
    effects = made(SlowQueue(gate, DriverUnavailable("away")), told)

    with caplog.at_level(logging.INFO):
        await effects.take("q", [OWED])
        await effects.finish(5)

    assert (caplog.messages, told) == ([], [])


async def test_what_is_refused_is_told_and_the_rest_was_done(
    gate: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    gate.set()
    told: list[str] = []
    effects = made(SlowQueue(gate, DriverRefused("WRONGTYPE")), told)

    await effects.take("q", [OWED])
    await effects.finish(5)

    assert "what follows from jobs of q is refused" in caplog.text
    assert told == ["look again"]


async def test_of_jobs_that_were_given_up_those_are_told_of_whose_sequels_are_done() -> None:
    """The others are owed again, and told of then; what is done is never owed again."""
    told: list[str] = []
    crashed = [Owed(f"{job_id}:1", (), job_id, b"", 1, "crashed") for job_id in "abc"]
    queue: Queue = RefusingQueue("b:1")  # type: ignore[assignment]  # the one method that is called
    effects = Effects(queue, lambda: told.append("look again"), partial(telling, told))

    await effects.take("q", [*crashed, Owed("d:1", (), "d")])
    await effects.finish(5)
    await eventually(lambda: len(told) == 3)

    assert sorted(told) == ["a", "c", "look again"]


async def test_a_bug_takes_nobody_down(
    gate: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    gate.set()
    effects = made(SlowQueue(gate, ValueError("a bug")), [])

    await effects.take("q", [OWED])
    await effects.finish(5)

    assert "effects failed" in caplog.text


async def test_it_waits_only_so_long_for_what_is_under_way(gate: asyncio.Event) -> None:
    queue = SlowQueue(gate)
    effects = made(queue, [])
    await effects.take("q", [OWED])

    await effects.finish(0.01)
    await eventually(lambda: not effects.busy)

    assert queue.applied == []


@pytest.mark.redis
async def test_row_47_what_two_workers_do_for_one_settlement_is_told_once(
    clients: RedisClients, queued: list[JobQueued]
) -> None:
    """The first one was thought dead, so the second one was given what it owed, too."""
    push, mark = link(), BatchMark("b" * 32, 0)
    owed = Owed("a:1", (push, mark), "a")
    workers = [
        Effects(RedisQueue(clients), asyncio.Event().set, connection="mail") for _ in range(2)
    ]

    for worker in workers:
        await worker.take("q", [owed, owed])
    for worker in workers:
        await worker.finish(5)

    ((id_, connection, queue, delay),) = [
        (event.id, event.connection_name, event.queue, event.delay) for event in queued
    ]
    assert (id_, connection, queue, delay) == (push.job.id, "mail", "q", 5.0)


@pytest.mark.redis
async def test_row_47_what_redis_refuses_is_told_when_it_was_queued_after_all(
    clients: RedisClients, queued: list[JobQueued]
) -> None:
    stray = clients.keys.queue("q", "jobs")
    await clients.aio.set(stray, "not ours")
    effects = Effects(RedisQueue(clients), asyncio.Event().set)

    await effects.take("q", [Owed("a:1", (link(),), "a")])
    await effects.finish(5)
    assert queued == []
    await clients.aio.delete(stray)
    await effects.take("q", [Owed("a:1", (link(),), "a")])
    await effects.finish(5)

    assert [event.queue for event in queued] == ["q"]


@pytest.fixture
def queued() -> Iterator[list[JobQueued]]:
    events: list[JobQueued] = []
    remove = lifecycle_listeners.add(JobQueued, events.append)
    yield events
    remove()


def link() -> Push:
    job_id = "c" * 32
    body = encode_payload(Payload(id=job_id, job="mail.Send"))
    return Push(NewJob(job_id, "q", body, delay=5.0, link=Link("chain", 1)))
