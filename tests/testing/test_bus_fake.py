"""Row 57: a fake bus with Laravel's assertions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import batch, chain
from broadcaster.testing.bus_fake import BusFake
from tests.testing import shop
from tests.testing.shop import Charge, Letter, Pack, Ship
from tests.testing.test_queue_fake import fails

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.testing.queue_fake import QueueFake


async def test_row_57_what_is_dispatched_or_run_now_is_written_down(bus: BusFake) -> None:
    Charge(7).dispatch()
    await Pack(7).adispatch()
    Ship(7).run_now()
    await Ship(8).arun_now()

    bus.assert_dispatched(Charge, lambda job: job.order_id == 7)
    bus.assert_dispatched(Ship)
    bus.assert_dispatched_times(Ship, 2)
    bus.assert_dispatched_once(Pack)
    bus.assert_dispatched_now(Ship, lambda job: job.order_id == 8)
    bus.assert_dispatched_now("testing.Ship", times=2)
    bus.assert_not_dispatched_now(Charge)
    bus.assert_not_dispatched(Charge, lambda job: job.order_id == 8)
    assert bus.dispatched() == [Charge(7), Pack(7), Ship(7), Ship(8)]
    assert bus.dispatched(Ship, lambda job: job.order_id == 7) == [Ship(7)]
    assert shop.ran == []


def test_nothing_is_what_it_says(bus: BusFake) -> None:
    bus.assert_nothing_dispatched()
    bus.assert_nothing_chained()
    bus.assert_nothing_batched()

    Ship(7).run_now()

    assert "Ship(order_id=7, express=False)" in fails(bus.assert_nothing_dispatched)


def test_row_57_chains_are_asked_for_by_classes_jobs_and_questions(bus: BusFake) -> None:
    chain([Charge(7), Pack(7), Ship(7, express=True)]).catch(Pack(0)).dispatch()
    Charge(8).dispatch()

    bus.assert_chained([Charge, Pack, Ship])
    bus.assert_chained([Charge(7), Pack, lambda job: job.express])
    bus.assert_dispatched_without_chain(Charge, lambda job: job.order_id == 8)
    assert bus.chains == [(Charge(7), Pack(7), Ship(7, express=True))]
    assert bus.records[0].catch == (Pack(0),)


def test_row_57_batches_are_asked_for_by_jobs_and_questions(bus: BusFake) -> None:
    pending = batch([Pack(1), Pack(2)]).name("packing").options({"user": 7}).allow_failures()
    pending.then(Ship(1)).catch(Ship(2)).finally_(Ship(3)).dispatch()

    bus.assert_batched([Pack, Pack(2)])
    bus.assert_batched(lambda batch: batch.name == "packing" and len(batch.jobs) == 2)
    bus.assert_batch_count(1)
    bus.assert_nothing_dispatched()
    [made] = bus.batches
    assert made.options == {"user": 7}
    assert made.allow_failures
    assert made.callbacks == {"then": (Ship(1),), "catch": (Ship(2),), "finally": (Ship(3),)}


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda bus: bus.assert_dispatched(Ship), "Ship was not dispatched; dispatched were:"),
        (lambda bus: bus.assert_dispatched_now(Charge), "Charge was not run now; nothing was run"),
        (lambda bus: bus.assert_dispatched(Charge, times=2), "to be dispatched 2 times, not once"),
        (lambda bus: bus.assert_not_dispatched(Charge), "Charge was dispatched, and should not"),
        (lambda bus: bus.assert_chained([Ship]), "[Ship] was not dispatched; chains were:\n  [Ch"),
        (lambda bus: bus.assert_nothing_chained(), "chains were dispatched, and none"),
        (lambda bus: bus.assert_batched([Ship]), "no batch of [Ship] was dispatched; there were:"),
        (lambda bus: bus.assert_batched(lambda batch: False), "no batch fulfils the predicate;"),
        (lambda bus: bus.assert_batch_count(2), "a batch was to be dispatched 2 times, not once"),
        (lambda bus: bus.assert_nothing_batched(), "batches were dispatched, and none should"),
        (lambda bus: bus.assert_dispatched_without_chain(Charge), "without a chain; dispatched"),
    ],
)
def test_a_failure_says_what_there_was_instead(
    bus: BusFake, ask: Callable[[BusFake], None], text: str
) -> None:
    chain([Charge(7), Pack(7)]).dispatch()
    batch([Pack(1)]).name("packing").dispatch()

    assert text in fails(lambda: ask(bus))


def test_a_failure_shows_links_and_jobs_with_their_fields(bus: BusFake) -> None:
    """Or the wanted chain and the one that was dispatched may look the same."""
    chain([Charge(7), Pack(7)]).dispatch()
    batch([Pack(1)]).name("packing").options({"user": 3}).dispatch()

    chained = fails(lambda: bus.assert_chained([Charge, Pack(8)]))
    batched = fails(lambda: bus.assert_batched([Pack(2)]))

    assert chained == (
        "the chain [Charge, Pack(order_id=8)] was not dispatched; chains were:\n"
        "  [Charge(order_id=7), Pack(order_id=7)]"
    )
    assert batched == (
        "no batch of [Pack(order_id=2)] was dispatched; there were:\n"
        "  batch 'packing' of [Pack(order_id=1)] with options {'user': 3}"
    )


def test_a_failure_lists_what_was_run_now_too(bus: BusFake) -> None:
    Charge(7).run_now()

    ship = fails(lambda: bus.assert_dispatched(Ship))
    other = fails(lambda: bus.assert_dispatched(Charge, lambda job: job.order_id == 8))

    assert ship == "Ship was not dispatched; dispatched were:\n  Charge(order_id=7)"
    assert other == "no Charge that was dispatched fulfils the predicate:\n  Charge(order_id=7)"


def test_what_was_run_now_is_returned_as_it_is(bus: BusFake) -> None:
    """Also a job that has a field called `subject`, as mails have."""
    Letter(subject="hello").run_now()

    assert bus.dispatched() == [Letter(subject="hello")]


def test_only_some_jobs_can_be_faked() -> None:
    with BusFake() as bus:
        bus.only(Ship)
        Ship(7).run_now()
        Charge(7).run_now()

    assert shop.ran == [Charge(7)]
    assert bus.dispatched() == [Ship(7)]


def test_some_jobs_can_be_left_out(bus: BusFake) -> None:
    bus.except_(Charge)

    Charge(7).run_now()
    Ship(7).run_now()

    assert shop.ran == [Charge(7)]
    assert bus.dispatched() == [Ship(7)]


def test_two_fakes_see_the_same(bus: BusFake, queue: QueueFake) -> None:
    """Whichever was there first: each writes down what it is about."""
    Charge(7).dispatch()
    batch([Pack(1)]).dispatch()

    bus.assert_dispatched(Charge)
    bus.assert_batched([Pack(1)])
    queue.assert_count(2)


def test_after_the_fake_jobs_run_now_again() -> None:
    with BusFake():
        Charge(7).run_now()

    Charge(8).run_now()

    assert shop.ran == [Charge(8)]


def test_row_57_batches_in_chains_are_asked_for_by_lists(bus: BusFake) -> None:
    parts = batch([chain([Pack(1), Ship(1)]), Pack(2)]).name("parts")
    chain([Charge(7), parts, Ship(7)]).dispatch()

    bus.assert_chained([Charge, [Pack(1), Ship, Pack(2)], Ship])
    text = fails(lambda: bus.assert_chained([Charge, [Pack], Ship]))
    assert "[Charge(order_id=7), batch 'parts' of 3 jobs, Ship(order_id=7" in text


def test_row_57_links_are_jobs_of_their_batch(bus: BusFake) -> None:
    batch([chain([Pack(1), Ship(1)]), Pack(2)]).dispatch()

    bus.assert_batched([Pack(1), Ship(1), Pack(2)])
