from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import pytest

from broadcaster.contracts.batches import MAX_BATCH, callbacks_due
from broadcaster.contracts.settlements import Link
from broadcaster.errors import DriverUnavailable, InvalidJob, Unsupported
from broadcaster.jobs.after_commit import after_commit
from broadcaster.jobs.batch import afind_batch, find_batch
from broadcaster.jobs.batch_jobs import job_id
from broadcaster.jobs.chain import chain
from broadcaster.jobs.job import Job
from broadcaster.jobs.outcome import Limits, Past
from broadcaster.jobs.pending_batch import batch
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.protocol.payload import BatchPlace, Cause, decode_payload
from tests.jobs.application import ReopeningBatches

if TYPE_CHECKING:
    from broadcaster.jobs.batch import Batch
    from broadcaster.jobs.bus import PreparedJob
    from tests.jobs.application import JobsApplication


def unreachable(*_: object) -> NoReturn:
    raise DriverUnavailable("away")


class Part(Job, name="batch.Part", retry_until=60):
    number: int

    def handle(self) -> None: ...


class Insists(Job, name="batch.Insists", queue="own", skip_cancelled=False):
    def handle(self) -> None: ...


class Report(Job, name="batch.Report"):
    def handle(self) -> None: ...


def test_row_21_jobs_are_queued_with_their_place_in_the_batch(app: JobsApplication) -> None:
    made = batch([Part(1), Insists()]).on_queue("imports").dispatch()

    first, second = app.recorded.payloads
    assert [job.queue for job in app.recorded.pushed] == ["imports", "own"]
    assert (first.id, first.batch) == (job_id(made.id, 0), BatchPlace(id=made.id, index=0))
    assert second.batch == BatchPlace(id=made.id, index=1, always=True)
    assert first.retry_until is not None


async def test_row_36_the_jobs_of_a_batch_wait_for_the_commit(app: JobsApplication) -> None:
    with after_commit():
        made = batch([Part(1)]).name("users").dispatch(after_commit=True)
        assert (made.name, made.total_jobs, made.finished) == ("users", 1, False)
        assert find_batch(made.id) is None
        assert app.recorded.pushed == []
    assert find_batch(made.id) is not None
    async with after_commit():
        await batch([Part(1)]).adispatch(after_commit=True)
        await batch([Part(1).with_options(after_commit=True)]).adispatch()
        assert len(app.recorded.pushed) == 1

    assert len(app.recorded.pushed) == 3


def test_row_36_a_batch_of_a_rolled_back_transaction_never_was(app: JobsApplication) -> None:
    with suppress(ZeroDivisionError), after_commit():
        made = batch([Part(1)]).dispatch(after_commit=True)
        nothing = batch([]).then(Report()).dispatch(after_commit=True)
        raise ZeroDivisionError

    assert [made.fresh().processed_jobs, find_batch(made.id)] == [0, None]
    assert find_batch(nothing.id) is None
    assert app.recorded.pushed == []


def test_a_batch_without_jobs_calls_back_at_once(app: JobsApplication) -> None:
    made = batch([]).then(Report()).finally_(Report()).dispatch()

    assert made.finished
    assert [one.job for one in app.recorded.payloads] == ["batch.Report"] * 2


def test_a_callback_may_be_tried_from_the_moment_when_it_is_called(app: JobsApplication) -> None:
    """A batch may take longer than its callbacks have."""
    made = batch([Part(1)]).then(Part(2).with_options(delay=5)).dispatch()
    (job,) = callbacks_due(app.batches.mark(made.id, 0).due, now=5_000.0)

    assert decode_payload(job.body).retry_until == 5_065.0


