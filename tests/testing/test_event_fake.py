"""Row 57: fake events with Laravel's assertions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import aemit, emit
from broadcaster.jobs.after_commit import after_commit
from broadcaster.jobs.lifecycle import QueuePaused
from broadcaster.testing.event_fake import EventFake
from tests.testing import shop
from tests.testing.shop import Charge, OrderPlaced, OrderShipped, Receipt, reserve
from tests.testing.test_queue_fake import fails

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_row_57_what_is_emitted_is_written_down_and_nobody_hears_it(
    events: EventFake,
) -> None:
    emit(OrderPlaced(7))
    await aemit(OrderShipped(7))

    events.assert_emitted(OrderPlaced)
    events.assert_emitted(OrderPlaced, lambda event: event.order_id == 7)
    events.assert_emitted_once(OrderShipped)
    events.assert_emitted_times(OrderPlaced, 1)
    events.assert_not_emitted(OrderPlaced, lambda event: event.order_id == 8)
    events.assert_dispatched(OrderPlaced)
    assert events.emitted() == [OrderPlaced(7), OrderShipped(7)]
    assert events.emitted(OrderPlaced) == [OrderPlaced(7)]
    assert shop.ran == []


def test_nothing_is_what_it_says(events: EventFake) -> None:
    events.assert_nothing_emitted()

    emit(OrderPlaced(7))

    assert "OrderPlaced(order_id=7)" in fails(events.assert_nothing_emitted)


def test_who_listens_can_be_asked(events: EventFake) -> None:
    events.assert_listening(OrderPlaced, reserve)
    events.assert_listening(OrderPlaced, Receipt)
    events.assert_listening(QueuePaused, shop.paused)

    text = fails(lambda: events.assert_listening(OrderPlaced, Charge))
    assert text.startswith("Charge does not listen to OrderPlaced; listening are:")
    assert "testing.receipt" in text


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda events: events.assert_emitted(OrderShipped), "not emitted; emitted were:\n  Order"),
        (
            lambda events: events.assert_emitted(OrderPlaced, lambda event: event.order_id == 8),
            "no OrderPlaced that was emitted fulfils the predicate:\n  OrderPlaced(order_id=7)",
        ),
        (lambda events: events.assert_emitted_times(OrderPlaced, 2), "2 times, not once"),
        (lambda events: events.assert_not_emitted(OrderPlaced), "was emitted, and should not"),
    ],
)
def test_a_failure_says_what_there_was_instead(
    events: EventFake, ask: Callable[[EventFake], None], text: str
) -> None:
    emit(OrderPlaced(7))

    assert text in fails(lambda: ask(events))


def test_what_waits_for_a_commit_is_not_emitted_yet(events: EventFake) -> None:
    with after_commit():
        emit(OrderPlaced(7), after_commit=True)
        events.assert_nothing_emitted()

    events.assert_emitted_once(OrderPlaced)


def test_only_some_events_can_be_faked() -> None:
    with EventFake().only(OrderShipped) as events:
        emit(OrderShipped(7))
        emit(QueuePaused(connection_name="redis", queue="mail"))

    assert [type(event) for event in events.emitted()] == [OrderShipped]
    assert [type(event) for event in shop.ran] == [QueuePaused]


def test_some_events_can_be_left_out(events: EventFake) -> None:
    class Nobody:
        pass

    events.except_(Nobody)
    emit(Nobody())
    emit(OrderPlaced(7))

    assert events.emitted() == [OrderPlaced(7)]
    events.clear()
    events.assert_nothing_emitted()


def test_one_fake_in_another_gets_what_it_does_not_want(events: EventFake) -> None:
    with EventFake().only(OrderShipped) as inner:
        emit(OrderShipped(7))
        emit(OrderPlaced(7))

    inner.assert_emitted_once(OrderShipped)
    events.assert_emitted_once(OrderPlaced)
    assert shop.ran == []
