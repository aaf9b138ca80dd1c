"""Row 36: broadcasts that wait for the open transaction."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from broadcaster import (
    PrivateChannel,
    ShouldBroadcast,
    ShouldBroadcastNow,
    ShouldRescue,
    abroadcast,
    abroadcast_if,
    abroadcast_unless,
    broadcast,
    broadcast_if,
    broadcast_unless,
    on,
)
from broadcaster.errors import DriverUnavailable, PublicationError
from broadcaster.jobs.after_commit import after_commit

if TYPE_CHECKING:
    from tests.events.recording import RecordingApplication


@dataclass
class OrderShipped(ShouldBroadcast):
    order_id: int

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel("orders")


class Waiting(OrderShipped):
    def broadcast_after_commit(self) -> bool:
        return True


class WaitingNow(OrderShipped, ShouldBroadcastNow, ShouldRescue): ...


def test_row_36_a_broadcast_waits_for_the_commit(app: RecordingApplication) -> None:
    event = OrderShipped(1)

    with after_commit():
        broadcast(event, after_commit=True)
        event.order_id = 2
        assert app.calls == []

    assert app.calls == ["push"]
    assert '"order_id":1' in app.payloads()[0].data["data"]  # as it was at the call


def test_row_36_a_rollback_drops_a_broadcast(app: RecordingApplication) -> None:
    with suppress(ZeroDivisionError), after_commit():
        broadcast(OrderShipped(1), after_commit=True)
        raise ZeroDivisionError

    assert app.calls == []


async def test_a_coroutine_awaits_it_at_the_commit(app: RecordingApplication) -> None:
    async with after_commit():
        await abroadcast(OrderShipped(1), after_commit=True)
        assert app.calls == []

    assert app.calls == ["apush"]


async def test_conditions_wait_too(app: RecordingApplication) -> None:
    event = OrderShipped(1)

    async with after_commit():
        broadcast_if(True, event, after_commit=True)
        broadcast_unless(False, event, after_commit=True)
        await abroadcast_if(True, event, after_commit=True)
        await abroadcast_unless(False, event, after_commit=True)
        assert app.calls == []

    assert app.calls == ["apush"] * 4


def test_an_event_may_say_that_it_waits(app: RecordingApplication) -> None:
    with after_commit():
        broadcast(Waiting(1))
        assert app.calls == []
        broadcast(Waiting(2), after_commit=False)
        assert app.calls == ["push"]


def test_the_settings_may_say_that_all_wait(app: RecordingApplication) -> None:
    app.rules = replace(app.rules, after_commit=True)

    with after_commit():
        broadcast(OrderShipped(1))
        on("orders").after_commit(wait=False).send()
        assert app.calls == ["push"]


def test_an_event_without_a_class_may_wait(app: RecordingApplication) -> None:
    with after_commit():
        on("orders").after_commit().send()
        assert app.calls == []

    assert app.calls == ["push"]


def test_what_is_published_at_once_waits_and_is_rescued(app: RecordingApplication) -> None:
    app.failure = DriverUnavailable("away")

    with after_commit():
        broadcast(WaitingNow(1), after_commit=True)
        assert app.calls == []

    assert app.calls == ["publish"]


def test_a_mistake_in_the_event_is_told_at_the_call(app: RecordingApplication) -> None:
    with after_commit(), pytest.raises(PublicationError):
        broadcast(OrderShipped(float("nan")), after_commit=True)  # type: ignore[arg-type]

    assert app.calls == []


def test_without_a_transaction_it_is_sent_at_once(app: RecordingApplication) -> None:
    broadcast(OrderShipped(1), after_commit=True)

    assert app.calls == ["push"]
