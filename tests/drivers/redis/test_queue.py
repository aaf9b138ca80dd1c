"""Plain queues: reserving, settling, fencing, delays, suspects, outages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.queue import Done, Fail, Hold, NewJob, QueueSizes, Release, Retry
from broadcaster.drivers.redis import queue_push
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import DriverUnavailable
from tests.drivers.redis.queue_world import QueueWorld, job_id, numbers
from tests.polling import eventually_async

if TYPE_CHECKING:
    from tests.faults import FaultyServer

pytestmark = pytest.mark.redis

SHORT = 0.25


@pytest.fixture
def world(clients: RedisClients) -> QueueWorld:
    return QueueWorld(clients)


@pytest.fixture
def brief(clients: RedisClients) -> QueueWorld:
    """A queue whose leases are short enough to be waited for."""
    return QueueWorld(clients, lease=SHORT)


async def test_jobs_are_reserved_in_the_order_of_their_push(world: QueueWorld) -> None:
    await world.push(1, 2, 3)

    first, rest = await world.reserve(2), await world.reserve(2)

    assert numbers(first) == [1, 2]
    assert numbers(rest) == [3]
    assert first[0].body == b"body 1"
    assert first[0].attempts == 0
    assert not first[0].alone


async def test_pushing_an_id_again_changes_nothing(world: QueueWorld) -> None:
    assert await world.push(1, 1, 2) == 2
    assert await world.push(2, 3) == 1
    (held,) = await world.reserve()
    assert await world.push(1) == 0

    await world.step(Fail(held.id, held.token, "exception", "x", 1))

    assert await world.push(1) == 0
    assert await world.queue.asizes("q") == QueueSizes(ready=2, failed=1)


async def test_sync_and_async_pushes_do_the_same(world: QueueWorld) -> None:
    job = NewJob(job_id(1), "q", b"x")

    assert (await asyncio.to_thread(world.queue.push, [job])).new == [job.id]
    assert (await world.queue.apush([job])).known == [job.id]
    assert await asyncio.to_thread(world.queue.sizes, "q") == QueueSizes(ready=1)
    assert await asyncio.to_thread(world.queue.queues) == ["q"]


async def test_the_first_push_to_a_queue_takes_one_round_trip(world: QueueWorld) -> None:
    """It lists the queue as well; `broadcast()` promises to wait once."""
    job = NewJob(id=job_id(1), queue="new", body=b"1")
    await world.push(1)  # the script is known and the connection stands
    reads = await _reads(world)

    await world.queue.apush([job])

    assert await _reads(world) - reads == 2  # the push, and the question itself
    assert "new" in world.queue.queues()


async def _reads(world: QueueWorld) -> int:
    """How often the server has read from a connection; a pipeline is one read."""
    stats = await world.clients.aio.info("stats")
    return int(stats["total_reads_processed"])


async def test_a_large_push_keeps_its_order(world: QueueWorld) -> None:
    await world.push(*range(2_500))

    assert numbers(await world.reserve(1_000)) == list(range(1_000))


async def test_a_push_in_several_rounds_keeps_its_order_and_tells_of_each_job(
    world: QueueWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_push, "ROUND_JOBS", 1_000)
    jobs = [NewJob(job_id(number), "q", b"x") for number in range(2_500)]

    first = world.queue.push(jobs)
    again = await world.queue.apush([*jobs, NewJob(job_id(2_500), "q", b"x")])

    assert first.new == [job.id for job in jobs]
    assert again.known == first.new
    assert again.new == [job_id(2_500)]
    assert numbers(await world.reserve(1_000)) == list(range(1_000))


async def test_settling_and_reserving_share_a_round_trip(world: QueueWorld) -> None:
    await world.push(*range(6))
    a, b, c = await world.reserve(3)

    reply = await world.step(
        Done(a.id, a.token),
        Retry(b.id, b.token),
        Fail(c.id, c.token, "exception", "boom", 1),
        reserve=3,
    )

    assert numbers(reply.reserved) == [3, 4, 5]
    assert reply.refused == []
    assert await world.queue.asizes("q") == QueueSizes(ready=1, held=3, failed=1)


async def test_a_finished_queue_leaves_nothing_but_its_counters(world: QueueWorld) -> None:
    await world.push(1, 2)
    first = await world.reserve(2)
    await world.step(*(Retry(job.id, job.token) for job in first))
    again = await world.reserve(2)

    await world.step(*(Done(job.id, job.token) for job in again))

    assert await world.all_keys() == ["meta", "notify", "stats"]


async def test_attempts_rise_when_a_started_job_is_given_back(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()

    await world.step(Retry(job.id, job.token))
    (job,) = await world.reserve()
    assert job.attempts == 1
    await world.step(Release(job.id, job.token))
    (job,) = await world.reserve()

    assert job.attempts == 1


async def test_a_released_job_is_next_again(world: QueueWorld) -> None:
    await world.push(1, 2, 3)
    one, two = await world.reserve(2)

    await world.step(Release(one.id, one.token), Release(two.id, two.token))

    assert numbers(await world.reserve(3)) == [1, 2, 3]


async def test_tokens_rise_at_every_reserve(world: QueueWorld) -> None:
    await world.push(1, 2)
    tokens = []
    for _ in range(3):
        for job in await world.reserve(2):
            tokens.append(job.token)
            await world.step(Retry(job.id, job.token))

    assert tokens == sorted(set(tokens))


async def test_tokens_rise_even_after_the_server_lost_the_counter(world: QueueWorld) -> None:
    await world.push(1)
    (before,) = await world.reserve()
    await world.step(Release(before.id, before.token))
    await world.raw("DEL", world.key("meta"))

    (after,) = await world.reserve()

    assert after.token > before.token


async def test_a_late_settlement_of_a_slow_worker_is_refused(brief: QueueWorld) -> None:
    await brief.push(1)
    (slow,) = await brief.reserve()
    await brief.lapse()
    (taken,) = await brief.reserve(worker="other")

    for settlement in (
        Done(slow.id, slow.token),
        Retry(slow.id, slow.token, 60),
        Release(slow.id, slow.token),
        Fail(slow.id, slow.token, "exception", "x"),
    ):
        assert (await brief.step(settlement)).refused == [slow.id]

    assert (await brief.step(Done(taken.id, taken.token))).refused == []
    assert await brief.queue.asizes("q") == QueueSizes()


async def test_a_settlement_sent_twice_counts_once(world: QueueWorld) -> None:
    await world.push(1)
    (job,) = await world.reserve()

    await world.step(Retry(job.id, job.token))
    reply = await world.step(Retry(job.id, job.token))
    (job,) = await world.reserve()

    assert reply.refused == [job.id]
    assert job.attempts == 1


async def test_a_delayed_job_is_never_early(world: QueueWorld) -> None:
    before = await world.redis_ms()
    await world.push(1, delay=0.2)

    await world.until(lambda reply: reply.reserved, reserve=1, pause=0.001)

    assert await world.redis_ms() >= before + 200


async def test_a_reply_says_when_something_becomes_due(world: QueueWorld) -> None:
    assert (await world.step(reserve=1)).next_in is None
    await world.push(1, delay=50)
    await world.push(2, delay=20)

    assert (await world.step(reserve=1)).next_in == pytest.approx(20, abs=1)


async def test_a_retry_waits_for_its_delay(world: QueueWorld) -> None:
    await world.push(1, 2)
    (job,) = await world.reserve()

    reply = await world.step(Retry(job.id, job.token, 60))
    assert reply.next_in == pytest.approx(60, abs=5)
    assert numbers(await world.reserve(2)) == [2]

    await world.raw("ZADD", world.key("delayed"), "1", job.id)
    assert numbers(await world.reserve(2)) == [1]


async def test_a_push_wakes_one_waiting_worker(world: QueueWorld) -> None:
    waiting = [asyncio.create_task(RedisQueue(world.clients).wait("q", 30)) for _ in range(2)]

    async def both_wait() -> bool:
        info = await world.clients.aio.info("clients")
        return int(info["blocked_clients"]) >= 2

    await eventually_async(both_wait)
    await world.push(1, 2, 3)
    done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await world.redis_ms()  # a second hint would have been given at once

    assert [one.result() for one in done] == ["q"]
    assert [one.done() for one in others] == [False]
    for one in others:
        one.cancel()
    await asyncio.wait(others)


async def test_a_step_that_leaves_ready_jobs_wakes_the_next_worker(world: QueueWorld) -> None:
    await world.push(1, 2, 3)
    assert await world.queue.wait("q", 1.0)

    await world.step(reserve=2)

    assert await world.queue.wait("q", 1.0)


async def test_a_step_that_leaves_nothing_wakes_nobody(world: QueueWorld) -> None:
    await world.push(1)
    assert await world.queue.wait("q", 1.0)

    await world.step(reserve=1)

    assert not await world.queue.wait("q", 0.05)


async def test_an_earlier_delayed_job_wakes_a_waiting_worker(world: QueueWorld) -> None:
    await world.push(1, delay=50)
    assert await world.queue.wait("q", 1.0)
    await world.push(2, delay=60)
    assert not await world.queue.wait("q", 0.05)

    await world.push(3, delay=40)

    assert await world.queue.wait("q", 1.0)


async def test_no_lease_ends_before_its_time(world: QueueWorld) -> None:
    """Ends are kept in milliseconds; tokens are the microseconds of the reservations."""
    await world.push(*range(20))
    for _ in range(20):
        (job,) = await world.reserve()
        end_ms = int(float(await world.raw("ZSCORE", world.key("reserved"), job.id)))
        assert end_ms * 1000 >= job.token + world.lease * 1e6

        before = await world.redis_us()
        await asyncio.to_thread(world.queue.extend, "q", {job.id: job.token}, world.lease)
        end_ms = int(float(await world.raw("ZSCORE", world.key("reserved"), job.id)))
        assert end_ms * 1000 >= before + world.lease * 1e6


async def test_renewed_leases_do_not_lapse(brief: QueueWorld) -> None:
    await brief.push(1)
    (job,) = await brief.reserve()
    kept = await asyncio.to_thread(brief.queue.extend, "q", {job.id: job.token}, 60)
    over = await brief.redis_ms() + 2_000 * SHORT  # then the lease that it began with is

    async def is_over() -> bool:
        assert (await brief.step(reserve=1)).reserved == []
        return await brief.redis_ms() > over

    await eventually_async(is_over)
    assert kept == {job.id: Hold.KEPT}


async def test_a_renewal_tells_what_became_of_a_job(brief: QueueWorld) -> None:
    await brief.push(1, 2, 3)
    done, taken, kept = await brief.reserve(3)
    await brief.step(Done(done.id, done.token), Retry(taken.id, taken.token))
    await brief.reserve(1)
    holds = {job.id: job.token for job in (done, taken, kept)}

    answer = await asyncio.to_thread(brief.queue.extend, "q", holds, 60)

    assert answer == {done.id: Hold.GONE, taken.id: Hold.LOST, kept.id: Hold.KEPT}


async def test_a_lapse_uses_no_try(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()

    (job,) = await brief.reserve()

    assert job.attempts == 0


async def test_lapsed_jobs_are_handed_out_alone_and_only_to_the_idle(brief: QueueWorld) -> None:
    await brief.push(1, 2, 3)
    await brief.reserve(2)
    await brief.lapse()

    first = await brief.step(reserve=10, idle=True)
    busy = await brief.step(reserve=10, idle=False, worker="busy")

    assert [(job.id, job.alone) for job in first.reserved] == [(job_id(1), True)]
    assert busy.reserved == []
    assert busy.drain


async def test_one_worker_drains_for_a_suspect_and_the_others_go_on(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()
    await brief.push(2, 3)

    drains = await brief.step(reserve=1, idle=False, worker="a", lease=30)
    still = await brief.step(reserve=1, idle=False, worker="a", lease=30)
    goes_on = await brief.step(reserve=1, idle=False, worker="b", lease=30)
    drained = await brief.step(reserve=2, idle=True, worker="a", lease=30)

    assert (drains.drain, drains.reserved) == (True, [])
    assert (still.drain, still.reserved) == (True, [])
    assert (goes_on.drain, numbers(goes_on.reserved)) == (False, [2])
    assert numbers(drained.reserved) == [1]


async def test_a_worker_that_cannot_drain_goes_on_after_a_lease(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()
    await brief.push(2)
    assert (await brief.step(reserve=1, idle=False)).drain

    reply = await brief.until(lambda reply: reply.reserved, reserve=1, idle=False)

    assert numbers(reply.reserved) == [2]


async def test_a_suspect_that_finishes_is_no_suspect_any_more(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()
    (suspect,) = await brief.reserve()
    await brief.step(Retry(suspect.id, suspect.token))

    (again,) = await brief.reserve(idle=False)

    assert not again.alone


async def test_a_suspect_handed_back_unstarted_stays_one(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()
    (suspect,) = await brief.reserve()
    await brief.step(Release(suspect.id, suspect.token))

    (again,) = await brief.reserve()

    assert again.alone


async def test_a_job_that_crashes_its_worker_alone_too_often_fails(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()
    for _ in range(2):
        assert numbers(await brief.reserve(max_crashes=2)) == [1]
        reply = await brief.lapse(max_crashes=2)

    assert reply.crashed == [job_id(1)]
    assert await brief.queue.asizes("q") == QueueSizes(failed=1)
    assert await brief.reserve() == []


async def test_three_crashes_alone_are_too_many_unless_it_is_said_otherwise(
    brief: QueueWorld,
) -> None:
    await brief.push(1)
    await brief.reserve()
    await brief.lapse()
    replies = []
    for _ in range(3):
        (job,) = await brief.reserve()
        assert (job.alone, job.attempts) == (True, 0)
        replies.append(await brief.lapse())

    assert [reply.crashed for reply in replies] == [[], [], [job_id(1)]]


async def test_only_lapses_while_alone_count_as_crashes(brief: QueueWorld) -> None:
    await brief.push(1, 2)
    for _ in range(3):
        await brief.raw("DEL", brief.key("crashes"))
        await brief.reserve(2, max_crashes=1)
        reply = await brief.lapse(max_crashes=1)
        assert reply.crashed == []
        # As if no longer suspected: both are reserved together once more.
        ids = await brief.raw("LRANGE", brief.key("suspects"), "0", "-1")
        await brief.raw("DEL", brief.key("suspects"))
        await brief.raw("RPUSH", brief.key("ready"), *(each.decode() for each in ids))

    assert (await brief.queue.asizes("q")).failed == 0


async def test_after_an_outage_leases_live_a_third_longer(clients: RedisClients) -> None:
    world = QueueWorld(clients, lease=1.2)
    await world.push(1)
    (job,) = await world.reserve()
    # Nobody was seen since long before, and the lease is over.
    past = await world.redis_ms() - 5_000
    await world.raw("HSET", world.key("meta"), "seen", str(past))
    await world.raw("ZADD", world.key("reserved"), str(past), job.id)

    first = await world.step(reserve=1)
    assert first.lapsed == 0
    assert first.next_in == pytest.approx(0.4, abs=0.1)
    kept = await asyncio.to_thread(world.queue.extend, "q", {job.id: job.token}, 60)
    assert kept == {job.id: Hold.KEPT}

    await asyncio.sleep(0.45)
    assert (await world.step(reserve=1, lease=60)).lapsed == 0


async def test_a_renewal_does_not_hide_an_outage(clients: RedisClients) -> None:
    world = QueueWorld(clients, lease=1.2)
    await world.push(1, 2)
    mine, other = await world.reserve(2)
    past = await world.redis_ms() - 5_000
    await world.raw("HSET", world.key("meta"), "seen", str(past))
    await world.raw("ZADD", world.key("reserved"), str(past), other.id)

    await asyncio.to_thread(world.queue.extend, "q", {mine.id: mine.token}, 1.2)

    assert (await world.step()).lapsed == 0


async def test_a_dead_job_lapses_after_the_grace(brief: QueueWorld) -> None:
    await brief.push(1)
    await brief.reserve()
    past = await brief.redis_ms() - 5_000
    await brief.raw("HSET", brief.key("meta"), "seen", str(past))

    reply = await brief.lapse()

    assert reply.lapsed == 1


async def test_a_call_that_outlived_its_caller_reserves_nothing(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)
    world = QueueWorld(clients)
    try:
        await world.push(1)
        await world.step()
        redis_server.freeze()
        with pytest.raises(DriverUnavailable):
            await world.step(reserve=1)
        await asyncio.sleep(1.0)  # until the caller's time is over on the server's clock too
        redis_server.thaw()
        await asyncio.to_thread(clients.sync.ping)

        assert (await world.queue.asizes("q")) == QueueSizes(ready=1)
        assert numbers(await world.reserve()) == [1]
    finally:
        redis_server.thaw()
        await clients.aclose()


async def test_what_a_worker_holds_without_knowing_is_handed_back(world: QueueWorld) -> None:
    await world.push(1, 2, 3, 4)
    (known,) = await world.reserve()
    (of_another,) = await world.reserve(worker="other")
    await world.reserve(2)  # the answer is lost

    reply = await world.step(reserve=5, recover_after=known.token)

    assert numbers(reply.reserved) == [3, 4]
    assert [job.attempts for job in reply.reserved] == [0, 0]
    done = await world.step(Done(known.id, known.token), Done(of_another.id, of_another.token))
    assert done.refused == []


async def test_a_frozen_server_ends_waiting_with_an_error(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)
    queue = RedisQueue(clients)
    try:
        assert not await queue.wait("q", 0.01)
        redis_server.freeze()
        with pytest.raises(DriverUnavailable):
            await queue.wait("q", 0.1)
        redis_server.thaw()
        await queue.apush([NewJob(job_id(1), "q", b"x")])

        assert await queue.wait("q", 1.0)
    finally:
        redis_server.thaw()
        await clients.aclose()


async def test_failed_jobs_are_trimmed_by_count_and_age(clients: RedisClients) -> None:
    from broadcaster.contracts.queue import FailedLimits

    world = QueueWorld(clients)
    world.queue = RedisQueue(clients, FailedLimits(count=3, seconds=60))
    await world.push(*range(6))
    jobs = await world.reserve(6)
    old = await world.redis_ms() - 61_000
    for job in jobs[:5]:
        await world.step(Fail(job.id, job.token, "exception", "x", 1))
        if job is jobs[0]:
            await world.raw("ZADD", world.key("failed"), str(old), job.id)

    left = await world.raw("ZRANGE", world.key("failed"), "0", "-1")

    assert [int(each, 16) for each in left] == [2, 3, 4]
    assert await world.raw("HLEN", world.key("failed_jobs")) == 3
    assert await world.raw("HLEN", world.key("failed_notes")) == 3


async def test_an_id_without_a_body_is_skipped(world: QueueWorld) -> None:
    await world.push(1, 2)
    await world.raw("HDEL", world.key("jobs"), job_id(1))

    assert numbers(await world.reserve(2)) == [2]


async def test_queues_are_apart(world: QueueWorld) -> None:
    await world.queue.apush([NewJob(job_id(1), "q", b"x"), NewJob(job_id(1), "other", b"x")])

    assert await world.queue.asizes("q") == QueueSizes(ready=1)
    assert await world.queue.asizes("other") == QueueSizes(ready=1)


async def test_an_id_that_is_none_of_ours_takes_nobody_down(world: QueueWorld) -> None:
    keys = world.clients.keys
    world.clients.sync.hset(keys.queue("q", "jobs"), b"\xff\xfe", b"{}")
    world.clients.sync.rpush(keys.queue("q", "ready"), b"\xff\xfe")
    await world.push(1)

    strange, ours = await world.reserve(2)
    reply = await world.step(Done(strange.id, strange.token), Done(ours.id, ours.token))

    assert (strange.body, ours.id) == (b"{}", job_id(1))
    assert reply.refused == [strange.id]
