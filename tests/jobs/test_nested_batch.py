from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.settlements import Link
from broadcaster.jobs.batch_jobs import job_id
from broadcaster.jobs.chain import chain
from broadcaster.jobs.job import Job
from broadcaster.jobs.nested_batch import StartBatch
from broadcaster.jobs.outcome import Limits, Past
from broadcaster.jobs.pending_batch import batch
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.protocol.ids import derived_id
from broadcaster.protocol.payload import BATCH_JOB, Cause, Payload, decode_payload

if TYPE_CHECKING:
    from tests.jobs.application import JobsApplication


class Open(Job, name="nested.Open"):
    def handle(self) -> None: ...


class Check(Job, name="nested.Check", queue="checks", retry_until=60):
    number: int

    def handle(self) -> None: ...


class Close(Job, name="nested.Close"):
    def handle(self) -> None: ...


class Tell(Job, name="nested.Tell", connection="other"):
    def handle(self) -> None: ...


def started(payload: Payload) -> StartBatch:
    return StartBatch.decode_fields(payload.data)


async def test_a_starter_that_runs_again_queues_nothing_that_has_ended(
    app: JobsApplication,
) -> None:
    """As after it was killed, or could not reach the queue, while it queued its jobs."""
    chain([Open(), batch([Check(1), Check(2), Check(3)])]).dispatch()
    place = app.recorded.payloads[0].chain
    assert place is not None
    payload = place.next[0].payload
    starter = started(payload)
    current_job = CurrentJob(payload=payload, queue="default", limits=Limits(), past=Past())
    pushed = app.recorded.pushed
    pushed.clear()

    for ended in ((), (0,), (0, 1, 2)):
        for index in ended:
            app.batches.mark(starter.batch_id, index)
        with running(current_job):
            await starter.handle()

    ids = [job_id(starter.batch_id, index) for index in range(3)]
    assert [job.id for job in pushed] == [*ids, *ids[1:]]


def test_a_batch_is_started_by_a_link_that_carries_its_jobs(app: JobsApplication) -> None:
    checks = batch([Check(1), chain([Check(2), Open()])]).name("checks").options({"user": 7})
    chain([Open(), checks.on_queue("many"), Close()]).dispatch()

    place = app.recorded.payloads[0].chain
    assert place is not None
    starter, last = place.next
    assert (starter.payload.job, starter.queue, last.payload.job) == (
        BATCH_JOB,
        "many",
        "nested.Close",
    )
    read = started(starter.payload)
    assert (read.title, read.bag["user"], read.total) == ("checks", 7, 3)
    jobs = read.first_jobs(now=1_000.0)
    assert [(job.id, job.queue) for job in jobs] == [
        (job_id(read.batch_id, 0), "checks"),
        (job_id(read.batch_id, 1), "checks"),
    ]
    assert decode_payload(jobs[0].body).retry_until == 1_060.0


def test_the_batch_has_the_rest_of_the_chain_among_its_callbacks(app: JobsApplication) -> None:
    chain_id = chain([batch([Check(1)]).then(Open()), Close()]).catch(Open()).dispatch()
    (payload,) = app.recorded.payloads

    new = started(payload).new_batch(payload, now=1.0)

    calls = {moment: list(jobs) for moment, jobs in new.callbacks.items()}
    assert list(calls) == ["then", "next", "catch", "broken"]
    assert calls["next"][0].link == Link(chain_id, 1)
    assert calls["next"][0].id == derived_id("chain", chain_id, 1)
    assert calls["catch"][0].id == calls["broken"][0].id
    assert decode_payload(calls["broken"][0].body).cause == Cause(
        chain=chain_id, batch=new.id, error=f"the batch {new.id} was cancelled"
    )


def test_failures_that_are_allowed_do_not_break_the_chain(app: JobsApplication) -> None:
    chain([batch([Check(1)]).allow_failures()]).catch(Open()).dispatch()
    (payload,) = app.recorded.payloads

    assert list(started(payload).new_batch(payload, now=1.0).callbacks) == ["broken"]


def test_each_dispatch_of_a_chain_has_batches_of_its_own(app: JobsApplication) -> None:
    one = chain([batch([Check(1)])])

    one.dispatch()
    one.dispatch()

    first, second = (started(payload) for payload in app.recorded.payloads)
    assert first.batch_id != second.batch_id


def test_all_that_a_chain_is_made_of_goes_to_one_connection(app: JobsApplication) -> None:
    chain([batch([Tell()]), Close()]).dispatch()
    chain([batch([Open()]).on_connection("other")]).dispatch()

    assert app.connections == ["other", "other"]
    assert started(app.recorded.payloads[0]).bag["broadcaster.connection"] == "other"
    with pytest.raises(ValueError, match="other, third, and one queue hands them on"):
        chain([batch([Tell()]).on_connection("third")]).dispatch()


def test_the_choice_of_the_first_job_of_a_batch_decides_on_the_commit(
    app: JobsApplication,
) -> None:
    assert chain([batch([Open().with_options(after_commit=True)])]).involved[0].options.after_commit
    assert chain([batch([])]).dispatch()
