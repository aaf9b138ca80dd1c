from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.settlements import MAX_UNIQUE_SECONDS, Unique
from broadcaster.errors import InvalidJob
from broadcaster.jobs.after_commit import after_commit
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.bus import Skipped, follower, new_job, prepared, unique_of
from broadcaster.jobs.chain import chain
from broadcaster.jobs.delay import minutes
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import JobQueued, JobQueueing, UniqueJobSkipped
from broadcaster.jobs.pending_batch import batch
from broadcaster.protocol.lanes import ordered_queue
from broadcaster.protocol.payload import MAX_PAYLOAD_BYTES, decode_payload

if TYPE_CHECKING:
    from broadcaster.contracts.queue import NewJob
    from tests.jobs.application import JobsApplication


class Ship(Job, name="bus.Ship", queue="ships", tries=3, backoff=2, timeout=9):
    order: int

    def handle(self) -> None: ...


class Tell(Job, name="bus.Tell"):
    text: str

    def handle(self) -> None: ...


def made(job: Job, **options: Any) -> NewJob:
    return new_job(job, now=1_700_000_000.0, randomness=bytes(10), default_queue="d", **options)


def test_a_new_job_carries_its_class_options() -> None:
    new = made(Ship(5))
    payload = decode_payload(new.body)

    assert (new.queue, new.delay, new.id) == ("ships", 0.0, payload.id)
    assert (payload.job, payload.data) == ("bus.Ship", {"order": 5})
    assert (payload.tries, payload.backoff, payload.timeout) == (3, (2.0,), 9.0)


@pytest.mark.parametrize(
    ("job", "queue", "expected"),
    [(Ship(1), "low", "low"), (Ship(1), None, "ships"), (Tell("x"), None, "d")],
)
def test_the_queue_is_the_call_s_then_the_class_s_then_the_default(
    job: Job, queue: str | None, expected: str
) -> None:
    assert made(job, queue=queue).queue == expected


def test_an_impossible_delay_is_refused() -> None:
    with pytest.raises(ValueError, match="delay must be"):
        made(Ship(1), delay=-1)


@pytest.mark.parametrize("text", ["\ud800", "x" * MAX_PAYLOAD_BYTES])
def test_what_cannot_be_queued_is_refused_at_the_call(app: JobsApplication, text: str) -> None:
    with pytest.raises(InvalidJob):
        Tell(text).dispatch()

    assert app.recorded.pushed == []


def test_dispatch_pushes_to_the_current_application(app: JobsApplication) -> None:
    job_id = Ship(5).dispatch(delay=minutes(5), queue="low")

    (new,) = app.recorded.pushed
    assert (new.id, new.queue, new.delay) == (job_id, "low", 300.0)


async def test_adispatch_does_the_same(app: JobsApplication) -> None:
    job_id = await Tell("x").adispatch()

    (new,) = app.recorded.pushed
    assert (new.id, new.queue) == (job_id, "default")


def test_ids_are_unique_and_sort_by_time(app: JobsApplication) -> None:
    ids = [Ship(1).dispatch() for _ in range(100)]

    assert len(set(ids)) == 100
    assert [each[:12] for each in ids] == sorted(each[:12] for each in ids)


class Hook(Job, name="bus.Hook", unique="url", unique_for=60):
    url: str
    body: str = ""

    def handle(self) -> None: ...


class Whole(Job, name="bus.Whole", unique=True, unique_until="processing"):
    url: str
    body: str = ""

    def handle(self) -> None: ...


class Chosen(Job, name="bus.Chosen", unique=True):
    url: str

    def unique_id(self) -> str:
        return self.url.casefold()

    def handle(self) -> None: ...


class Room(Enum):
    HALL = "hall"


class Move(Job, name="bus.Move", queue="moves", ordered_by="account"):
    account: int

    def handle(self) -> None: ...


def key(job: Job) -> str:
    unique = unique_of(prepared(job))
    assert unique is not None
    return unique.key


