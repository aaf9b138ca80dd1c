"""The verbs: queue or publish, now or never, to all or to others."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from broadcaster import context
from broadcaster.errors import (
    DriverError,
    DriverRefused,
    DriverUnavailable,
    InvalidSocketId,
    NotReplicated,
    PayloadTooLarge,
)
from broadcaster.events.broadcast import (
    abroadcast,
    abroadcast_if,
    abroadcast_unless,
    broadcast,
    broadcast_if,
    broadcast_unless,
)
from broadcaster.events.event import ShouldBroadcast, ShouldBroadcastNow, ShouldRescue
from broadcaster.protocol.payload import BROADCAST_JOB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.events.recording import RecordingApplication


@dataclass
class Shipped(ShouldBroadcast):
    order: int = 7
    text: str = ""

    def broadcast_on(self) -> list[str]:
        return ["private-orders.1", "orders"]


@dataclass
class ShippedNow(Shipped, ShouldBroadcastNow):
    pass


@dataclass
class ShippedElsewhere(Shipped):
    def broadcast_queue(self) -> str:
        return "low"

    def broadcast_connections(self) -> Iterable[str | None]:
        return (None, "log")


@dataclass
class Unimportant(Shipped, ShouldRescue):
    pass


@pytest.fixture
def request_from() -> Iterator[str]:
    token = context.socket_id.set("123.456")
    yield "123.456"
    context.socket_id.reset(token)


def test_an_event_waits_in_the_queue_as_finished_text(app: RecordingApplication) -> None:
    broadcast(Shipped())

    (job,), (payload,) = app.jobs, app.payloads()
    assert job.queue == "broadcasts"
    assert job.id == payload.id
    assert re.fullmatch(r"[0-9a-f]{32}", job.id)
    assert payload.job == BROADCAST_JOB
    assert payload.data == {
        "app": "1",
        "channels": ["private-orders.1", "orders"],
        "name": "App\\Events\\Shipped",
        "data": '{"order":7,"text":""}',
        "socket_id": None,
    }
    assert app.published == []


async def test_the_coroutine_does_the_same_without_blocking(app: RecordingApplication) -> None:
    await abroadcast(Shipped())
    await abroadcast(ShippedNow())

    assert app.calls == ["apush", "apublish"]
    assert app.payloads()[0].data["name"] == "App\\Events\\Shipped"


async def test_the_plain_verb_works_in_a_running_loop_too(app: RecordingApplication) -> None:
    broadcast(Shipped())
    broadcast(ShippedNow())

    assert app.calls == ["push", "publish"]


def test_an_event_for_now_is_published_in_the_call(app: RecordingApplication) -> None:
    broadcast(ShippedNow(), socket_id="1.2")

    (publication,) = app.published
    assert publication.connection is None
    assert publication.channels == ("private-orders.1", "orders")
    assert publication.socket_id == "1.2"
    assert app.jobs == []


def test_queue_and_drivers_may_be_chosen_by_the_event(app: RecordingApplication) -> None:
    """Each driver gets a job of its own, so that one that fails is tried again alone."""
    broadcast(ShippedElsewhere())

    assert [job.queue for job in app.jobs] == ["low", "low"]
    assert [payload.data.get("connection") for payload in app.payloads()] == [None, "log"]
    assert len({job.id for job in app.jobs}) == 2


def test_to_others_leaves_out_the_connection_of_the_request(
    app: RecordingApplication, request_from: str
) -> None:
    broadcast(Shipped(), to_others=True)
    broadcast(Shipped())
    broadcast(Shipped(), to_others=True, socket_id="9.9")

    sent = [payload.data["socket_id"] for payload in app.payloads()]
    assert sent == [request_from, None, "9.9"]


def test_a_missing_socket_id_is_explained_once(
    app: RecordingApplication, caplog: pytest.LogCaptureFixture
) -> None:
    """Echo does not add the header to fetch(), so this is the common case, not a rare one."""
    with caplog.at_level(logging.WARNING, "broadcaster.events"):
        broadcast(Shipped(), to_others=True)
        broadcast(Shipped(), to_others=True)

    (record,) = caplog.records
    assert "X-Socket-ID" in record.getMessage()
    assert "socketIdFetch" in record.getMessage()
    assert [payload.data["socket_id"] for payload in app.payloads()] == [None, None]


def test_a_malformed_socket_id_is_refused_before_anything_is_sent(
    app: RecordingApplication,
) -> None:
    with pytest.raises(InvalidSocketId):
        broadcast(Shipped(), socket_id="nonsense")

    assert app.calls == []


async def test_a_condition_decides_whether_to_send(app: RecordingApplication) -> None:
    broadcast_if(1, Shipped())
    broadcast_if(0, Shipped())
    broadcast_unless(0, Shipped())
    broadcast_unless(1, Shipped())
    await abroadcast_if([1], Shipped())
    await abroadcast_if([], Shipped())
    await abroadcast_unless(None, Shipped())
    await abroadcast_unless("x", Shipped())

    assert app.calls == ["push", "push", "apush", "apush"]


async def test_an_event_that_says_no_is_not_sent(app: RecordingApplication) -> None:
    class Quiet(Shipped):
        def broadcast_when(self) -> bool:
            return False

    broadcast(Quiet())
    await abroadcast(Quiet())

    assert app.calls == []


async def test_a_failure_to_send_is_raised(app: RecordingApplication) -> None:
    app.failure = DriverUnavailable("no Redis")

    with pytest.raises(DriverUnavailable):
        broadcast(Shipped())
    with pytest.raises(DriverUnavailable):
        await abroadcast(ShippedNow())


@pytest.mark.parametrize("failure", [DriverUnavailable("no Redis"), DriverRefused("no Redis")])
async def test_an_event_that_should_rescue_logs_its_failure(
    app: RecordingApplication, caplog: pytest.LogCaptureFixture, failure: DriverError
) -> None:
    app.failure = failure

    broadcast(Unimportant())
    await abroadcast(Unimportant())

    assert len(caplog.records) == 2
    assert "Unimportant was not broadcast: no Redis" in caplog.records[0].getMessage()
    assert caplog.records[0].exc_info is not None


def test_an_event_that_should_rescue_is_not_called_unsent_for_want_of_replicas(
    app: RecordingApplication, caplog: pytest.LogCaptureFixture
) -> None:
    app.failure = NotReplicated("it is queued", replicas=0)

    broadcast(Unimportant())

    [message] = caplog.messages
    assert message.endswith("Unimportant may be lost: it is queued")


def test_a_rescued_event_still_reports_its_own_mistakes(app: RecordingApplication) -> None:
    with pytest.raises(PayloadTooLarge):
        broadcast(Unimportant(text="x" * 20_000))