def test_a_chain_in_a_batch_has_a_place_for_each_of_its_links(app: JobsApplication) -> None:
    links: list[Job | PreparedJob] = [Part(1), Insists()]
    made = batch([chain(links).catch(Report()), Part(3)]).on_queue("imports").dispatch()

    first, last = app.recorded.payloads
    assert made.total_jobs == 3
    assert [job.queue for job in app.recorded.pushed] == ["imports", "imports"]
    assert (first.id, first.batch) == (job_id(made.id, 0), BatchPlace(id=made.id, index=0))
    assert last.batch == BatchPlace(id=made.id, index=2)
    assert first.chain is not None
    assert first.retry_until is not None
    (link,) = first.chain.next
    assert (link.queue, link.payload.id) == ("own", job_id(made.id, 1))
    assert link.payload.batch == BatchPlace(id=made.id, index=1, always=True)
    assert [one.payload.job for one in first.chain.catch] == ["batch.Report"]
    assert app.recorded.pushed[0].link == Link(first.chain.id, 0)


def test_a_chain_is_added_link_by_link(app: JobsApplication) -> None:
    made = batch([Part(1)]).dispatch()

    assert made.add([chain([Part(2), Part(3)]), Part(4)]) == 3

    assert made.fresh().total_jobs == 4
    places = [payload.batch for payload in app.recorded.payloads[1:]]
    assert [place.index for place in places if place] == [1, 3]


def test_a_chain_in_a_batch_cannot_have_batches(app: JobsApplication) -> None:
    with pytest.raises(ValueError, match="cannot have batches of its own"):
        batch([chain([batch([Part(1)])])])


@pytest.mark.parametrize(
    ("again", "past", "added"),
    [
        ([2, 3], Past(), 3),
        ([2, 3], Past(attempts=1, exceptions=1), 3),
        ([4, 5], Past(), 5),
        ([2, 3], Past(attempts=1), 5),  # it put itself back, and means it
        ([2, 3], Past(postponed=1), 5),
    ],
)
def test_a_job_that_runs_again_adds_the_same_jobs_once(
    app: JobsApplication, again: list[int], past: Past, added: int
) -> None:
    """A worker that is killed between counting and queueing leaves the rest to the next run."""
    made = batch([Part(1)]).dispatch()
    payload = app.recorded.payloads[0]

    for numbers, before in (([2, 3], Past()), (again, past)):
        with running(CurrentJob(payload=payload, queue="q", limits=Limits(), past=before)):
            made.add([Part(number) for number in numbers])

    assert made.fresh().total_jobs == added
    assert len({job.id for job in app.recorded.pushed}) == added


@pytest.mark.parametrize("again", [[[2], [3], [3]], [[3], [2], [3]], [[3], [3], [2]]])
def test_a_job_that_runs_again_may_add_in_another_order(
    app: JobsApplication, again: list[list[int]]
) -> None:
    """Its tasks wait for whatever answers first."""
    made = batch([Part(1)]).dispatch()
    payload = app.recorded.payloads[0]

    for additions in ([[2], [3], [3]], again):
        with running(CurrentJob(payload=payload, queue="q", limits=Limits(), past=Past())):
            for numbers in additions:
                made.add([Part(number) for number in numbers])

    assert made.fresh().total_jobs == 4
    assert len({job.id for job in app.recorded.pushed}) == 4


