from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster import current
from broadcaster.drivers.sync import SyncQueue
from broadcaster.drivers.sync_batches import SyncBatches
from broadcaster.errors import InvalidJob, JobError, JobFailed, ModelMissing, UnknownJob
from broadcaster.jobs.batch import afind_batch, find_batch
from broadcaster.jobs.bus import new_job
from broadcaster.jobs.chain import chain
from broadcaster.jobs.inline import BuiltIn, InlineJobs
from broadcaster.jobs.job import Job
from broadcaster.jobs.pending_batch import batch
from broadcaster.jobs.running import current_job, require_current_job
from broadcaster.protocol.payload import Payload, encode_payload
from tests.jobs.application import JobsApplication

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.queue import NewJob, Queue
    from broadcaster.jobs.middleware.contract import Next

ran: list[Any] = []


class Note(Job, name="inline.Note"):
    text: str

    def handle(self) -> None:
        ran.append(self.text)


class AsyncNote(Job, name="inline.AsyncNote"):
    text: str

    async def handle(self) -> None:
        await asyncio.sleep(0)
        ran.append(self.text)


class Broken(Job, name="inline.Broken", tries=5):
    how: str = "raise"

    def handle(self) -> None:
        ran.append("broken")
        if self.how == "raise":
            raise ValueError("boom")
        if self.how == "fail":
            self.fail("no room")
        if self.how == "release":
            self.release(60)
        if self.how == "delete":
            self.delete()

    def failed(self, error: BaseException) -> None:
        ran.append(f"failed: {error}")


class Tell(Job, name="inline.Tell"):
    def handle(self) -> None:
        cause = require_current_job("it").cause
        assert cause is not None
        ran.append(("told", cause.job, cause.error))


class Report(Job, name="inline.Report"):
    word: str

    def handle(self) -> None:
        mine = self.batch()
        assert mine is not None
        ran.append((self.word, mine.processed_jobs, mine.failed_jobs, mine.cancelled))


@pytest.fixture(autouse=True)
def app() -> Iterator[JobsApplication]:
    ran.clear()
    made = JobsApplication()
    runner = InlineJobs(lambda: made.batches)
    made.queue = cast("Queue", SyncQueue(runner))
    current.use(cast("Application", made))
    yield made
    current.reset()


def test_row_17_a_job_runs_here_and_now_with_middleware_and_hooks() -> None:
    class Loud:
        async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002
            ran.append("in")
            await next()

    class Sale(Job, name="inline.Sale", middleware=[Loud()]):
        def handle(self) -> None:
            running = current_job()
            assert running is not None
            ran.append((running.name, running.attempts))
            raise ValueError("sold out")

        async def failed(self, error: BaseException) -> None:
            ran.append(str(error))

    with pytest.raises(ValueError, match="sold out"):
        Sale().run_now()

    assert ran == ["in", ("inline.Sale", 1), "sold out"]


async def test_async_jobs_run_in_the_loop_and_sync_ones_in_a_thread() -> None:
    await AsyncNote("async").arun_now()
    await Note("sync").arun_now()

    assert ran == ["async", "sync"]


async def test_an_async_job_inside_a_loop_says_which_verb_to_take() -> None:
    with pytest.raises(RuntimeError, match=r"await arun_now\(\)"):
        AsyncNote("x").run_now()


