from __future__ import annotations

from typing import Any

import msgspec
import pytest

from broadcaster.contracts.settlements import BatchMark, Culprit, Link, Push
from broadcaster.errors import InvalidJob
from broadcaster.jobs.outcome import Finished, GiveUp, PutOff, TryAgain
from broadcaster.jobs.sequels import called_back, chained, sequels
from broadcaster.protocol.ids import derived_id
from broadcaster.protocol.payload import (
    BATCH_JOB,
    MAX_PAYLOAD_BYTES,
    BatchPlace,
    Cause,
    ChainPlace,
    NextJob,
    Payload,
    decode_payload,
    encode_payload,
)

ID, CHAIN, BATCH = "a" * 32, "c" * 32, "b" * 32
FAILED = GiveUp("exception", "ValueError: boom")


def link(name: str, *, delay: float = 0.0, queue: str = "q", **more: Any) -> NextJob:
    return NextJob(Payload(id=CHAIN, job=name, **more), queue, delay)


def payload(**more: Any) -> Payload:
    return Payload(id=ID, job="first", **more)


def in_chain(*next_: NextJob, index: int = 0, catch: tuple[NextJob, ...] = ()) -> Payload:
    return payload(chain=ChainPlace(id=CHAIN, index=index, next=next_, catch=catch))


def test_a_job_by_itself_has_no_sequels() -> None:
    assert sequels(payload(), Finished(), now=0.0) == ()
    assert sequels(payload(), FAILED, now=0.0) == ()


def test_row_18_a_link_that_is_done_queues_the_next_with_the_rest_of_the_chain() -> None:
    catch = (link("undo"),)
    chain = in_chain(link("second", delay=3, queue="slow"), link("third"), index=4, catch=catch)

    (push,) = sequels(chain, Finished(), now=0.0)

    assert isinstance(push, Push)
    new, read = push.job, decode_payload(push.job.body)
    assert (new.queue, new.delay, new.link) == ("slow", 3, Link(CHAIN, 5))
    assert new.id == read.id == derived_id("chain", CHAIN, 5)
    assert read.job == "second"
    assert read.chain == ChainPlace(id=CHAIN, index=5, next=(link("third"),), catch=catch)


def test_the_same_effect_comes_out_when_it_is_worked_out_again() -> None:
    """A worker that dies before it has settled leaves the job to another one."""
    chain = in_chain(link("second"))

    assert sequels(chain, Finished(), now=1.0) == sequels(chain, Finished(), now=2.0)


def test_the_last_link_queues_nothing() -> None:
    assert sequels(in_chain(index=9, catch=(link("undo"),)), Finished(), now=0.0) == ()


def test_row_19_a_link_that_fails_queues_the_callbacks_with_the_cause() -> None:
    chain = in_chain(link("second"), catch=(link("undo"), link("tell")))

    pushes = sequels(chain, FAILED, now=0.0)

    jobs = [push.job for push in pushes if isinstance(push, Push)]
    read = [decode_payload(job.body) for job in jobs]
    assert [one.job for one in read] == ["undo", "tell"]
    assert [job.link for job in jobs] == [Link(f"{CHAIN}:catch", 0), Link(f"{CHAIN}:catch", 1)]
    cause = Cause(chain=CHAIN, job="first", job_id=ID, error="ValueError: boom")
    assert [one.cause for one in read] == [cause, cause]
    assert [one.chain for one in read] == [None, None]


@pytest.mark.parametrize("spare", [0, 1, 10, 30, 60, 100, 150, 300, 600, 900])
def test_a_callback_with_no_room_for_its_cause_is_told_less(spare: int) -> None:
    def chain_of(size: int) -> Payload:
        return in_chain(catch=(link("undo", data={"x": "y" * size}, retry_for=5.0),))

    size = MAX_PAYLOAD_BYTES - len(encode_payload(chain_of(0))) - spare
    chain = chain_of(size)
    broken = msgspec.structs.replace(
        decode_payload(encode_payload(chain)), batch=BatchPlace(id=BATCH, index=7)
    )

    pushed, mark = sequels(broken, GiveUp("exception", "e" * 500), now=1.0)

    assert isinstance(pushed, Push)
    read = decode_payload(pushed.job.body)
    assert read.data == {"x": "y" * size}
    assert len(pushed.job.body) <= MAX_PAYLOAD_BYTES
    assert mark == BatchMark(BATCH, 7, failed=True, culprit=Culprit("first", ID, "e" * 500))


