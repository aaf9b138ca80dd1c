"""The job that carries a fact becomes the jobs of its listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from broadcaster.contracts.connections import QueueConnection
from broadcaster.contracts.queue import Done, NewJob, Pushed, Release, Reserved, Retry
from broadcaster.errors import DriverRefused, DriverUnavailable, InvalidJob
from broadcaster.protocol.fact_jobs import EVENT_JOB, encode_event
from broadcaster.protocol.payload import Payload, decode_payload
from broadcaster.worker.facts import FactSpreader
from tests.webhooks.webhook_world import fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Queue


class FakeQueue:
    """Takes jobs, or fails as told."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        self.pushed: list[NewJob] = []

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        if self.trouble is not None:
            raise self.trouble
        self.pushed += jobs
        return Pushed([job.id for job in jobs])


def spreader(queue: FakeQueue) -> FactSpreader:
    jobs = [NewJob(id=each, queue="default", body=b"{}") for each in ("a", "b")]
    return FactSpreader(connection(queue), lambda _: jobs)


def connection(queue: FakeQueue) -> QueueConnection:
    return QueueConnection(name="main", queue=cast("Queue", queue))


RESERVED = Reserved("1", b"", 7, 0, alone=False)


async def test_every_listener_gets_its_job() -> None:
    queue = FakeQueue()

    settled = await spreader(queue).run("default", RESERVED, decode_payload(encode_event(fact())))

    assert settled == Done("1", 7)
    assert len(queue.pushed) == 2


@pytest.mark.parametrize(
    ("trouble", "settled"),
    [
        (DriverUnavailable("gone"), Release("1", 7, 1.0)),
        (DriverRefused("out of memory"), Retry("1", 7, 5.0)),
    ],
)
async def test_what_cannot_be_pushed_comes_again(trouble: Exception, settled: object) -> None:
    payload = decode_payload(encode_event(fact()))

    assert await spreader(FakeQueue(trouble)).run("default", RESERVED, payload) == settled


async def test_what_carries_no_fact_is_refused() -> None:
    with pytest.raises(InvalidJob, match="carries no fact"):
        await spreader(FakeQueue()).run("default", RESERVED, Payload(id="a" * 32, job=EVENT_JOB))


async def test_an_event_that_nobody_listens_to_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deaf = FactSpreader(connection(FakeQueue()), lambda _: [])

    for name in ("member_added", "member_added", "channel_occupied"):
        payload = decode_payload(encode_event(fact(name=name)))
        assert await deaf.run("default", RESERVED, payload) == Done("1", 7)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    assert [text.split()[0] for text in said] == ["member_added", "channel_occupied"]
    assert "`imports`" in said[0]
    assert "`broadcaster work`" in said[0]