async def test_a_job_that_tries_again_to_add_what_was_counted_and_not_queued_adds_it_once(
    app: JobsApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = batch([Part(1)]).dispatch()
    payload = app.recorded.payloads[0]

    with running(CurrentJob(payload=payload, queue="q", limits=Limits(), past=Past())):
        with monkeypatch.context() as away:
            away.setattr(app.recorded, "push", unreachable)
            with pytest.raises(DriverUnavailable):
                made.add([Part(2)])
            with pytest.raises(DriverUnavailable):
                await made.aadd([Part(2)])
        made.add([Part(2)])
        await made.aadd([Part(2)])  # meant once more

    assert made.fresh().total_jobs == 3
    indices = [payload.batch.index for payload in app.recorded.payloads if payload.batch]
    assert indices == [0, 1, 2]


async def test_a_task_that_tries_again_to_add_takes_nothing_for_what_its_neighbour_has_added(
    app: JobsApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both add the same; which of them comes first means nothing, how often it was does."""
    made = batch([Part(1)]).dispatch()
    payload = app.recorded.payloads[0]
    asked, answered = asyncio.Event(), asyncio.Event()

    async def unanswered(*_: object) -> NoReturn:
        asked.set()
        await answered.wait()
        unreachable()

    with running(CurrentJob(payload=payload, queue="q", limits=Limits(), past=Past())):
        with monkeypatch.context() as away:
            away.setattr(app.batches, "aadd", unanswered)
            first = asyncio.create_task(made.aadd([Part(2)]))
            await asked.wait()
        await made.aadd([Part(2)])
        answered.set()
        with pytest.raises(DriverUnavailable):
            await first
        await made.aadd([Part(2)])

    assert made.fresh().total_jobs == 3
    assert len({job.id for job in app.recorded.pushed}) == 3


def test_what_a_job_adds_is_queued_once_a_day(app: JobsApplication) -> None:
    """By the time the job runs again, what it has added may have run and be forgotten."""
    made = batch([Part(1)]).dispatch()
    payload = app.recorded.payloads[0]

    with running(CurrentJob(payload=payload, queue="q", limits=Limits(), past=Past())):
        made.add([Part(2), chain([Part(3), Part(4)])])
    made.add([Part(5)])  # nobody repeats this

    first, part, head, last = app.recorded.pushed
    assert (first.link, last.link) == (None, None)
    assert part.link == Link(part.id, 0)
    assert head.link is not None
    assert head.link.row != head.id


async def test_what_was_counted_and_not_queued_is_added_again_under_its_ids(
    app: JobsApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the batch would wait for ever for what never came."""
    made = batch([Part(1)]).dispatch()
    with monkeypatch.context() as away:
        away.setattr(app.recorded, "push", unreachable)
        with pytest.raises(DriverUnavailable):
            made.add([Part(2), Part(3)])
        with pytest.raises(DriverUnavailable):
            await made.aadd([Part(2), Part(3)])

    assert made.add([Part(2), Part(3)]) == 2
    assert made.fresh().total_jobs == 3
    assert await made.aadd([Part(2), Part(3)]) == 2  # meant once more

    assert made.fresh().total_jobs == 5
    indices = [payload.batch.index for payload in app.recorded.payloads if payload.batch]
    assert indices == [0, 1, 2, 3, 4]


def test_what_cannot_be_added_is_not_counted(app: JobsApplication) -> None:
    class Big(Job, name="batch.Big"):
        text: str

        def handle(self) -> None: ...

    made = batch([Part(1)]).dispatch()

    with pytest.raises(InvalidJob, match="pass a reference"):
        made.add([Big("x" * 2_000_000)])

    assert made.fresh().total_jobs == 1


def test_callbacks_are_kept_with_the_batch_and_know_it(app: JobsApplication) -> None:
    pending = batch([Part(1)]).then(Report(), Report()).catch(Report()).finally_(Report())
    made = pending.on_queue("imports").dispatch()

    due = app.batches.mark(made.id, 0).due
    assert {moment: len(jobs) for moment, jobs in due.items()} == {"then": 2, "finally": 1}
    payload = decode_payload(due["then"][1].body)
    assert (payload.job, payload.cause) == ("batch.Report", Cause(batch=made.id))
    assert (due["then"][1].queue, due["then"][1].link) == ("imports", Link(f"{made.id}:then", 1))


async def test_rows_22_to_24_a_batch_can_be_found_and_says_how_far_it_is(
    app: JobsApplication,
) -> None:
    pending = batch([Part(number) for number in range(8)])
    made = await pending.name("users").options({"user": 7}).allow_failures().adispatch()
    app.batches.mark(made.id, 0)
    app.batches.mark(made.id, 1, failed=True)

    found = await afind_batch(made.id)

    assert found is not None
    assert (found.name, found.options, found.allows_failures) == ("users", {"user": 7}, True)
    counts = (found.total_jobs, found.pending_jobs, found.failed_jobs, found.processed_jobs)
    assert counts == (8, 7, 1, 1)
    assert (found.progress, found.cancelled, found.finished) == (12, False, False)
    assert found.fresh().record == found.record
    assert (await found.afresh()).record == found.record


async def test_row_25_a_batch_can_be_cancelled_once(app: JobsApplication) -> None:
    made = batch([Part(1)]).dispatch()

    assert [made.cancel(), await made.acancel()] == [True, False]
    assert made.fresh().cancelled


async def test_row_26_jobs_are_added_to_the_queue_of_the_batch(app: JobsApplication) -> None:
    made = batch([Part(1)]).on_queue("imports").on_connection("long").dispatch()

    assert made.add([Part(2), Part(3)]) == 2
    assert await made.aadd([Part(4)]) == 1

    assert [payload.batch for payload in app.recorded.payloads] == [
        BatchPlace(id=made.id, index=index) for index in range(4)
    ]
    assert {job.queue for job in app.recorded.pushed} == {"imports"}
    assert app.connections == ["long"] * 3
    assert made.fresh().total_jobs == 4
    assert made.add([]) == 0


def test_a_cancelled_batch_takes_no_more_jobs(app: JobsApplication) -> None:
    made = batch([Part(1)]).dispatch()
    made.cancel()

    with pytest.raises(InvalidJob, match="takes no jobs any more"):
        made.add([Part(2)])

    assert len(app.recorded.pushed) == 1


async def test_failed_jobs_of_a_batch_can_be_run_again(app: JobsApplication) -> None:
    app.batches = ReopeningBatches()
    made = batch([Part(1), Part(2), Part(3)]).dispatch()

    assert made.retry_failed() == await made.aretry_failed() == 2
    assert app.failed_jobs.retried == [job_id(made.id, 0), job_id(made.id, 2)] * 2
    assert app.failed_jobs.insisted is False  # whoever cancels it once more means them too


async def test_dispatching_again_after_an_error_repeats_under_the_same_ids(
    app: JobsApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = batch([Part(1)])
    with monkeypatch.context() as away:
        away.setattr(app.recorded, "push", unreachable)
        with pytest.raises(DriverUnavailable):
            pending.dispatch()
        with pytest.raises(DriverUnavailable):
            await pending.adispatch()

    made = pending.dispatch()

    assert [record.id for record in app.batches.newest()] == [made.id]
    assert [job.id for job in app.recorded.pushed] == [job_id(made.id, 0)]


@pytest.mark.parametrize("way", ["dispatch", "adispatch"])
async def test_dispatching_again_after_an_error_runs_nothing_again_that_has_ended(
    app: JobsApplication, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Its first jobs were queued before the connection was lost, and workers had them."""
    pending = batch([Part(0), chain([Part(1), Part(2)]), Part(3), Part(4)]).allow_failures()

    async def dispatch() -> Batch:
        return pending.dispatch() if way == "dispatch" else await pending.adispatch()

    with monkeypatch.context() as away:
        away.setattr(app.recorded, "push", unreachable)
        with pytest.raises(DriverUnavailable):
            await dispatch()
        (begun,) = app.batches.newest()
        for index, failed in ((0, False), (1, False), (2, True), (4, True)):
            app.batches.mark(begun.id, index, failed=failed)
        with pytest.raises(DriverUnavailable):
            await dispatch()

    made = await dispatch()
    assert made.id == begun.id
    assert [job.id for job in app.recorded.pushed] == [job_id(begun.id, 3)]


@pytest.mark.parametrize("way", ["dispatch", "adispatch"])
async def test_dispatching_again_what_has_all_ended_queues_nothing(
    app: JobsApplication, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The answer to the last push was lost."""
    pending = batch([Part(0)])

    async def dispatch() -> Batch:
        return pending.dispatch() if way == "dispatch" else await pending.adispatch()

    with monkeypatch.context() as away:
        away.setattr(app.recorded, "push", unreachable)
        with pytest.raises(DriverUnavailable):
            await dispatch()
    (begun,) = app.batches.newest()
    app.batches.mark(begun.id, 0)

    made = await dispatch()

    assert (made.id, made.finished, app.recorded.pushed) == (begun.id, True, [])


async def test_what_waited_for_a_commit_and_was_not_sent_is_repeated_too(
    app: JobsApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = batch([Part(1)])

    async def commit() -> None:
        async with after_commit():
            await pending.adispatch(after_commit=True)

    with monkeypatch.context() as away:
        away.setattr(app.recorded, "push", unreachable)
        with pytest.raises(DriverUnavailable):
            await commit()

    made = await pending.adispatch()

    assert [record.id for record in app.batches.newest()] == [made.id]


async def test_a_batch_may_be_dispatched_several_times(app: JobsApplication) -> None:
    pending = batch([Part(1)]).then(Report())

    made = [pending.dispatch(), await pending.adispatch(), pending.name("other").dispatch()]

    assert len({one.id for one in made}) == len({job.id for job in app.recorded.pushed}) == 3
    for one in made:
        (called,) = app.batches.mark(one.id, 0).due["then"]
        assert decode_payload(called.body).cause == Cause(batch=one.id)


async def test_a_batch_that_was_begun_is_returned_though_it_cannot_be_looked_at(
    app: JobsApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dispatching it again because of an error would begin another one."""
    monkeypatch.setattr(app.batches, "find", unreachable)

    made = [batch([Part(1)]).dispatch(), await batch([Part(1)]).adispatch()]

    assert [one.total_jobs for one in made] == [1, 1]
    assert len(app.recorded.pushed) == 2


def test_what_is_shown_of_a_batch_is_short(app: JobsApplication) -> None:
    pending = batch([Part(number) for number in range(1_000)]).name("users")

    assert repr(pending) == "<PendingBatch 'users' of 1000 jobs>"
    made = pending.dispatch()
    assert str(made) == f"<Batch {made.id} 'users' running, 0 of 1000 done>"
    app.batches.mark(made.id, 0, failed=True)
    assert repr(made.fresh()).endswith("cancelled, 0 of 1000 done, 1 failed>")


def test_what_cannot_be_kept_is_refused_before_anything_is_queued(app: JobsApplication) -> None:
    with pytest.raises(InvalidJob, match="the options of a batch must be JSON"):
        batch([Part(1)]).options({"user": object()}).dispatch()
    with pytest.raises(ValueError, match="at most 1,000,000 jobs"):
        batch([Part(1)] * (MAX_BATCH + 1))

    assert app.recorded.pushed == []
    assert find_batch("0" * 32) is None


@pytest.mark.parametrize("jobs", [[Part(1)], []])
def test_a_batch_is_not_kept_where_nobody_counts_its_jobs(
    app: JobsApplication, jobs: list[Job]
) -> None:
    """It would be pending for a month, and never end."""
    app.has_batches = False

    with pytest.raises(Unsupported, match="connection default cannot keep a batch") as refused:
        batch(jobs).then(Report()).dispatch()

    assert refused.value.features == ("a batch",)
    assert app.batches.newest() == []
    assert app.recorded.pushed == []


def test_jobs_of_a_batch_take_no_unique_lock(app: JobsApplication) -> None:
    class Only(Job, name="batch.Only", unique=True):
        def handle(self) -> None: ...

    batch([Only(), Only()]).dispatch()

    assert [job.unique for job in app.recorded.pushed] == [None, None]