def test_rows_15_and_16_a_dispatch_may_say_everything_that_a_class_says(
    app: JobsApplication,
) -> None:
    Ship(5).dispatch(
        connection="long",
        queue="low",
        tries=9,
        backoff=[1, 2],
        jitter=0.5,
        timeout=60,
        fail_on_timeout=True,
        max_exceptions=2,
        delete_when_missing_models=True,
    )

    (payload,) = app.recorded.payloads
    assert app.connections == ["long"]
    assert (payload.tries, payload.backoff, payload.jitter, payload.timeout) == (9, (1, 2), 0.5, 60)
    assert (payload.fail_on_timeout, payload.max_exceptions, payload.drop_missing) == (
        True,
        2,
        True,
    )


def test_row_8_a_time_for_tries_is_a_moment_from_the_dispatch_on() -> None:
    """A job that is retried by hand gets the same time again, unless it was a moment."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    within = decode_payload(made(Ship(5), retry_until=60, delay=5).body)
    until = decode_payload(made(Ship(5), retry_until=moment).body)

    assert (within.retry_until, within.retry_for) == (1_700_000_065.0, 60.0)
    assert (until.retry_until, until.retry_for) == (moment.timestamp(), None)


def test_row_14_a_delay_is_kept_to_the_millisecond() -> None:
    assert made(Ship(5), delay=0.0015).delay == 0.0015


def test_row_27_a_unique_job_asks_for_a_lock_of_its_class_and_what_makes_it_unique() -> None:
    new = made(Hook("a", "1"))

    assert new.unique == Unique(key(Hook("a", "2")), 60.0)
    assert key(Hook("a")) != key(Hook("b"))
    assert key(Whole("a", "1")) == key(Whole("a", "1")) != key(Whole("a", "2"))
    assert key(Chosen("A")) == key(Chosen("a"))
    assert "a" * 40 not in key(Hook("a" * 40))
    assert made(Ship(1)).unique is None


@pytest.mark.parametrize(
    ("delay", "held"), [(0, 60.0), (90_000, 90_060.0), (30 * 86_400, MAX_UNIQUE_SECONDS)]
)
def test_row_27_the_time_of_a_lock_begins_when_the_job_may_run(delay: float, held: float) -> None:
    """Or one that is delayed for longer would not keep others out."""
    unique = made(Hook("a", "1"), delay=delay).unique

    assert unique is not None
    assert unique.seconds == held


def test_row_28_a_job_that_is_unique_until_it_runs_says_which_lock_to_free() -> None:
    new = made(Whole("a"))

    assert new.unique is not None
    assert decode_payload(new.body).unlock == new.unique.key
    assert decode_payload(made(Hook("a")).body).unlock == ""


async def test_a_unique_job_that_is_kept_out_is_skipped(app: JobsApplication) -> None:
    app.recorded.locked = {key(Hook("a"))}
    skipped: list[str] = []
    remove = lifecycle_listeners.add(UniqueJobSkipped, lambda event: skipped.append(event.owner))

    answers = [Hook("a").dispatch(), await Hook("a").adispatch(), Hook("b").dispatch()]
    remove()

    assert [bool(answer) for answer in answers] == [False, False, True]
    assert answers[:2] == [Skipped("owner")] * 2
    assert skipped == ["owner", "owner"]


def test_jobs_with_an_order_go_to_the_lane_of_their_key() -> None:
    assert made(Move(7)).queue == ordered_queue("moves", "7") == made(Move(7)).queue
    assert made(Move(7), queue="low").queue == ordered_queue("low", "7")
    assert made(Move(7), lanes=99).queue == ordered_queue("moves", "7", 99)
    assert made(Move(7), lanes=0).queue == "moves"


class Weigh(Job, name="bus.Weigh", ordered_by="weight"):
    weight: float | None

    def handle(self) -> None: ...


class Tidy(Job, name="bus.Tidy", ordered_by="room"):
    room: Room | dict[str, int]

    def handle(self) -> None: ...


def test_the_same_value_has_one_lane_however_it_is_written() -> None:
    """A worker gets the same of both."""
    assert made(Weigh(1), lanes=256).queue == made(Weigh(1.0), lanes=256).queue
    assert made(Weigh(1), lanes=256).queue == ordered_queue("d", "1.0", 256)
    assert made(Weigh(None), lanes=256).queue == ordered_queue("d", "null", 256)
    assert made(Tidy(Room.HALL), lanes=256).queue == ordered_queue("d", "hall", 256)
    first, second = Tidy({"a": 1, "b": 2}), Tidy({"b": 2, "a": 1})
    assert made(first, lanes=256).queue == made(second, lanes=256).queue


def test_the_number_of_lanes_is_the_connection_s(app: JobsApplication) -> None:
    app.lanes = 77

    Move(7).dispatch()
    chain([Ship(1), Move(7)]).dispatch()
    batch([Move(7)]).dispatch()

    lane = ordered_queue("moves", "7", 77)
    place = app.recorded.payloads[1].chain
    assert place is not None
    assert [job.queue for job in app.recorded.pushed] == [lane, "ships", lane]
    assert place.next[0].queue == lane


async def test_row_36_a_dispatch_can_wait_for_the_commit(app: JobsApplication) -> None:
    with after_commit():
        job_id = Ship(1).dispatch(after_commit=True)
        Ship(2).dispatch()
        assert len(app.recorded.pushed) == 1

    async with after_commit():
        await Ship(3).adispatch(after_commit=True)
        assert len(app.recorded.pushed) == 2

    assert app.recorded.pushed[1].id == job_id
    assert len(app.recorded.pushed) == 3


def test_a_connection_may_have_all_wait_and_a_job_may_not(app: JobsApplication) -> None:
    app.after_commit = True

    with after_commit():
        Ship(1).dispatch()
        Ship(2).dispatch(after_commit=False)
        assert [payload.data for payload in app.recorded.payloads] == [{"order": 2}]

    assert len(app.recorded.pushed) == 2


def test_what_is_dispatched_after_a_rollback_never_was(app: JobsApplication) -> None:
    def order() -> None:
        with after_commit():
            Ship(1).dispatch(after_commit=True)
            raise ValueError("roll back")

    with pytest.raises(ValueError, match="roll back"):
        order()

    assert app.recorded.pushed == []


def test_row_47_listeners_hear_of_what_is_queued(app: JobsApplication) -> None:
    heard: list[tuple[str, str, str]] = []

    def hear(event: JobQueueing | JobQueued) -> None:
        heard.append((type(event).__name__, event.queue, event.payload.job))

    removes = [
        lifecycle_listeners.add(JobQueueing, hear),
        lifecycle_listeners.add(JobQueued, hear),
    ]

    Ship(1).dispatch(queue="low")
    for remove in removes:
        remove()

    assert heard == [("JobQueueing", "low", "bus.Ship"), ("JobQueued", "low", "bus.Ship")]


def test_a_prepared_job_can_be_dispatched_and_changed_again(app: JobsApplication) -> None:
    ready = Ship(1).with_options(queue="low", tries=7)

    ready.dispatch()
    prepared(ready, queue="lower").dispatch()

    assert [job.queue for job in app.recorded.pushed] == ["low", "lower"]
    assert [payload.tries for payload in app.recorded.payloads] == [7, 7]


def test_a_follower_carries_no_moment_that_depends_on_now() -> None:
    within = follower(Ship(1).with_options(retry_until=60, delay=3), "d", "0" * 32)
    until = follower(
        Ship(1).with_options(retry_until=datetime(2026, 1, 1, tzinfo=UTC)), "d", "0" * 32
    )

    assert (within.delay, within.payload.retry_until, within.payload.retry_for) == (3.0, None, 60.0)
    assert until.payload.retry_until is not None
