"""Batches: counters that are exact, callbacks that come once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.batches import MAX_BATCH, BatchRecord, NewBatch
from broadcaster.contracts.queue import BatchMark, Link, NewJob
from broadcaster.contracts.settlements import Culprit
from broadcaster.drivers.redis.batches import RedisBatches, mark_args, set_bits
from broadcaster.drivers.redis.effects import decode_culprit, encode_culprit
from broadcaster.protocol.ids import uuid7

if TYPE_CHECKING:
    from broadcaster.contracts.batches import Marked, Moment
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

MOMENTS: tuple[Moment, ...] = ("then", "catch", "finally")


@pytest.fixture
def batches(clients: RedisClients) -> RedisBatches:
    return RedisBatches(clients)


def batch_id(number: int = 1) -> str:
    return uuid7(1_700_000_000 + number, bytes(10))


def new_batch(
    total: int = 3, *, number: int = 1, allow_failures: bool = False, **options: object
) -> NewBatch:
    return NewBatch(
        id=batch_id(number),
        name=f"import {number}",
        total=total,
        allow_failures=allow_failures,
        options=options,
        callbacks={
            moment: [NewJob(moment, "q", moment.encode(), link=Link(f"b:{moment}"))]
            for moment in MOMENTS
        },
    )


def due(marked: Marked) -> list[Moment]:
    return list(marked.due)


async def found(batches: RedisBatches) -> BatchRecord:
    record = await batches.afind(batch_id())
    assert record is not None
    return record


async def test_row_23_a_batch_has_a_name_and_options(batches: RedisBatches) -> None:
    assert await batches.acreate(new_batch(user=7, tags=["a", "ü"]))

    record = await found(batches)

    assert (record.name, record.options) == ("import 1", {"user": 7, "tags": ["a", "ü"]})
    assert record.created_at > 1_700_000_000
    assert await batches.afind(batch_id(2)) is None


async def test_row_24_a_batch_says_how_far_it_is(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(3))

    await batches.amark(batch_id(), 0)
    await batches.amark(batch_id(), 2, failed=True)

    record = await found(batches)
    assert (record.total, record.pending, record.failed, record.processed) == (3, 2, 1, 1)
    assert (record.progress, record.finished) == (33, False)


async def test_creating_a_batch_twice_changes_nothing(batches: RedisBatches) -> None:
    assert await batches.acreate(new_batch(3))
    await batches.amark(batch_id(), 0)

    assert not await batches.acreate(new_batch(5))

    assert (await found(batches)).pending == 2


async def test_row_21_then_and_finally_come_when_all_jobs_are_done(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(2))

    first = await batches.amark(batch_id(), 0)
    last = await batches.amark(batch_id(), 1)

    assert (due(first), due(last)) == ([], ["then", "finally"])
    assert last.due["then"] == [NewJob("then", "q", b"then", link=Link("b:then"))]
    assert (await found(batches)).finished


async def test_callbacks_stay_due_until_they_are_called(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(1))
    await batches.amark(batch_id(), 0)

    again = await batches.amark(batch_id(), 0)
    await batches.acalled(batch_id(), ["then"])
    rest = await batches.amark(batch_id(), 0)
    await batches.acalled(batch_id(), ["finally"])

    assert (again.first, due(again), due(rest)) == (False, ["then", "finally"], ["finally"])
    assert due(await batches.adue(batch_id())) == []


async def test_the_first_failure_cancels_and_is_caught_once(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(3))

    first = await batches.amark(batch_id(), 0, failed=True)
    await batches.acalled(batch_id(), due(first))
    second = await batches.amark(batch_id(), 1, failed=True)
    last = await batches.amark(batch_id(), 2)

    assert (due(first), due(second), due(last)) == (["catch"], [], ["finally"])
    record = await found(batches)
    assert (record.cancelled, record.finished, record.pending, record.failed) == (True, True, 2, 2)


async def test_row_22_failures_can_be_allowed(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(2, allow_failures=True))

    await batches.amark(batch_id(), 0, failed=True)
    last = await batches.amark(batch_id(), 1)

    assert not (await found(batches)).cancelled
    assert due(last) == ["catch", "finally"]


async def test_the_first_end_of_a_job_counts_and_done_is_final(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(3))

    assert (await batches.amark(batch_id(), 0)).first
    assert not (await batches.amark(batch_id(), 0)).first
    assert not (await batches.amark(batch_id(), 0, failed=True)).first

    assert (await found(batches)).failed == 0


async def test_a_failed_job_that_is_retried_becomes_done(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(2))
    await batches.amark(batch_id(), 0)
    await batches.amark(batch_id(), 1, failed=True)
    await batches.acalled(batch_id(), ["catch", "finally"])

    assert await batches.areopen(batch_id()) == [1]
    again = await batches.amark(batch_id(), 1)

    assert (again.first, due(again)) == (True, ["then"])
    record = await found(batches)
    assert (record.pending, record.failed, record.cancelled) == (0, 0, False)
    assert await batches.areopen(batch_id()) == []


async def test_row_25_a_cancelled_batch_has_no_then(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(1))

    assert await batches.acancel(batch_id())
    assert not await batches.acancel(batch_id())
    marked = await batches.amark(batch_id(), 0)

    assert due(marked) == ["finally"]
    assert (await found(batches)).cancelled


async def test_what_is_finished_cannot_be_cancelled(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(1))
    await batches.amark(batch_id(), 0)

    assert not await batches.acancel(batch_id())
    assert not await batches.acancel(batch_id(2))


async def test_row_26_jobs_are_added_while_a_batch_runs(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(1))

    assert await batches.aadd(batch_id(), "request", 2) == 1
    assert await batches.aadd(batch_id(), "request", 2) == 1
    assert await batches.aadd(batch_id(), "another", 1) == 3

    record = await found(batches)
    assert (record.total, record.pending) == (4, 4)
    last = [await batches.amark(batch_id(), index) for index in range(4)][-1]
    assert due(last) == ["then", "finally"]


async def test_nothing_is_added_to_what_is_over_or_full(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(1))
    assert await batches.aadd(batch_id(), "too many", MAX_BATCH) is None
    await batches.acreate(new_batch(1, number=2))
    await batches.acancel(batch_id(2))
    await batches.amark(batch_id(), 0)

    assert await batches.aadd(batch_id(), "late", 1) is None
    assert await batches.aadd(batch_id(2), "late", 1) is None
    assert await batches.aadd(batch_id(3), "unknown", 1) is None


async def test_a_batch_without_jobs_is_finished_at_once(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(0))

    assert due(await batches.adue(batch_id())) == ["then", "finally"]
    assert (await found(batches)).progress == 0


async def test_marks_of_what_is_not_there_are_told(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(1))

    assert not (await batches.amark(batch_id(9), 0)).found
    beyond = await batches.amark(batch_id(), 5)

    assert (beyond.found, beyond.first) == (True, False)


async def test_marks_of_many_batches_share_a_round_trip(batches: RedisBatches) -> None:
    for number in (1, 2):
        await batches.acreate(new_batch(2, number=number))

    marked = await batches.amark_all(
        {
            batch_id(1): [BatchMark(batch_id(1), 0), BatchMark(batch_id(1), 1)],
            batch_id(2): [BatchMark(batch_id(2), 0, failed=True)],
        }
    )

    assert due(marked[batch_id(1)]) == ["then", "finally"]
    assert due(marked[batch_id(2)]) == ["catch"]
    assert await batches.amark_all({}) == {}


async def test_row_22_the_first_failure_is_kept_until_it_was_told(batches: RedisBatches) -> None:
    one, two, three = (Culprit("mail", f"{n:032x}", f"ValueError: {n}") for n in range(3))
    await batches.acreate(new_batch(4, allow_failures=True))
    done = await batches.amark(batch_id(), 3, culprit=three)

    first = await batches.amark(batch_id(), 0, failed=True, culprit=one)
    second = await batches.amark(batch_id(), 1, failed=True, culprit=two)
    again = await batches.adue(batch_id())

    assert [marked.culprit for marked in (done, first, second, again)] == [None, one, one, one]
    await batches.acalled(batch_id(), ["catch"])
    third = await batches.amark(batch_id(), 2, failed=True, culprit=three)
    assert (third.culprit, due(third)) == (None, ["finally"])
    assert dict(await asyncio.to_thread(batches.callbacks, batch_id())).keys() == {
        "then",
        "finally",
    }


async def test_row_22_of_failures_in_one_call_the_first_new_one_is_named(
    batches: RedisBatches,
) -> None:
    one, two = (Culprit("mail", f"{n:032x}", f"ValueError: {n}") for n in range(2))
    await batches.acreate(new_batch(5, allow_failures=True))
    marks = [
        BatchMark(batch_id(), 0),
        BatchMark(batch_id(), 9, failed=True, culprit=two),  # it has no such job
        BatchMark(batch_id(), 0, failed=True, culprit=one),  # it is done
        BatchMark(batch_id(), 1, failed=True, culprit=one),
        BatchMark(batch_id(), 2, failed=True, culprit=one),  # a link behind it
        BatchMark(batch_id(), 3, failed=True, culprit=two),
    ]

    marked = (await batches.amark_all({batch_id(): marks}))[batch_id()]

    assert (marked.culprit, due(marked)) == (one, ["catch"])


async def test_what_is_kept_of_the_first_failure_has_a_bound(
    batches: RedisBatches, clients: RedisClients
) -> None:
    await batches.acreate(new_batch(2))
    long = Culprit("mail", "a" * 32, "x\udc80" * 100_000)

    marked = await batches.amark(batch_id(), 0, failed=True, culprit=long)

    assert marked.culprit == Culprit("mail", "a" * 32, "x?" * 1_000)
    kept = await clients.aio.hget(clients.keys.batch(batch_id(), "callbacks"), "culprit")  # type: ignore[misc]  # redis-py
    assert len(kept or b"") < 2_200


async def test_nothing_is_kept_of_a_failure_that_nobody_catches(
    batches: RedisBatches, clients: RedisClients
) -> None:
    await batches.acreate(NewBatch(id=batch_id(), total=2))

    marked = await batches.amark(batch_id(), 0, failed=True, culprit=Culprit("a", "b", "c"))

    assert (marked.culprit, due(marked)) == (None, [])
    assert not await clients.aio.exists(clients.keys.batch(batch_id(), "callbacks"))


def test_marks_say_who_failed_once_in_a_row() -> None:
    one, two = (Culprit("mail", f"{n:032x}", "") for n in range(2))
    marks = [BatchMark("b", n, failed=True, culprit=who) for n, who in enumerate((one, one, two))]

    args = mark_args([*marks, BatchMark("b", 3, culprit=two), BatchMark("b", 4, failed=True)])

    assert args[::2] == [0, 1, 2, 3, 4]
    assert args[3::2] == [b"1", b"1" + encode_culprit(two), b"0", b"1"]
    assert decode_culprit(encode_culprit(two)) == two


@pytest.mark.parametrize("value", [b"", b"{}", b"[1]", b"[" * 5_000, b"\xff"])
def test_a_culprit_that_was_not_written_here_is_none(value: bytes) -> None:
    assert decode_culprit(value) is None


async def test_workers_that_mark_at_once_count_exactly(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(15))

    marked = await asyncio.gather(*(batches.amark(batch_id(), index % 15) for index in range(45)))

    assert sum(each.first for each in marked) == 15
    assert (await found(batches)).pending == 0


async def test_batches_are_listed_newest_first(batches: RedisBatches) -> None:
    for number in range(5):
        await batches.acreate(new_batch(number=number))

    names = [each.name for each in await asyncio.to_thread(batches.newest, 3)]

    assert names == ["import 4", "import 3", "import 2"]
    before = await asyncio.to_thread(batches.newest, 9, 1_700_000_002)
    assert [each.name for each in before] == ["import 1", "import 0"]


async def test_the_list_of_batches_is_bounded(
    clients: RedisClients, batches: RedisBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may ever look at it; what falls out is still found by its id."""
    monkeypatch.setattr("broadcaster.drivers.redis.batches.MAX_LISTED", 3)
    for number in range(5):
        await batches.acreate(new_batch(1, number=number))

    names = [each.name for each in await asyncio.to_thread(batches.newest)]

    assert names == ["import 4", "import 3", "import 2"]
    assert clients.sync.zcard(clients.keys.batches("created")) == 3
    assert await batches.afind(batch_id(0)) is not None


