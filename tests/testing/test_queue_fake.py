"""Row 57: a fake queue with Laravel's assertions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster import (
    PrivateChannel,
    apause_queue,
    aresume_queue,
    batch,
    broadcast,
    chain,
    emit,
    minutes,
    pause_queue,
    resume_queue,
)
from broadcaster.errors import InvalidJob, NotConfigured
from broadcaster.events.tracked_job import TrackedJob, job_status
from broadcaster.testing.queue_fake import QueueFake
from tests.testing import shop
from tests.testing.shop import (
    Charge,
    OrderPlaced,
    OrderShipped,
    Pack,
    Receipt,
    Refresh,
    Ship,
    report,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.jobs.lifecycle import JobQueued
    from broadcaster.testing.broadcast_fake import BroadcastFake


def fails(call: Callable[[], object]) -> str:
    """Return the message of an assertion that must fail."""
    with pytest.raises(AssertionError) as caught:
        call()
    return str(caught.value)


def test_row_57_what_is_dispatched_is_written_down_and_does_not_run(queue: QueueFake) -> None:
    Charge(7).dispatch()
    Pack(7).dispatch(delay=minutes(1), queue="low")
    report("2026-11").dispatch()

    queue.assert_pushed(Charge)
    queue.assert_pushed(Charge, lambda job: job.order_id == 7)
    queue.assert_pushed(report)
    queue.assert_pushed("testing.Pack")
    queue.assert_pushed_on("payments", Charge)
    queue.assert_pushed_on("low", Pack, lambda job: job.order_id == 7)
    queue.assert_pushed_once(Charge)
    queue.assert_pushed_times(Pack, 1)
    queue.assert_not_pushed(Ship)
    queue.assert_not_pushed(Charge, lambda job: job.order_id == 8)
    queue.assert_count(3)
    assert queue.pushed(Charge) == [Charge(7)]
    assert queue.pushed() == [Charge(7), Pack(7), report("2026-11")]
    assert [one.delay for one in queue.records] == [0, 60, 0]
    assert shop.ran == []


async def test_async_code_is_faked_as_well(queue: QueueFake) -> None:
    job_id = await Charge(7).adispatch()

    queue.assert_pushed(Charge)
    assert [one.id for one in queue.records] == [job_id]


def test_a_job_that_sits_in_a_chain_is_found_there_by_the_message(queue: QueueFake) -> None:
    chain([Charge(7), batch([Pack(7)]), Ship(7)]).catch(Refresh("7")).dispatch()

    link, member, caught = (
        fails(partial(queue.assert_pushed, target)) for target in (Ship, Pack, "testing.Refresh")
    )

    assert link.startswith(
        "Ship was not pushed; it is a later link of the chain of Charge(order_id=7) "
        "(assert_pushed_with_chain); pushed were:\n"
    )
    assert "it is a later link of the chain of Charge" in member
    assert "it is what is queued if the chain of Charge(order_id=7) fails (catch)" in caught
    assert "caught by [Refresh(" in caught
    assert "it is" not in fails(lambda: queue.assert_pushed(report))


def test_nothing_pushed_is_what_it_says(queue: QueueFake) -> None:
    queue.assert_nothing_pushed()
    queue.assert_count(0)

    Charge(7).dispatch()

    assert "Charge(order_id=7) on payments" in fails(queue.assert_nothing_pushed)


def test_a_job_that_could_not_be_queued_fails_here_too(queue: QueueFake) -> None:
    wrong: Any = object()

    with pytest.raises(InvalidJob):
        Charge(wrong).dispatch()
    queue.assert_nothing_pushed()


def test_chains_are_seen_from_their_first_link(queue: QueueFake) -> None:
    chain([Charge(7), Pack(7), Ship(7, express=True)]).dispatch()
    Charge(8).dispatch()

    queue.assert_pushed_with_chain(Charge, [Pack, Ship])
    queue.assert_pushed_with_chain(Charge, [Pack(7), lambda job: job.express])
    queue.assert_pushed_without_chain(Charge, lambda job: job.order_id == 8)
    text = fails(lambda: queue.assert_pushed_with_chain(Charge, [Ship]))
    assert text.startswith("Charge was not pushed with the chain [Ship]; pushed were:\n")
    assert "then [Pack(order_id=7), Ship(order_id=7, express=True)]" in text
    seven = lambda job: job.order_id == 7  # noqa: E731 - it stands in a test
    assert "without a chain" in fails(lambda: queue.assert_pushed_without_chain(Charge, seven))


def test_jobs_of_a_batch_are_pushed(queue: QueueFake) -> None:
    made = batch([Pack(1), Pack(2)]).name("packing").dispatch()
    made.add([Pack(3)])

    queue.assert_pushed_times(Pack, 3)
    assert {one.batch_id for one in queue.records} == {made.id}
    assert (made.fresh().total_jobs, made.fresh().pending_jobs) == (3, 3)


def test_a_queued_listener_is_asked_for_by_itself_with_its_event(queue: QueueFake) -> None:
    emit(OrderPlaced(7))

    queue.assert_pushed(Receipt, lambda event: event == OrderPlaced(7))
    queue.assert_pushed("testing.receipt")
    assert shop.ran == [("reserve", OrderPlaced(7))]
    text = fails(lambda: queue.assert_pushed(Receipt, lambda event: event.order_id == 8))
    assert "testing.receipt for OrderPlaced(order_id=7) on mail" in text


def test_broadcasts_are_taken_and_not_counted(queue: QueueFake) -> None:
    broadcast(OrderShipped(7))

    queue.assert_nothing_pushed()


def test_a_connection_is_asked_for_by_its_name(queue: QueueFake) -> None:
    Charge(7).dispatch(connection="long")

    queue.assert_pushed_on_connection("long", Charge)
    text = fails(lambda: queue.assert_pushed_on_connection("default", Charge))
    assert text == (
        "Charge was not pushed on the connection 'default'; pushed were:\n"
        "  Charge(order_id=7) on payments, of long"
    )


def test_a_unique_job_is_pushed_once(queue: QueueFake) -> None:
    assert Refresh("a").dispatch()
    assert not Refresh("a").dispatch()
    assert Refresh("b").dispatch()

    queue.assert_pushed_times(Refresh, 2)


class Export(TrackedJob, name="testing.Export"):
    user_id: int

    def broadcast_progress_on(self) -> PrivateChannel:
        return PrivateChannel(f"users.{self.user_id}")

    def handle(self) -> None: ...


def test_a_tracked_job_is_pending(queue: QueueFake, broadcasts: BroadcastFake) -> None:
    job_id = Export(7).dispatch()

    queue.assert_pushed_once(Export)
    status = job_status(job_id)
    assert status is not None
    assert status.status == "pending"
    broadcasts.assert_broadcast("job.status", on="private-users.7", payload={"status": "pending"})


async def test_a_queue_is_paused_for_the_test_only(
    queue: QueueFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def real(backend: object, name: str | None = None) -> None:
        raise AssertionError("the queue of the developer is not to be touched")

    monkeypatch.setattr("broadcaster.wiring.backend.Backend.served", real)
    pause_queue("mail")
    await apause_queue("mail", connection="long")

    assert await aresume_queue("mail")
    assert not resume_queue("mail")
    assert resume_queue("mail", connection="long")


def test_the_lifecycle_is_told_as_ever(queue: QueueFake) -> None:
    from broadcaster.jobs.announcing import lifecycle_listeners
    from broadcaster.jobs.lifecycle import JobQueued

    told: list[JobQueued] = []
    remove = lifecycle_listeners.add(JobQueued, told.append)
    Charge(7).dispatch()
    remove()

    assert [event.queue for event in told] == ["payments"]


# Messages


def test_a_failure_says_what_was_pushed_instead(queue: QueueFake) -> None:
    Charge(7).dispatch(delay=5)

    text = fails(lambda: queue.assert_pushed(Ship))

    assert text == "Ship was not pushed; pushed were:\n  Charge(order_id=7) on payments, after 5 s"


def test_a_failure_says_that_nothing_was_pushed(queue: QueueFake) -> None:
    assert fails(lambda: queue.assert_pushed(Ship)) == "Ship was not pushed; nothing was pushed"


def test_a_failure_lists_what_the_predicate_refused(queue: QueueFake) -> None:
    Charge(7).dispatch()
    Ship(7).dispatch()

    text = fails(lambda: queue.assert_pushed(Charge, lambda job: job.order_id == 8))

    assert text == (
        "no Charge that was pushed fulfils the predicate:\n  Charge(order_id=7) on payments"
    )


def test_a_failure_counts(queue: QueueFake) -> None:
    Charge(7).dispatch()
    Charge(8).dispatch()

    text = fails(lambda: queue.assert_pushed_once(Charge))
    assert text.startswith("Charge was to be pushed once, not 2 times:\n  Charge(order_id=7)")
    text = fails(lambda: queue.assert_pushed_times(Ship, 3))
    assert text == "Ship was to be pushed 3 times, not 0 times"


def test_a_failure_names_the_queue(queue: QueueFake) -> None:
    Charge(7).dispatch()

    text = fails(lambda: queue.assert_pushed_on("mail", Charge))

    assert text.startswith("Charge was not pushed on 'mail'; pushed were:")


def test_a_failure_shows_the_jobs_of_a_chain_with_their_fields(queue: QueueFake) -> None:
    chain([Charge(7), Pack(7)]).dispatch()

    text = fails(lambda: queue.assert_pushed_with_chain(Charge, [Pack(8)]))

    assert text == (
        "Charge was not pushed with the chain [Pack(order_id=8)]; pushed were:\n"
        "  Charge(order_id=7) on payments, then [Pack(order_id=7)]"
    )


def test_a_failure_says_that_it_was_the_predicate_and_not_the_queue(queue: QueueFake) -> None:
    Charge(7).dispatch()

    text = fails(lambda: queue.assert_pushed_on("payments", Charge, lambda job: job.order_id == 8))

    assert text.startswith("no Charge that was pushed fulfils the predicate:")


def test_a_failure_stays_short(queue: QueueFake) -> None:
    for number in range(30):
        Charge(number).dispatch()
    report("x" * 1_000).dispatch()

    text = fails(lambda: queue.assert_pushed(Ship))

    assert text.endswith("and 11 more")
    assert len(text) < 2_000


# Some of them


def test_only_some_jobs_can_be_faked() -> None:
    """The others go to the real queue, which is not there in this test."""
    with QueueFake().only(Charge) as queue:
        Charge(7).dispatch()
        with pytest.raises(NotConfigured):
            Pack(7).dispatch()

    queue.assert_count(1)


def test_some_jobs_can_be_left_out() -> None:
    with QueueFake() as queue:
        queue.except_(Pack, "testing.Ship")
        Charge(7).dispatch()
        for job in (Pack(7), Ship(7)):
            with pytest.raises(NotConfigured):
                job.dispatch()

    queue.assert_count(1)


def test_what_was_taken_can_be_forgotten(queue: QueueFake) -> None:
    Charge(7).dispatch()

    queue.clear()

    queue.assert_nothing_pushed()


def test_after_the_fake_the_real_queue_is_back() -> None:
    with QueueFake():
        Charge(7).dispatch()

    with pytest.raises(NotConfigured):
        Charge(7).dispatch()
