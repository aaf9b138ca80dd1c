from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import Done, StepRequest
from broadcaster.drivers.null import NullLocks
from broadcaster.drivers.redis.locks import RedisLocks
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import DriverUnavailable, InvalidJob, NotReplicated
from broadcaster.jobs.bus import prepared
from broadcaster.jobs.job import Job
from broadcaster.protocol.lanes import ordered_queue
from broadcaster.protocol.payload import decode_payload
from broadcaster.scheduling.runner import LOCK, SHORTEST_WAIT, ScheduleRunner, scheduled_job
from broadcaster.scheduling.timetable import CLOCK_SECONDS, Due, Entry, EveryTimes
from tests.polling import eventually
from tests.scheduling.scheduled_jobs import Tidy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.contracts.limits import LockOwner, Locks
    from broadcaster.drivers.redis.client import RedisClients


def entry(lock: float | None = None, name: str = "tidy") -> Entry:
    return Entry(name=name, job=prepared(Tidy()), times=EveryTimes(60), lock=lock)


class Clock:
    def __init__(self, now: float = 1_200.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def pushing(
    clients: RedisClients, clock: Clock
) -> tuple[list[float], Callable[[Due], Awaitable[bool]]]:
    queue = RedisQueue(clients)
    queued: list[float] = []

    async def send(each: Due) -> bool:
        new = scheduled_job(each.entry, each.moment, now=clock(), default_queue="default")
        pushed = await queue.apush([new])
        queued.extend(each.moment for _ in pushed.new)
        return bool(pushed.new)

    return queued, send


def test_a_scheduled_job_that_is_unique_until_it_runs_frees_its_lock_then() -> None:
    class Early(Job, name="scheduling.Early", unique=True, unique_until="processing"):
        def handle(self) -> None: ...

    class Late(Job, name="scheduling.Late", unique=True, ordered_by="key"):
        key: str = "x"

        def handle(self) -> None: ...

    early, late = (
        scheduled_job(
            Entry(name="one", job=prepared(job), times=EveryTimes(60)),
            1_200.0,
            now=1.0,
            default_queue="default",
            lanes=99,
        )
        for job in (Early(), Late())
    )

    assert early.unique is not None
    assert decode_payload(early.body).unlock == early.unique.key
    assert decode_payload(late.body).unlock == ""
    assert late.queue == ordered_queue("default", "x", 99)


def test_a_scheduled_job_is_the_same_whoever_makes_it() -> None:
    first, second = (
        scheduled_job(entry(), 1_200.0, now=now, default_queue="default") for now in (1.0, 2.0)
    )
    other = scheduled_job(entry(), 1_260.0, now=1.0, default_queue="default")

    assert (first.id, first.link) == (second.id, second.link)
    assert first.queue == "chores"
    assert other.id != first.id
    assert decode_payload(first.body).retry_until == 601.0


@pytest.mark.redis
async def test_of_two_runners_one_works_and_the_other_takes_over(
    clients: RedisClients, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock, locks = Clock(), RedisLocks(clients)
    queued, send = pushing(clients, clock)
    one, two = (
        ScheduleRunner([entry()], send, locks, name, clock=clock) for name in ("one", "two")
    )

    await one.turn()
    assert await two.turn() <= 5
    assert (one.leads, two.leads, queued) == (True, False, [1_200.0])
    assert caplog.messages[-1].startswith("another runner queues what is due; this one takes over")

    one.stop()
    await one.run()
    clock.now = 1_260.0
    await two.turn()
    assert (two.leads, queued) == (True, [1_200.0, 1_260.0])


@pytest.mark.redis
async def test_a_moment_is_queued_once_even_if_two_runners_work(
    clients: RedisClients, caplog: pytest.LogCaptureFixture
) -> None:
    """As when one is stopped for longer than its lease, and goes on; the job is done by then."""
    clock, queue = Clock(), RedisQueue(clients)
    queued, send = pushing(clients, clock)
    one, two = (
        ScheduleRunner([entry()], send, NullLocks(), name, clock=clock) for name in ("one", "two")
    )

    await one.turn()
    reply = await queue.step(StepRequest(queue="chores", reserve=1, worker="w"))
    (held,) = reply.reserved
    await queue.step(
        StepRequest(queue="chores", settlements=[Done(held.id, held.token)], worker="w")
    )
    with caplog.at_level("INFO"):
        await two.turn()

    assert queued == [1_200.0]
    assert (await queue.asizes("chores")).ready == 0
    assert ", due at 1970-01-01T00:20:00+00:00: it was queued before, or " in caplog.text


@pytest.mark.redis
async def test_without_overlapping_a_job_waits_for_none_of_its_own(clients: RedisClients) -> None:
    clock = Clock()
    queued, send = pushing(clients, clock)
    runner = ScheduleRunner([entry(lock=600)], send, RedisLocks(clients), "one", clock=clock)

    await runner.turn()
    clock.now = 1_260.0
    await runner.turn()

    assert queued == [1_200.0]


class AwayLocks(NullLocks):
    """A store that cannot be reached."""

    async def aacquire(self, key: str, owner: LockOwner, lease: float) -> float:
        raise DriverUnavailable("away")


class LapsingLocks(NullLocks):
    """Another one has it, for a millisecond more."""

    async def aacquire(self, key: str, owner: LockOwner, lease: float) -> float:
        return 0.001


async def test_a_lock_that_is_about_to_lapse_is_not_asked_for_without_a_pause() -> None:
    runner = ScheduleRunner([entry()], never, LapsingLocks(), "one", clock=Clock())

    assert await runner.turn() == SHORTEST_WAIT


async def never(each: Due) -> bool:
    raise AssertionError(each)


async def test_nobody_leads_while_the_store_is_away() -> None:
    runner = ScheduleRunner([entry()], never, AwayLocks(), "one", clock=Clock())

    assert await runner.turn() == 1.0
    assert not runner.leads


async def test_what_could_not_be_queued_is_tried_again_and_what_never_can_be_is_left() -> None:
    errors = [DriverUnavailable("away"), InvalidJob("too large")]
    sent: list[float] = []

    async def send(each: Due) -> bool:
        sent.append(each.moment)
        if errors:
            raise errors.pop(0)
        return True

    runner = ScheduleRunner([entry()], send, NullLocks(), "one", clock=Clock())
    assert await runner.turn() == 1.0
    await runner.turn()
    await runner.turn()

    assert sent == [1_200.0, 1_200.0]


async def test_what_too_few_replicas_have_is_queued_and_not_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[float] = []
    clock = Clock()

    async def send(each: Due) -> bool:
        sent.append(each.moment)
        raise NotReplicated("0 of 1", replicas=0)

    runner = ScheduleRunner([entry()], send, NullLocks(), "one", clock=clock)
    for later in (0, 1, 60):
        clock.now += later
        await runner.turn()

    assert sent == [1_200.0, 1_260.0]
    assert caplog.messages == ["tidy is queued on too few servers: 0 of 1"]


async def test_a_job_that_cannot_be_made_or_sent_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its connection is away, or its code raises: all others are queued, and it is said once."""
    sent: list[str] = []

    async def send(each: Due) -> bool:
        if each.entry.name == "away":
            raise DriverUnavailable("the connection is away")
        if each.entry.name == "broken":
            raise ZeroDivisionError("in unique_id()")
        sent.append(each.entry.name)
        return True

    entries = [entry(name=name) for name in ("away", "broken", "tidy")]
    runner = ScheduleRunner(entries, send, NullLocks(), "one", clock=Clock())
    for _ in range(3):
        assert await runner.turn() == 1.0

    assert sent == ["tidy"]
    assert caplog.text.count("away waits to be queued") == 1
    assert caplog.text.count("broken cannot be queued") == 1
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.redis
async def test_the_lock_is_free_when_a_runner_stops(clients: RedisClients) -> None:
    clock, locks = Clock(), RedisLocks(clients)
    _, send = pushing(clients, clock)
    runner = ScheduleRunner([entry()], send, locks, "one", clock=clock)

    async with asyncio.timeout(20):
        running = asyncio.ensure_future(runner.run())
        await eventually(lambda: runner.leads)
        runner.stop()
        await running

    assert not clients.sync.exists(clients.keys.limit(LOCK, "lock"))


@pytest.mark.redis
async def test_a_clock_that_was_wrong_for_a_moment_does_not_stop_the_schedule(
    clients: RedisClients,
) -> None:
    """Neither that of the same runner nor that of the next one."""
    clock = Clock()
    queued, send = pushing(clients, clock)
    one, two = (
        ScheduleRunner([entry()], send, NullLocks(), name, clock=clock) for name in ("one", "two")
    )
    await one.turn()
    clock.now += 7_200.0
    await one.turn()

    clock.now = 1_260.0
    await one.turn()
    clock.now = 1_320.0
    await two.turn()
    await one.turn()

    assert queued == [1_200.0, 8_400.0, 1_260.0, 1_320.0]


async def test_a_runner_whose_clock_is_not_that_of_the_store_queues_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, sent = Clock(), [0.0]

    async def send(each: Due) -> bool:
        sent.append(each.moment)
        return True

    async def store_clock() -> float:
        return 1_200.0

    runner = ScheduleRunner(
        [entry()], send, NullLocks(), "one", clock=clock, store_clock=store_clock
    )
    for wrong in (1_200.0 + CLOCK_SECONDS * 2, 1_200.0 - CLOCK_SECONDS * 2):
        clock.now = wrong
        assert await runner.turn() > 1
    assert (sent, runner.leads) == ([0.0], False)
    assert caplog.text.count("the clock of this machine is not that of the store: +120 s") == 1

    clock.now = 1_200.0 + CLOCK_SECONDS
    await runner.turn()
    assert (sent, runner.leads) == ([0.0, 1_260.0], True)


@pytest.mark.redis
async def test_the_clock_of_the_store_is_that_of_redis(clients: RedisClients) -> None:
    """Both are of this machine here."""
    locks: list[Locks] = [RedisLocks(clients), NullLocks()]

    times = [await store.atime() for store in locks]

    assert abs(times[0] - times[1]) < CLOCK_SECONDS


@pytest.mark.redis
async def test_a_lock_without_an_end_gets_one(
    clients: RedisClients,
) -> None:
    """As after a PERSIST by hand."""
    key = clients.keys.limit(LOCK, "lock")
    clients.sync.set(key, "somebody")
    runner = ScheduleRunner([entry()], never, RedisLocks(clients), "one", clock=Clock(), lease=12.0)

    assert await runner.turn() == 4.0
    assert 0 < clients.sync.pttl(key) <= 12_000
