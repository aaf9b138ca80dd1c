"""Row 57: fake broadcasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import (
    EncryptedPrivateChannel,
    PrivateChannel,
    abroadcast,
    broadcast,
    emit,
    on,
    private,
)
from broadcaster.context import socket_id
from broadcaster.errors import NotConfigured, PayloadTooLarge
from broadcaster.testing.broadcast_fake import BroadcastFake
from tests.testing.shop import Charge, OrderShipped, OrderTold
from tests.testing.test_queue_fake import fails

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.testing.queue_fake import QueueFake


async def test_row_57_what_is_broadcast_is_written_down_and_not_sent(
    broadcasts: BroadcastFake,
) -> None:
    broadcast(OrderShipped(7))
    await abroadcast(OrderTold(8))
    on("news").as_("flash").with_({"text": "hi"}).send()

    broadcasts.assert_broadcast(OrderShipped)
    broadcasts.assert_broadcast(OrderShipped, on="private-orders.7")
    broadcasts.assert_broadcast(OrderShipped, on=PrivateChannel("orders.7"))
    broadcasts.assert_broadcast(OrderShipped, payload={"order_id": 7})
    broadcasts.assert_broadcast("OrderShipped", payload={"order_id": 7, "carrier": "post"})
    broadcasts.assert_broadcast("App\\Events\\OrderShipped", times=1)
    broadcasts.assert_broadcast("order.told", lambda sent: sent.now)
    broadcasts.assert_broadcast(
        OrderTold, on=EncryptedPrivateChannel("orders"), payload={"order_id": 8}
    )
    broadcasts.assert_broadcast("flash", on="news", payload={"text": "hi"})
    broadcasts.assert_broadcast_times(OrderTold, 1)
    broadcasts.assert_not_broadcast(OrderShipped, on="private-orders.8")
    broadcasts.assert_nothing_broadcast(on="private-orders.9")
    assert [sent.event for sent in broadcasts.records] == [OrderShipped(7), OrderTold(8), None]


def test_row_57_an_emitted_event_is_broadcast_too(broadcasts: BroadcastFake) -> None:
    emit(OrderShipped(7))

    broadcasts.assert_broadcast(OrderShipped, lambda sent: sent.event == OrderShipped(7))


def test_nothing_is_what_it_says(broadcasts: BroadcastFake) -> None:
    broadcasts.assert_nothing_broadcast()

    broadcast(OrderShipped(7))

    assert "App\\Events\\OrderShipped on private-orders.7" in fails(
        broadcasts.assert_nothing_broadcast
    )


def test_to_others_can_be_asked(broadcasts: BroadcastFake) -> None:
    token = socket_id.set("1.2")
    try:
        broadcast(OrderShipped(7), to_others=True)
    finally:
        socket_id.reset(token)
    broadcast(OrderTold(7))

    broadcasts.assert_broadcast_to_others(OrderShipped)
    broadcasts.assert_broadcast_to_others(OrderShipped, "1.2")
    assert "to others only" in fails(lambda: broadcasts.assert_broadcast_to_others(OrderTold))
    assert "to all but 3.4" in fails(
        lambda: broadcasts.assert_broadcast_to_others(OrderShipped, "3.4")
    )


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda fake: fake.assert_broadcast(OrderTold), "OrderTold was not broadcast; broadcast w"),
        (
            lambda fake: fake.assert_broadcast(OrderShipped, on="orders"),
            "OrderShipped was not broadcast on orders; broadcast were:\n  App\\Events\\OrderShipped",
        ),
        (
            lambda fake: fake.assert_broadcast(OrderShipped, payload={"order_id": 8}),
            "OrderShipped was not broadcast with {'order_id': 8}; broadcast were:",
        ),
        (
            lambda fake: fake.assert_broadcast(OrderShipped, payload={"order": 7}),
            "was not broadcast with {'order': 7}",
        ),
        (
            lambda fake: fake.assert_broadcast(OrderShipped, lambda sent: sent.now),
            "was not broadcast as the predicate wants",
        ),
        (lambda fake: fake.assert_broadcast("OrderShipped", times=2), "2 times, not once"),
        (lambda fake: fake.assert_not_broadcast(OrderShipped), "was broadcast, and should not"),
    ],
)
def test_a_failure_says_what_there_was_instead(
    broadcasts: BroadcastFake, ask: Callable[[BroadcastFake], None], text: str
) -> None:
    broadcast(OrderShipped(7))

    assert text in fails(lambda: ask(broadcasts))


def test_an_event_that_could_not_be_sent_fails_here_too(broadcasts: BroadcastFake) -> None:
    with pytest.raises(PayloadTooLarge):
        broadcast(OrderShipped(7, carrier="x" * 20_000))
    broadcasts.assert_nothing_broadcast()


def test_many_channels_are_one_broadcast(broadcasts: BroadcastFake) -> None:
    private("a", "b").as_("told").send()

    broadcasts.assert_broadcast("told", on="private-b", times=1)


@pytest.mark.parametrize(
    "fake", [BroadcastFake().only(OrderTold), BroadcastFake().except_(OrderShipped)]
)
def test_only_some_broadcasts_can_be_faked(fake: BroadcastFake) -> None:
    with fake as broadcasts:
        broadcast(OrderTold(7))
        with pytest.raises(NotConfigured):
            broadcast(OrderShipped(7))

    assert [sent.name for sent in broadcasts.records] == ["order.told"]


def test_with_a_fake_queue_each_has_its_own(broadcasts: BroadcastFake, queue: QueueFake) -> None:
    broadcast(OrderShipped(7))
    Charge(7).dispatch()

    broadcasts.assert_broadcast_times(OrderShipped, 1)
    queue.assert_count(1)


def test_after_the_fake_the_real_thing_is_back(broadcasts: BroadcastFake) -> None:
    with BroadcastFake() as inner:
        broadcast(OrderShipped(7))
    inner.clear()

    broadcast(OrderShipped(8))

    inner.assert_nothing_broadcast()
    broadcasts.assert_broadcast_times(OrderShipped, 1)
