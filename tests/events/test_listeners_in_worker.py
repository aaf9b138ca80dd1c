"""Row 51: queued listeners in a real worker, on a real queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.events.dispatcher import aemit, emit
from broadcaster.events.facts import MemberAdded
from broadcaster.events.listening import listen, listen_to
from broadcaster.events.naming import event
from broadcaster.jobs.running import current_job
from broadcaster.testing import LiveQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("own_listeners")]

heard: list[Any] = []


@event("worker.order.placed")
@dataclass
class OrderPlaced:
    order_id: int


@pytest.fixture
def live(redis_url: str) -> Iterator[LiveQueue]:
    heard.clear()
    with LiveQueue(redis_url) as made:
        yield made


class Flaky:
    def handle(self, event: OrderPlaced) -> None:
        running = current_job()
        assert running is not None
        heard.append(("try", running.attempts))
        raise LookupError("no mail server")

    async def failed(self, event: OrderPlaced, error: BaseException) -> None:
        heard.append(("failed", event.order_id, str(error)))


def note(event: object) -> None:
    heard.append(event)


def test_row_51_one_listener_is_tried_again_without_the_others(live: LiveQueue) -> None:
    listen(OrderPlaced, queue="mail", tries=2, backoff=30)(Flaky)
    listen(OrderPlaced, queue=True)(note)

    emit(OrderPlaced(7))
    assert live.drain() == 2
    live.travel(30)
    assert live.drain() == 1

    assert heard.count(OrderPlaced(7)) == 1
    assert [one for one in heard if one != OrderPlaced(7)] == [
        ("try", 1),
        ("try", 2),
        ("failed", 7, "no mail server"),
    ]
    [failed] = live.failed()
    assert failed.job == f"{__name__}.Flaky"


async def test_row_50_a_pattern_is_heard_in_a_worker(live: LiveQueue) -> None:
    listen_to("worker.order.*", queue="stats", delay=5)(note)

    await aemit(OrderPlaced(7))
    assert await live.adrain() == 0
    live.travel(5)
    assert await live.adrain() == 1

    assert heard == [OrderPlaced(7)]


def test_row_50_a_fact_can_be_emitted_by_hand(live: LiveQueue) -> None:
    """So that a test need not start a gateway to see what a listener does."""
    listen(MemberAdded)(note)
    fact = MemberAdded(id="0" * 32, app_id="test", channel="presence-a", time_ms=1, user_id="7")

    emit(fact)
    live.drain()

    assert heard == [fact]
