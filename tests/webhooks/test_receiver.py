"""The pace of one receiver, with a clock of the test's own and requests that are told to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.protocol.webhooks import MAX_BODY_BYTES, MAX_EVENTS
from broadcaster.webhooks.receiver import (
    LONGEST_REST,
    MAX_HELD,
    PATIENCE,
    Accepted,
    Outcome,
    Postponed,
    Receiver,
    Refused,
    Room,
)
from tests.polling import eventually
from tests.webhooks.webhook_world import fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.protocol.facts import Fact

NO = Refused("status_500", "the answer was 500, not 2xx")


class Line:
    """Requests that are under way until the test ends them."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.results: asyncio.Queue[Accepted | Refused] = asyncio.Queue()
        self.now = 100.0
        self.room = Room(1_000)

    async def send(self, facts: Sequence[Fact]) -> Accepted | Refused:
        self.sent.append([one.channel for one in facts])
        return await self.results.get()

    def receiver(self, *, at_once: int = 2, gather: float = 0.0) -> Receiver:
        return Receiver(self.room, at_once=at_once, gather=gather, now=lambda: self.now)

    async def fail(self, receiver: Receiver, times: int) -> None:
        for _ in range(times):
            self.results.put_nowait(NO)
            assert await receiver.deliver(fact("a"), self.send, batch=False) == NO


@pytest.fixture
def line() -> Line:
    return Line()


def deliver(
    line: Line, receiver: Receiver, *channels: str, batch: bool = False
) -> list[asyncio.Task[Outcome]]:
    return [
        asyncio.create_task(receiver.deliver(fact(name), line.send, batch=batch))
        for name in channels
    ]


async def test_so_many_requests_are_under_way_and_no_more(line: Line) -> None:
    receiver = line.receiver(at_once=2)
    tasks = deliver(line, receiver, "a", "b", "c")
    await eventually(lambda: len(line.sent) == 2)

    line.results.put_nowait(Accepted())
    await eventually(lambda: len(line.sent) == 3)
    for _ in range(2):
        line.results.put_nowait(Accepted())

    assert await asyncio.gather(*tasks) == [Accepted()] * 3
    assert receiver.idle


async def test_what_does_not_fit_goes_back_to_the_queue(line: Line) -> None:
    receiver = line.receiver()
    tasks = deliver(line, receiver, *(f"c{number}" for number in range(MAX_HELD)))
    await eventually(lambda: len(line.sent) == 2)

    assert await receiver.deliver(fact("over"), line.send, batch=False) == Postponed(1.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert receiver.idle


async def test_slow_receivers_leave_room_for_one_that_is_not(line: Line) -> None:
    """However many they are: otherwise one app could hold up the webhooks of all."""
    tasks: list[asyncio.Task[Outcome]] = []
    for receiver in [line.receiver() for _ in range(20)]:
        tasks += deliver(line, receiver, *(f"c{number}" for number in range(100)))
    await eventually(lambda: sum(not task.done() for task in tasks) == 1_000 - line.room.free)
    fast, told = line.receiver(), Line()
    told.results.put_nowait(Accepted())

    assert line.room.free > 0
    assert await fast.deliver(fact("other"), told.send, batch=False) == Accepted()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert line.room.free == 1_000


async def test_who_fails_in_a_row_is_left_alone_then_tried_once(line: Line) -> None:
    receiver = line.receiver()
    await line.fail(receiver, PATIENCE)

    line.now += 0.25
    assert await receiver.deliver(fact(), line.send, batch=False) == Postponed(0.75, 0.25)
    line.now += 0.75
    (trying,) = deliver(line, receiver, "trial")
    await eventually(lambda: line.sent[-1] == ["trial"])
    assert await receiver.deliver(fact(), line.send, batch=False) == Postponed(1.0)
    line.results.put_nowait(Accepted())
    assert await trying == Accepted()

    line.results.put_nowait(Accepted())
    assert await receiver.deliver(fact(), line.send, batch=False) == Accepted()
    assert receiver.failures == 0


async def test_the_rest_grows_up_to_a_bound(line: Line) -> None:
    receiver = line.receiver()
    await line.fail(receiver, PATIENCE)
    rests: list[float] = []
    for _ in range(7):
        outcome = await receiver.deliver(fact(), line.send, batch=False)
        assert isinstance(outcome, Postponed)
        rests.append(outcome.delay)
        line.now += outcome.delay
        await line.fail(receiver, 1)

    assert rests == [1, 2, 4, 8, LONGEST_REST, LONGEST_REST, LONGEST_REST]


async def test_those_who_wait_are_postponed_when_it_goes_down(line: Line) -> None:
    receiver = line.receiver(at_once=1)
    await line.fail(receiver, PATIENCE - 1)
    tasks = deliver(line, receiver, "a", "b", "c")
    line.results.put_nowait(NO)

    assert await asyncio.gather(*tasks) == [NO, Postponed(1.0, 0.0), Postponed(1.0, 0.0)]


async def test_one_success_forgets_the_failures(line: Line) -> None:
    receiver = line.receiver()
    for _ in range(3):
        await line.fail(receiver, PATIENCE - 1)
        line.results.put_nowait(Accepted())
        assert await receiver.deliver(fact(), line.send, batch=False) == Accepted()


async def test_what_comes_while_it_is_busy_goes_together(line: Line) -> None:
    receiver = line.receiver(at_once=1)
    first = deliver(line, receiver, "a", batch=True)
    await eventually(lambda: line.sent == [["a"]])
    others = deliver(line, receiver, "b", "c", "d", batch=True)
    await asyncio.sleep(0)

    line.results.put_nowait(Accepted())
    line.results.put_nowait(NO)

    assert await asyncio.gather(*first, *others) == [Accepted(), NO, NO, NO]
    assert line.sent == [["a"], ["b", "c", "d"]]
    assert receiver.failures == 1


async def test_a_batch_is_bounded_in_events_and_bytes(line: Line) -> None:
    receiver = line.receiver(at_once=10, gather=60.0)
    tasks = deliver(line, receiver, *(f"c{n}" for n in range(MAX_EVENTS)), batch=True)
    await eventually(lambda: [len(sent) for sent in line.sent] == [MAX_EVENTS])

    long = "x" * (MAX_BODY_BYTES // 2)
    for _ in range(2):
        told = fact(name="client_event", data=long, event="client-x", socket_id="1.2")
        tasks.append(asyncio.create_task(receiver.deliver(told, line.send, batch=True)))
        await asyncio.sleep(0)
    await eventually(lambda: len(line.sent) == 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_those_behind_a_cancelled_request_come_again(line: Line) -> None:
    receiver = line.receiver(at_once=1)
    leader, follower = deliver(line, receiver, "a", "b", batch=True)
    await eventually(lambda: line.sent == [["a", "b"]])

    leader.cancel()

    assert await follower == Postponed(0.0)
    assert receiver.idle