@pytest.mark.parametrize(
    ("how", "heard"),
    [
        ("fail", ["broken", "failed: no room"]),
        ("release", ["broken"]),
        ("delete", ["broken"]),
    ],
)
def test_what_a_job_says_about_itself_is_heeded_as_far_as_it_goes(
    how: str, heard: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    if how == "fail":
        with pytest.raises(JobFailed, match="no room"):
            Broken(how).run_now()
    else:
        Broken(how).run_now()

    assert ran == heard
    assert ("put itself back" in caplog.text) == (how == "release")


def test_a_broken_hook_is_logged_and_hides_no_error(caplog: pytest.LogCaptureFixture) -> None:
    class Twice(Job, name="inline.Twice"):
        def handle(self) -> None:
            raise ValueError("first")

        def failed(self, error: BaseException) -> None:
            raise RuntimeError("second")

    with pytest.raises(ValueError, match="first"):
        Twice().run_now()

    assert "the failed() of inline.Twice failed" in caplog.text


def test_dispatch_to_sync_runs_the_job_and_raises_its_error() -> None:
    Note("a").dispatch()
    with pytest.raises(ValueError, match="boom"):
        Broken().dispatch()

    assert ran == ["a", "broken", "failed: boom"]


def test_a_chain_runs_in_order_and_stops_at_a_failure() -> None:
    chain([Note("1"), AsyncNote("2"), Note("3")]).dispatch()
    with pytest.raises(ValueError, match="boom"):
        chain([Note("4"), Broken(), Note("5")]).catch(Tell()).dispatch()

    told = ("told", "inline.Broken", "ValueError: boom")
    assert ran == ["1", "2", "3", "4", "broken", "failed: boom", told]


async def test_a_chain_runs_in_a_loop_too() -> None:
    await chain([Note("1"), AsyncNote("2"), Note("3")]).adispatch()

    assert ran == ["1", "2", "3"]


def test_a_batch_is_counted_and_its_callbacks_run_once() -> None:
    made = batch([Note("1"), Note("2")]).then(Report("then")).finally_(Report("finally")).dispatch()

    assert ran == ["1", "2", ("then", 2, 0, False), ("finally", 2, 0, False)]
    assert (made.total_jobs, made.pending_jobs, made.progress) == (2, 0, 100)
    assert made.finished


def test_a_failure_cancels_a_batch_and_the_rest_is_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs = [Broken(), Note("skipped"), Note("skipped too")]

    made = batch(jobs).then(Report("then")).catch(Report("catch")).finally_(Report("f")).dispatch()

    assert ran[0:2] == ["broken", "failed: boom"]
    assert [one[0] for one in ran[2:]] == ["catch", "f"]
    assert (made.cancelled, made.failed_jobs, made.processed_jobs) == (True, 1, 2)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_callback_that_fails_leaves_out_no_job_of_the_batch(app: JobsApplication) -> None:
    broken = chain([Broken(), Note("never")]).catch(Broken())
    pending = batch([Broken(), Note("1"), broken, Note("2")]).allow_failures()
    pending = pending.catch(Broken("fail"))

    with pytest.raises(JobFailed, match="no room"):
        pending.dispatch()
    with pytest.raises(JobFailed, match="no room"):
        await pending.adispatch()

    counts = [(one.finished, one.failed, one.processed) for one in app.batches.newest()]
    assert counts == [(True, 3, 2)] * 2
    assert [one for one in ran if one in {"1", "2"}] == ["1", "2"] * 2


async def test_middleware_that_cannot_be_made_fails_the_job() -> None:
    class Unmade(Job, name="inline.Unmade"):
        def middleware(self) -> Sequence[Any]:
            raise ValueError("no middleware")

        def handle(self) -> None: ...

        def failed(self, error: BaseException) -> None:
            ran.append(str(error))

    made = batch([Unmade()]).catch(Tell()).dispatch()
    with pytest.raises(ValueError, match="no middleware"):
        Unmade().run_now()
    with pytest.raises(ValueError, match="no middleware"):
        await Unmade().arun_now()

    told = ("told", "inline.Unmade", "ValueError: no middleware")
    assert ran == ["no middleware", told, "no middleware", "no middleware"]
    assert made.finished


def test_the_callback_for_the_first_failure_is_told_of_it() -> None:
    batch([Note("1"), Broken()]).catch(Tell()).dispatch()

    assert ran[-1] == ("told", "inline.Broken", "ValueError: boom")


async def test_failures_may_be_allowed_and_jobs_may_insist() -> None:
    class Always(Job, name="inline.Always", skip_cancelled=False):
        async def handle(self) -> None:
            ran.append("always")

    allowed = await batch([Broken(), Note("1")]).allow_failures().adispatch()
    stopped = await batch([Broken(), Note("skipped"), Always()]).adispatch()

    assert ran == ["broken", "failed: boom", "1", "broken", "failed: boom", "always"]
    assert (allowed.cancelled, stopped.cancelled) == (False, True)


def test_a_chain_goes_on_behind_its_batch() -> None:
    parts = batch([Note("a"), chain([Note("b"), Note("c")])]).then(Report("then"))

    chain([Note("1"), parts, Note("2"), batch([]), Note("3")]).dispatch()

    assert ran == ["1", "a", "b", "c", ("then", 3, 0, False), "2", "3"]


async def test_a_batch_that_fails_breaks_its_chain() -> None:
    await chain([batch([AsyncNote("a"), Broken()]), batch([]), Note("2")]).catch(Tell()).adispatch()
    await chain([batch([Broken()]).allow_failures(), batch([]), Note("2")]).adispatch()

    told = ("told", "inline.Broken", "ValueError: boom")
    assert ran == ["a", "broken", "failed: boom", told, "broken", "failed: boom", "2"]


def test_an_empty_batch_is_finished_and_calls_back() -> None:
    made = batch([]).then(Note("then")).dispatch()

    assert ran == ["then"]
    assert made.finished


def test_a_job_may_add_to_its_batch() -> None:
    class Spread(Job, name="inline.Spread"):
        def handle(self) -> None:
            mine = self.batch()
            assert mine is not None
            ran.append(mine.add([Note("added"), Note("too")]))

    made = batch([Spread()]).finally_(Report("finally")).dispatch()

    assert ran == ["added", "too", 2, ("finally", 3, 0, False)]
    assert made.total_jobs == 3


async def test_a_finished_batch_takes_no_more_jobs() -> None:
    made = await batch([Note("1")]).adispatch()

    with pytest.raises(InvalidJob, match="takes no jobs any more"):
        await made.aadd([Note("2")])

    assert find_batch("0" * 32) is await afind_batch("0" * 32) is None


def test_a_missing_model_may_be_passed_over() -> None:
    class Gone(Job, name="inline.Gone", delete_when_missing_models=True):
        def handle(self) -> None:
            raise ModelMissing("it is gone", model="Order", key=7)

    chain([Gone(), Note("dropped with it")]).dispatch()

    assert ran == []


def queued(job: Job) -> NewJob:
    return new_job(job, now=time.time(), randomness=bytes(10), default_queue="d")


def test_what_cannot_be_read_is_raised_to_the_caller() -> None:
    runner = InlineJobs(SyncBatches)
    body = encode_payload(Payload(id="0" * 32, job="nobody.knows"))
    new = queued(Note("x"))

    with pytest.raises(UnknownJob):
        runner.run(type(new)(new.id, new.queue, body))
    with pytest.raises(InvalidJob):
        runner.run(type(new)(new.id, new.queue, b"nonsense"))


async def test_jobs_without_a_class_are_run_by_what_is_built_in() -> None:
    async def arun(payload: Payload) -> None:
        ran.append(("async", payload.job))

    built_in = BuiltIn(lambda payload: ran.append(("sync", payload.job)), arun)
    runner = InlineJobs(SyncBatches, {"broadcaster.broadcast": built_in})
    body = encode_payload(Payload(id="0" * 32, job="broadcaster.broadcast"))
    new = type(queued(Note("x")))("0" * 32, "broadcasts", body)

    runner.run(new)
    await runner.arun(new)

    assert ran == [("sync", "broadcaster.broadcast"), ("async", "broadcaster.broadcast")]


@pytest.mark.parametrize("error", [StopIteration, GeneratorExit])
async def test_what_cannot_cross_a_thread_is_raised_all_the_same(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """`next()` of something empty would have a coroutine wait for ever."""

    class Odd(Job, name="inline.Odd"):
        def handle(self) -> None:
            raise error

        def failed(self, error_: BaseException) -> None:
            raise error

    async with asyncio.timeout(10):
        with pytest.raises(JobError, match=f"{error.__name__} was raised"):
            await Odd().arun_now()

    assert "the failed() of inline.Odd failed" in caplog.text
