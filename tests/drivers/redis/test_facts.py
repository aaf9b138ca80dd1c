"""Facts that cannot become jobs must not hold up those behind them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from broadcaster.drivers.redis.facts import MAX_FACT_BYTES, QueuedFacts
from broadcaster.protocol.fact_jobs import Delivery, encode_delivery, encode_event
from broadcaster.protocol.facts import FACT_JOB, Fact
from broadcaster.protocol.payload import Payload, encode_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import NewJob, Queue

LONGEST_URL = "https://example.com/".ljust(2_000, "x")


class FakeQueue:
    def __init__(self) -> None:
        self.pushes: list[list[NewJob]] = []

    async def apush(self, jobs: Sequence[NewJob]) -> None:
        self.pushes.append(list(jobs))


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def facts(queue: FakeQueue) -> QueuedFacts:
    return QueuedFacts(cast("Queue", queue))


def fact(data: str, number: int = 0) -> Fact:
    return Fact(
        id=f"{number:032x}",
        app_id="1",
        name="client_event",
        channel="private-a",
        time_ms=1,
        event="client-x",
        data=data,
    )


def size(data: str) -> int:
    one = fact(data)
    payload = Payload(id=one.id, job=FACT_JOB, data=msgspec.to_builtins(one))
    return len(encode_payload(payload, max_bytes=2 * MAX_FACT_BYTES))


async def test_a_fact_too_long_for_the_queue_is_left_out_and_logged(
    facts: QueuedFacts, queue: FakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "broadcaster.facts"):
        await facts.put([fact("a", 1), fact("secret" * 400_000, 2), fact("b", 3)])

    assert [job.id for jobs in queue.pushes for job in jobs] == [f"{1:032x}", f"{3:032x}"]
    assert "client_event of private-a is told to nobody" in caplog.text
    assert "secret" not in caplog.text


async def test_what_is_all_too_long_is_no_push(facts: QueuedFacts, queue: FakeQueue) -> None:
    await facts.put([fact("x" * MAX_FACT_BYTES)])
    await facts.put([])

    assert queue.pushes == []


async def test_the_longest_fact_fits_into_every_job_that_is_made_of_it(
    facts: QueuedFacts, queue: FakeQueue
) -> None:
    longest = fact("x" * (MAX_FACT_BYTES - size("")))
    await facts.put([longest])

    assert len(queue.pushes[0][0].body) == MAX_FACT_BYTES
    encode_delivery(Delivery(url=LONGEST_URL, fact=longest))
    encode_event(longest)