async def test_batches_that_expired_are_forgotten(clients: RedisClients) -> None:
    brief = RedisBatches(clients, keep_finished=0.001)
    await brief.acreate(new_batch(1))
    await brief.acreate(new_batch(1, number=2))
    await brief.amark(batch_id(), 0)
    while await brief.afind(batch_id()) is not None:
        pass

    names = [each.name for each in await asyncio.to_thread(brief.newest)]

    assert names == ["import 2"]
    assert clients.sync.zcard(clients.keys.batches("created")) == 1
    keys = [key async for key in clients.aio.scan_iter(f"{clients.prefix}:{{b:{batch_id()}}}*")]
    assert keys == []


async def test_a_batch_that_is_being_made_stays_listed(
    clients: RedisClients, batches: RedisBatches
) -> None:
    """It is listed before it exists."""
    made = uuid7(time.time(), bytes(10))
    listed = clients.keys.batches("created")
    await clients.aio.zadd(listed, {made: int(time.time() * 1000)})

    assert await asyncio.to_thread(batches.newest) == []
    await batches.acreate(NewBatch(id=made, total=1))

    assert [each.id for each in await asyncio.to_thread(batches.newest)] == [made]


async def test_nothing_changes_when_what_is_retried_has_not_failed(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(2))
    await batches.amark(batch_id(), 0, failed=True)
    await batches.amark(batch_id(), 0)
    await batches.acancel(batch_id())

    assert await batches.areopen(batch_id()) == []
    assert (await found(batches)).cancelled


