from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.batches import MAX_BATCH, BatchRecord, Marked, NewBatch
from broadcaster.contracts.settlements import Culprit, NewJob
from broadcaster.drivers import sync_batches
from broadcaster.drivers.sync_batches import SyncBatches

if TYPE_CHECKING:
    from broadcaster.contracts.batches import Moment

ID = "b" * 32
THEN, CATCH, FINALLY = (NewJob(letter * 32, "q", b"{}") for letter in "cde")


def kept(total: int = 2, *, allow_failures: bool = False) -> SyncBatches:
    store = SyncBatches()
    store.create(
        NewBatch(
            id=ID,
            total=total,
            allow_failures=allow_failures,
            callbacks={"then": [THEN], "catch": [CATCH], "finally": [FINALLY]},
        )
    )
    return store


def record(store: SyncBatches) -> BatchRecord:
    found = store.find(ID)
    assert found is not None
    return found


def test_jobs_are_counted_once_each() -> None:
    store = kept()

    marks = [store.mark(ID, 0), store.mark(ID, 0), store.mark(ID, 0, failed=True)]

    assert [mark.first for mark in marks] == [True, False, False]
    assert (record(store).pending, record(store).failed, record(store).finished) == (1, 0, False)


async def test_callbacks_are_due_until_they_were_called() -> None:
    store = kept()
    await store.amark(ID, 0)

    due = (await store.amark(ID, 1)).due

    assert due == {"then": [THEN], "finally": [FINALLY]} == (await store.adue(ID)).due
    await store.acalled(ID, ["then", "finally"])
    assert (await store.amark(ID, 1)).due == {}


def test_the_first_failure_is_told_until_it_was_called() -> None:
    one, two = Culprit("mail", "1" * 32, "boom"), Culprit("mail", "2" * 32, "bang")
    store = kept(3, allow_failures=True)

    marks = [
        store.mark(ID, 2),
        store.mark(ID, 0, failed=True, culprit=one),
        store.mark(ID, 1, failed=True, culprit=two),
    ]

    assert [mark.culprit for mark in marks] == [None, one, one]
    store.called(ID, ["catch"])
    assert store.due(ID).culprit is None


def test_a_first_failure_cancels_and_calls_back() -> None:
    store = kept()

    mark = store.mark(ID, 0, failed=True)

    assert mark.due == {"catch": [CATCH]}
    assert (record(store).cancelled, record(store).failed, record(store).pending) == (True, 1, 2)
    assert store.mark(ID, 1).due == {"catch": [CATCH], "finally": [FINALLY]}
    assert record(store).finished


def test_failures_may_be_allowed_and_be_mended() -> None:
    store = kept(allow_failures=True)
    store.mark(ID, 0, failed=True)
    store.mark(ID, 1)

    assert (record(store).cancelled, record(store).finished) == (False, True)
    assert "then" in store.mark(ID, 0).due
    assert (record(store).failed, record(store).pending) == (0, 0)


async def test_jobs_are_added_once_per_request() -> None:
    store = kept()

    first = [store.add(ID, "r1", 3), store.add(ID, "r1", 3), await store.aadd(ID, "r2", 1)]

    assert first == [2, 2, 5]
    assert record(store).total == 6
    assert store.add(ID, "r3", MAX_BATCH) is None


async def test_a_batch_is_cancelled_once_and_takes_no_more_jobs() -> None:
    store = kept()

    assert [store.cancel(ID), await store.acancel(ID), store.cancel("0" * 32)] == [
        True,
        False,
        False,
    ]
    assert store.add(ID, "r1", 1) is None


async def test_an_empty_batch_is_finished_at_once() -> None:
    store = kept(total=0)

    assert record(store).finished
    assert store.due(ID).due == {"then": [THEN], "finally": [FINALLY]}
    assert await store.acreate(NewBatch(id=ID)) is False


async def test_a_batch_that_is_not_there_is_not_found() -> None:
    store = SyncBatches()

    assert store.mark(ID, 0) == store.due(ID) == Marked(found=False)
    assert (await store.afind(ID), store.add(ID, "r", 1)) == (None, None)
    assert await store.areopen(ID) == ()
    store.called(ID, ["then"])


def test_batches_are_listed_and_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    store = kept(total=0)
    store.create(NewBatch(id="f" * 32, total=1))

    assert [one.id for one in store.newest()] == ["f" * 32, ID]
    assert store.newest(before=0.0) == []
    assert [store.prune(3600), store.prune(-1), store.prune(-1, unfinished=True)] == [0, 1, 1]

    monkeypatch.setattr(sync_batches, "KEPT", 1)
    store.create(NewBatch(id=ID))
    store.create(NewBatch(id="f" * 32))
    assert [one.id for one in store.newest()] == ["f" * 32]


def test_a_cancelled_batch_is_not_done_however_its_jobs_end() -> None:
    store = kept()
    store.cancel(ID)
    store.mark(ID, 0)

    assert store.mark(ID, 1).due == {"finally": [FINALLY]}


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
def test_a_chain_goes_on_or_breaks_once_all_jobs_of_its_batch_have_run(
    *, allowed: bool, cancelled: bool, failed: list[bool], moment: Moment | None
) -> None:
    store = SyncBatches()
    callbacks: dict[Moment, list[NewJob]] = {"next": [THEN], "broken": [CATCH]}
    store.create(NewBatch(id=ID, total=2, allow_failures=allowed, callbacks=callbacks))
    if cancelled:
        store.cancel(ID)

    before = store.mark(ID, 0, failed=failed[0]).due
    after = store.mark(ID, 1, failed=failed[1]).due

    assert (before, list(after)) == ({}, [moment] if moment else [])


def test_callbacks_are_known_until_they_are_queued() -> None:
    store = kept(total=0)
    before = store.callbacks(ID)

    store.called(ID, ["then"])

    assert before.keys() - store.callbacks(ID).keys() == {"then"}
    assert store.callbacks("f" * 32) == {}
