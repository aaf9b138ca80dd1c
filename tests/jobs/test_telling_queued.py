"""Row 47: links of chains and callbacks of batches are told of when they are queued."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster import current
from broadcaster.contracts.settlements import Link, NewJob, Pushed
from broadcaster.jobs.batch import find_batch
from broadcaster.jobs.bus import Sending
from broadcaster.jobs.chain import chain
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import JobQueued, JobQueueing
from broadcaster.jobs.pending_batch import batch
from broadcaster.jobs.telling import tell_queued, tell_queueing
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.settings import QueueSettings, Settings
from broadcaster.testing import LiveQueue
from tests.hearing import hearing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Step(Job, name="queued.Step"):
    n: int

    def handle(self) -> None: ...


class Loud(Job, name="queued.Loud", queue="low"):
    def handle(self) -> None: ...


class Broken(Job, name="queued.Broken", tries=1):
    def handle(self) -> None:
        raise LookupError("no such order")


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What was told of jobs that were queued, in order."""
    with hearing(JobQueueing, JobQueued) as events:
        yield events


@pytest.fixture(params=["worker", "sync"])
def drain(request: pytest.FixtureRequest) -> Iterator[Callable[[], object]]:
    """Do what is queued, by a worker or inline; the same is told."""
    if request.param == "sync":
        current.configure(Settings(queue=QueueSettings(driver="sync")))
        yield lambda: None
        current.reset()
        return
    with LiveQueue(request.getfixturevalue("redis_url")) as live:
        yield live.drain


both = pytest.mark.parametrize("drain", ["worker", "sync"], indirect=True)
pytestmark = pytest.mark.redis


def queued(told: Sequence[Any]) -> list[str]:
    """Return the classes of what was queued, in order; each was told of before, too."""
    before = {event.payload.id for event in told if isinstance(event, JobQueueing)}
    after = [event.id for event in told if isinstance(event, JobQueued)]
    assert (before, len(before)) == (set(after), len(after))
    return [event.payload.job for event in told if isinstance(event, JobQueued)]


@both
def test_row_47_each_link_of_a_chain_is_told_when_it_is_queued(
    drain: Callable[[], object], told: list[Any]
) -> None:
    chain([Step(1), Step(2), Loud().with_options(delay=60)]).dispatch()
    drain()

    links = [event for event in told if isinstance(event, JobQueued)]
    assert {(event.job, event.queue, event.delay) for event in links} == {
        (Step(1), "default", 0.0),
        (Step(2), "default", 0.0),
        (Loud(), "low", 60.0),
    }
    assert len(queued(told)) == 3
    assert {event.id for event in links} == {event.payload.id for event in links}


@both
def test_row_47_what_catches_a_chain_is_told_and_links_that_never_come_are_not(
    drain: Callable[[], object], told: list[Any]
) -> None:
    with contextlib.suppress(LookupError):  # the driver sync hands it to who dispatches
        chain([Broken(), Step(2)]).catch(Loud()).dispatch()
    drain()

    links = [event.job for event in told if isinstance(event, JobQueued)]
    assert [job for job in links if job != Broken()] == [Loud()]


@both
def test_row_47_callbacks_of_a_batch_are_told_once_each(
    drain: Callable[[], object], told: list[Any]
) -> None:
    pending = batch([Step(1), Broken(), Step(3)]).allow_failures()
    made = pending.then(Step(4)).catch(Step(5)).finally_(Step(6)).dispatch()
    drain()

    jobs = [event.job for event in told if isinstance(event, JobQueued)]
    assert sorted(job.n for job in jobs if isinstance(job, Step)) == [1, 3, 5, 6]
    assert len(queued(told)) == 5
    found = find_batch(made.id)
    assert found is not None
    assert found.finished


@both
def test_row_47_callbacks_of_a_batch_without_jobs_are_told(
    drain: Callable[[], object], told: list[Any]
) -> None:
    batch([]).then(Step(4)).dispatch()
    drain()

    assert queued(told) == ["queued.Step"]


@both
def test_row_47_a_batch_within_a_chain_is_told_to_its_end(
    drain: Callable[[], object], told: list[Any]
) -> None:
    chain([batch([Step(1), Step(2)]).then(Step(3)), batch([]).finally_(Step(4)), Loud()]).dispatch()
    drain()

    assert sorted(queued(told)) == [
        "broadcaster.batch",
        "broadcaster.batch",
        "queued.Loud",
        "queued.Step",
        "queued.Step",
        "queued.Step",
        "queued.Step",
    ]


def test_row_47_jobs_that_a_cancelled_batch_skips_queue_nothing_that_is_told(
    redis_url: str, told: list[Any]
) -> None:
    with LiveQueue(redis_url) as live:
        made = batch([chain([Step(1), Step(2)])]).then(Step(3)).dispatch()
        made.cancel()
        live.drain()

    assert [event.job for event in told if isinstance(event, JobQueued)] == [Step(1)]


def test_the_class_of_a_job_that_is_unknown_here_is_told_by_its_name(told: list[Any]) -> None:
    payload = Payload(id="a" * 32, job="queued.Nobody", data={"n": 1})
    new = NewJob("a" * 32, "mail", encode_payload(payload), delay=2.0)

    tell_queued("emails", [new])

    (event,) = told
    assert (event.job, event.payload.job, event.delay) == (None, "queued.Nobody", 2.0)
    assert (event.connection_name, event.queue, event.id) == ("emails", "mail", "a" * 32)


def test_a_body_that_nobody_can_read_is_told_by_nobody(told: list[Any]) -> None:
    new = NewJob("a" * 32, "mail", b"not ours")

    tell_queueing("emails", [new])
    tell_queued("emails", [new])

    assert told == []


def test_a_link_that_was_queued_before_is_told_by_who_queued_it() -> None:
    one, two = NewJob("1" * 32, "q", b""), NewJob("2" * 32, "q", b"", link=Link("chain", 1))

    assert Pushed([one.id], [two.id]).new_of([one, two]) == [one]
    assert Pushed([one.id, two.id]).new_of([one, two]) == [one, two]
    assert Pushed([one.id], [one.id]).new_of([one, one]) == [one]


def test_sending_a_known_link_again_tells_nothing(redis_url: str, told: list[Any]) -> None:
    with LiveQueue(redis_url):
        body = encode_payload(Payload(id="a" * 32, job="queued.Step", data={"n": 1}))
        link = NewJob("a" * 32, "q", body, link=Link("chain", 1))
        for _ in range(2):
            Sending(current.application().connection(), [link]).send()

    assert [type(event).__name__ for event in told] == ["JobQueueing", "JobQueued", "JobQueueing"]


def test_sending_nothing_tells_nothing(redis_url: str, told: list[Any]) -> None:
    with LiveQueue(redis_url):
        assert Sending(current.application().connection(), []).send() == ""

    assert told == []