async def test_old_batches_are_pruned(batches: RedisBatches) -> None:
    for number in (1, 2, 3):
        await batches.acreate(new_batch(1, number=number))
    await batches.amark(batch_id(1), 0)
    await batches.acancel(batch_id(2))

    assert await asyncio.to_thread(batches.prune, 3600) == 0
    assert await asyncio.to_thread(batches.prune, -1) == 1  # jobs of what was cancelled may run
    assert await asyncio.to_thread(lambda: batches.prune(-1, unfinished=True)) == 2
    assert await asyncio.to_thread(batches.newest) == []


async def test_batches_of_code_without_a_loop_are_the_same(batches: RedisBatches) -> None:
    def work() -> tuple[bool, int | None, list[Moment], int, bool]:
        created = batches.create(new_batch(1))
        added = batches.add(batch_id(), "r", 1)
        batches.mark(batch_id(), 0)
        moments = due(batches.mark(batch_id(), 1, failed=True))
        batches.called(batch_id(), moments)
        record = batches.find(batch_id())
        assert record is not None
        rest = due(batches.due(batch_id()))
        return created, added, moments + rest, len(batches.reopen(batch_id())), record.finished

    assert await asyncio.to_thread(work) == (True, 1, ["catch", "finally"], 1, True)
    assert not await asyncio.to_thread(batches.cancel, batch_id())