def test_a_chain_without_a_next_number_is_broken_and_not_done() -> None:
    chain = in_chain(link("second"), index=1_000_000)

    with pytest.raises(InvalidJob):
        sequels(chain, Finished(), now=0.0)
    assert sequels(chain, FAILED, now=0.0) == ()


def test_a_missing_model_ends_the_chain_without_callbacks() -> None:
    chain = in_chain(link("second"), catch=(link("undo"),))

    assert sequels(chain, Finished(ends_chain=True), now=0.0) == ()


def test_a_job_of_a_batch_is_marked() -> None:
    job = payload(batch=BatchPlace(id=BATCH, index=7))

    assert sequels(job, Finished(), now=0.0) == (BatchMark(BATCH, 7, failed=False),)
    assert sequels(job, Finished(ends_chain=True), now=0.0) == (BatchMark(BATCH, 7),)
    culprit = Culprit("first", ID, "ValueError: boom")
    assert sequels(job, FAILED, now=0.0) == (BatchMark(BATCH, 7, failed=True, culprit=culprit),)


def in_batch_chain() -> Payload:
    links = tuple(link(f"link {at}", batch=BatchPlace(id=BATCH, index=at)) for at in (8, 9))
    return payload(
        batch=BatchPlace(id=BATCH, index=7), chain=ChainPlace(id=CHAIN, index=0, next=links)
    )


def test_a_link_in_a_batch_keeps_the_id_that_it_has_there() -> None:
    push, mark = sequels(in_batch_chain(), Finished(), now=0.0)

    assert isinstance(push, Push)
    read = decode_payload(push.job.body)
    assert (push.job.id, push.job.link) == (CHAIN, Link(CHAIN, 1))
    assert read.batch == BatchPlace(id=BATCH, index=8)
    assert read.chain is not None
    assert read.chain.index == 1
    assert mark == BatchMark(BATCH, 7)


def test_a_chain_that_breaks_in_a_batch_fails_with_all_its_links() -> None:
    """Or the batch would wait for them for ever; one that is mended is done after all."""
    culprit = Culprit("first", ID, "ValueError: boom")

    assert sequels(in_batch_chain(), FAILED, now=0.0) == tuple(
        BatchMark(BATCH, index, failed=True, culprit=culprit) for index in (7, 8, 9)
    )


def test_a_chain_that_ends_early_in_a_batch_is_done_with_all_its_links() -> None:
    assert sequels(in_batch_chain(), Finished(ends_chain=True), now=0.0) == tuple(
        BatchMark(BATCH, index) for index in (7, 8, 9)
    )


def test_a_link_that_is_skipped_takes_those_behind_it_along() -> None:
    assert sequels(in_batch_chain(), Finished(skipped=True), now=0.0) == tuple(
        BatchMark(BATCH, index) for index in (7, 8, 9)
    )


def test_a_link_that_insists_is_queued_when_those_before_it_are_skipped() -> None:
    insists = link("insists", batch=BatchPlace(id=BATCH, index=9, always=True))
    chain = in_batch_chain()
    assert chain.chain is not None
    place = msgspec.structs.replace(chain.chain, next=(chain.chain.next[0], insists, link("last")))

    push, *marks = sequels(
        msgspec.structs.replace(chain, chain=place), Finished(skipped=True), now=0.0
    )

    assert isinstance(push, Push)
    read = decode_payload(push.job.body)
    assert (read.job, push.job.link) == ("insists", Link(CHAIN, 2))
    assert read.chain == ChainPlace(id=CHAIN, index=2, next=(link("last"),))
    assert marks == [BatchMark(BATCH, 7), BatchMark(BATCH, 8)]


def test_a_batch_in_a_chain_queues_the_next_link_itself() -> None:
    chain = msgspec.structs.replace(in_chain(link("second")), job=BATCH_JOB)

    assert sequels(chain, Finished(), now=0.0) == ()


def test_a_job_that_runs_again_has_no_sequels_yet() -> None:
    chain = in_chain(link("second"), catch=(link("undo"),))

    assert sequels(chain, TryAgain(0.0), now=0.0) == ()
    assert sequels(chain, PutOff(1.0), now=0.0) == ()


def test_the_time_for_tries_of_a_follower_begins_when_it_is_queued() -> None:
    within = link("second", delay=5, retry_for=60)

    new = chained(ChainPlace(id=CHAIN, index=1), within, now=1_000.0)
    callback = called_back(link("undo", retry_until=7.0), "row", 0, Cause(), now=1_000.0)

    assert decode_payload(new.body).retry_until == 1_065.0
    assert decode_payload(callback.body).retry_until == 7.0