def test_bits_are_read_as_redis_sets_them() -> None:
    assert set_bits(b"\x80\x01") == [0, 15]
    assert set_bits(b"") == []


@pytest.mark.parametrize(
    ("allowed", "cancelled", "failed", "moment"),
    [
        (False, False, [False, False], "next"),
        (True, False, [False, True], "next"),
        (False, False, [False, True], None),  # `catch` tells the chain
        (False, True, [False, False], "broken"),
        (True, True, [False, True], "broken"),
        (False, True, [False, True], None),
    ],
)
async def test_a_chain_goes_on_or_breaks_once_all_jobs_of_its_batch_have_run(
    batches: RedisBatches,
    *,
    allowed: bool,
    cancelled: bool,
    failed: list[bool],
    moment: Moment | None,
) -> None:
    callbacks: dict[Moment, list[NewJob]] = {
        "next": [NewJob("next", "q", b"{}")],
        "broken": [NewJob("broken", "q", b"{}")],
    }
    await batches.acreate(
        NewBatch(id=batch_id(), total=2, allow_failures=allowed, callbacks=callbacks)
    )
    if cancelled:
        await batches.acancel(batch_id())

    before = due(await batches.amark(batch_id(), 0, failed=failed[0]))
    after = due(await batches.amark(batch_id(), 1, failed=failed[1]))

    assert (before, after) == ([], [moment] if moment else [])


async def test_a_chain_goes_on_when_all_that_failed_in_its_batch_is_done(
    batches: RedisBatches,
) -> None:
    await batches.acreate(
        NewBatch(id=batch_id(), total=2, callbacks={"next": [NewJob("next", "q", b"{}")]})
    )
    for index in (0, 1):
        await batches.amark(batch_id(), index, failed=True)
    await batches.areopen(batch_id())

    first, last = [await batches.amark(batch_id(), index) for index in (0, 1)]

    assert (due(first), due(last)) == ([], ["next"])


async def test_it_is_known_what_has_ended(batches: RedisBatches) -> None:
    """Whoever begins a batch again leaves that out."""
    await batches.acreate(new_batch(20, allow_failures=True))
    assert await batches.aended(batch_id()) == set()

    for index, failed in ((0, False), (9, True), (17, True), (17, False)):
        await batches.amark(batch_id(), index, failed=failed)

    assert await batches.aended(batch_id()) == batches.ended(batch_id()) == {0, 9, 17}
    assert batches.ended(batch_id(2)) == set()


async def test_callbacks_are_known_until_they_are_queued(batches: RedisBatches) -> None:
    await batches.acreate(new_batch(1, allow_failures=True))
    await batches.amark(batch_id(), 0, failed=True)
    before = await asyncio.to_thread(batches.callbacks, batch_id())

    await batches.acalled(batch_id(), ["catch", "finally"])

    assert {moment: [job.body for job in jobs] for moment, jobs in before.items()} == {
        moment: [moment.encode()] for moment in MOMENTS
    }
    left = await asyncio.to_thread(batches.callbacks, batch_id())
    assert left.keys() == before.keys() - {"catch", "finally"}
    assert await asyncio.to_thread(batches.callbacks, batch_id(9)) == {}
