"""Row 50: an event reaches those who listen, in their order, from every kind of code."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.context import socket_id as socket_id_of_request
from broadcaster.errors import DriverUnavailable, InvalidJob
from broadcaster.events.channels import PrivateChannel
from broadcaster.events.dispatcher import ShouldEmitAfterCommit, aemit, emit
from broadcaster.events.event import ShouldBroadcast, ShouldBroadcastNow
from broadcaster.events.listening import listen, listen_to
from broadcaster.jobs.after_commit import after_commit
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import QueueBusy
from broadcaster.jobs.registry import registry
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.events.recording import RecordingApplication

pytestmark = pytest.mark.usefixtures("app", "own_listeners")


@dataclass
class OrderPlaced:
    order_id: int


@dataclass
class OrderShipped(ShouldBroadcast):
    order_id: int

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel("orders")


@dataclass
class OrderLost(ShouldBroadcastNow):
    order_id: int

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel("orders")


class Log(list[Any]):
    """What was heard, by whom."""

    def listener(self, who: str, answer: object = None) -> Callable[[Any], object]:
        def heard(event: Any) -> object:
            self.append((who, event))
            return answer

        return heard

    def alistener(self, who: str, answer: object = None) -> Callable[[Any], Any]:
        async def heard(event: Any) -> object:
            await asyncio.sleep(0)
            self.append((who, event))
            return answer

        return heard


@pytest.fixture
def log() -> Log:
    return Log()


EVENT = OrderPlaced(order_id=7)


def test_listeners_are_called_in_the_order_in_which_they_were_added(log: Log) -> None:
    """Whatever they were added under: a class, a base, or a pattern."""
    listen(OrderPlaced)(log.listener("class"))
    listen_to("order.*")(log.listener("pattern"))
    listen(object)(log.listener("base"))
    listen(OrderPlaced)(log.listener("class again"))

    emit(EVENT)

    assert log == [(who, EVENT) for who in ("class", "pattern", "base", "class again")]


def test_nobody_needs_to_listen(app: RecordingApplication) -> None:
    assert emit(EVENT) == []
    assert app.calls == []


def test_other_events_are_not_heard(log: Log) -> None:
    listen(OrderShipped)(log.listener("another class"))
    listen_to("invoice.*")(log.listener("another name"))

    emit(EVENT)

    assert log == []


def test_what_listeners_answer_is_returned_without_the_silent_ones(log: Log) -> None:
    listen(OrderPlaced)(log.listener("one", answer=1))
    listen(OrderPlaced)(log.listener("silent"))
    listen(OrderPlaced)(log.listener("zero", answer=0))

    assert emit(EVENT) == [1, 0]


def test_a_listener_that_returns_false_keeps_the_event_from_those_after_it(
    log: Log, app: RecordingApplication
) -> None:
    listen(OrderPlaced)(log.listener("first", answer="yes"))
    listen(OrderPlaced)(log.listener("second", answer=False))
    listen(OrderPlaced)(log.listener("third"))

    @listen(OrderPlaced, queue=True)
    def queued(event: OrderPlaced) -> None: ...

    assert emit(EVENT) == ["yes"]
    assert [who for who, _ in log] == ["first", "second"]
    assert app.jobs == []


def test_an_error_of_a_listener_comes_out_and_ends_the_emission(log: Log) -> None:
    @listen(OrderPlaced)
    def broken(event: OrderPlaced) -> None:
        raise LookupError(event.order_id)

    listen(OrderPlaced)(log.listener("late"))

    with pytest.raises(LookupError, match="7"):
        emit(EVENT)
    assert log == []


def test_what_was_to_be_queued_before_an_error_is_queued(app: RecordingApplication) -> None:
    """As if each had been queued when its turn came, but in one round trip."""

    @listen(OrderPlaced, queue="mail")
    def before(event: OrderPlaced) -> None: ...

    @listen(OrderPlaced)
    def broken(event: OrderPlaced) -> None:
        raise LookupError

    @listen(OrderPlaced, queue="mail")
    def after(event: OrderPlaced) -> None: ...

    with pytest.raises(LookupError):
        emit(EVENT)
    assert [payload.job.rpartition(".")[2] for payload in app.payloads()] == ["before"]


# Sync code, sync code inside a running loop, async code: row 50 in all three.


def test_sync_code_runs_async_listeners_to_their_end(log: Log) -> None:
    listen(OrderPlaced)(log.listener("sync", answer=1))
    listen(OrderPlaced)(log.alistener("async", answer=2))

    assert emit(EVENT) == [1, 2]
    assert [who for who, _ in log] == ["sync", "async"]


async def test_sync_code_inside_a_running_loop_reaches_sync_and_queued_listeners(
    log: Log, app: RecordingApplication
) -> None:
    listen(OrderPlaced)(log.listener("sync", answer=1))

    @listen(OrderPlaced, queue=True)
    async def queued(event: OrderPlaced) -> None: ...

    assert emit(EVENT) == [1]
    assert len(app.jobs) == 1


async def test_sync_code_inside_a_running_loop_is_told_of_async_listeners_before_any_is_called(
    log: Log, app: RecordingApplication
) -> None:
    listen(OrderShipped)(log.listener("sync"))
    listen(OrderShipped)(log.alistener("async"))

    with pytest.raises(RuntimeError, match=r"is async, and an event loop is running.*aemit"):
        emit(OrderShipped(7))

    assert log == []
    assert app.calls == []


async def test_async_code_awaits_async_listeners_and_calls_sync_ones_in_a_thread(log: Log) -> None:
    threads: list[int] = []

    @listen(OrderPlaced)
    def sync(event: OrderPlaced) -> int:
        threads.append(threading.get_ident())
        return event.order_id

    listen(OrderPlaced)(log.alistener("async", answer=2))

    assert await aemit(EVENT) == [7, 2]
    assert threads != [threading.get_ident()]
    assert log == [("async", EVENT)]


async def test_async_code_can_be_stopped_and_broken_too(log: Log) -> None:
    listen(OrderPlaced)(log.listener("one", answer=False))
    listen(OrderPlaced)(log.alistener("two"))

    assert await aemit(EVENT) == []
    assert [who for who, _ in log] == ["one"]

    @listen(OrderShipped)
    async def broken(event: OrderShipped) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await aemit(OrderShipped(7))


async def test_a_listener_in_a_thread_sees_the_context_of_the_request() -> None:
    seen: list[str | None] = []

    @listen(OrderPlaced)
    def sync(event: OrderPlaced) -> None:
        seen.append(socket_id_of_request.get())

    token = socket_id_of_request.set("1.1")
    try:
        await aemit(EVENT)
    finally:
        socket_id_of_request.reset(token)

    assert seen == ["1.1"]


# Row 52: events that are broadcast.


def test_row_52_a_broadcast_is_queued_before_the_listeners_are_called(
    app: RecordingApplication,
) -> None:
    @listen(OrderShipped)
    def heard(event: OrderShipped) -> None:
        app.note("listener")

    emit(OrderShipped(7), socket_id="1.1")

    assert app.calls == ["push", "listener"]
    [payload] = app.payloads()
    assert payload.data["channels"] == ["private-orders"]
    assert payload.data["socket_id"] == "1.1"


def test_an_event_that_is_broadcast_now_is_published_before_the_listeners_are_called(
    app: RecordingApplication,
) -> None:
    @listen(OrderLost)
    def heard(event: OrderLost) -> None:
        app.note("listener")

    emit(OrderLost(7))

    assert app.calls == ["publish", "listener"]


async def test_async_code_broadcasts_with_the_coroutine(app: RecordingApplication) -> None:
    await aemit(OrderShipped(7))

    assert app.calls == ["apush"]


def test_a_broadcast_that_fails_reaches_no_listener(app: RecordingApplication, log: Log) -> None:
    listen(OrderShipped)(log.listener("one"))
    app.failure = DriverUnavailable("away")

    with pytest.raises(DriverUnavailable):
        emit(OrderShipped(7))
    assert log == []


# Row 51: queued listeners.


def test_row_51_queued_listeners_become_jobs_with_their_options(app: RecordingApplication) -> None:
    @listen(OrderPlaced, queue="mail", tries=3, backoff=[1, 10], timeout=20, delay=5)
    def confirm(event: OrderPlaced) -> None: ...

    @listen(OrderPlaced, queue=True, name="shop.count")
    async def count(event: OrderPlaced) -> None: ...

    emit(EVENT)

    first, second = app.jobs
    assert (first.queue, first.delay) == ("mail", 5.0)
    assert (second.queue, second.delay) == ("default", 0.0)
    payload = decode_payload(first.body)
    assert payload.data == {"event": "order.placed", "data": {"order_id": 7}}
    assert (payload.tries, payload.backoff, payload.timeout) == (3, (1, 10), 20)
    assert decode_payload(second.body).job == "shop.count"
    assert first.id != second.id


def test_the_job_of_a_queued_listener_calls_it_with_an_equal_event(
    app: RecordingApplication, log: Log
) -> None:
    listen(OrderPlaced, queue=True)(log.listener("queued"))

    emit(EVENT)
    assert log == []
    run_all(app)

    assert log == [("queued", EVENT)]


class Reminder:
    log: Log

    async def handle(self, event: OrderPlaced) -> None:
        self.log.append(event)

    def should_queue(self, event: OrderPlaced) -> bool:
        return event.order_id > 1

    def via_queue(self, event: OrderPlaced) -> str:
        return f"mail-{event.order_id % 2}"

    def with_delay(self, event: OrderPlaced) -> float:
        return event.order_id * 60.0


def test_row_51_a_listener_class_decides_whether_where_and_when(
    app: RecordingApplication, log: Log
) -> None:
    Reminder.log = log
    listen(OrderPlaced, queue="mail")(Reminder)

    emit(OrderPlaced(1))
    emit(OrderPlaced(2))
    emit(OrderPlaced(3))

    assert [(job.queue, job.delay) for job in app.jobs] == [("mail-0", 120), ("mail-1", 180)]
    run_all(app)
    assert log == [OrderPlaced(2), OrderPlaced(3)]


class NotJson:
    def __init__(self) -> None:
        self.anything = object()


def test_an_event_that_cannot_travel_is_refused_at_the_call(app: RecordingApplication) -> None:
    listen(NotJson, queue=True)(Log().listener("queued"))

    with pytest.raises(InvalidJob, match="make it a dataclass"):
        emit(NotJson())
    assert app.jobs == []


def test_a_field_of_another_type_is_refused_at_the_call(app: RecordingApplication) -> None:
    listen(OrderPlaced, queue=True)(Log().listener("queued"))
    wrong: Any = "seven"

    with pytest.raises(InvalidJob, match="order_id"):
        emit(OrderPlaced(order_id=wrong))
    assert app.jobs == []


# Commits.


class Paid(ShouldEmitAfterCommit):
    pass


def test_an_event_waits_for_the_commit_if_it_is_told_to(
    log: Log, app: RecordingApplication
) -> None:
    listen(OrderShipped)(log.listener("one", answer=1))

    with after_commit():
        assert emit(OrderShipped(7), after_commit=True) == []
        assert (log, app.jobs) == ([], [])

    assert [who for who, _ in log] == ["one"]
    assert len(app.jobs) == 1


async def test_an_event_class_can_always_wait_for_the_commit(log: Log) -> None:
    listen(Paid)(log.alistener("one"))

    async with after_commit():
        await aemit(Paid())
        assert log == []

    assert [who for who, _ in log] == ["one"]


def test_a_rollback_drops_the_event(log: Log) -> None:
    listen(OrderPlaced)(log.listener("one"))

    def transaction() -> None:
        with after_commit():
            emit(EVENT, after_commit=True)
            emit_what_cannot_travel()

    with pytest.raises(InvalidJob):
        transaction()

    assert log == []


def test_without_a_transaction_there_is_nothing_to_wait_for(log: Log) -> None:
    listen(Paid)(log.listener("one", answer=1))

    assert emit(Paid()) == [1]


def emit_what_cannot_travel() -> None:
    listen(NotJson, queue=True)(Log().listener("queued"))
    emit(NotJson())


# What is no event.


class Mail(Job, name=f"{__name__}.Mail"):
    user_id: int


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (OrderPlaced, r"not its class: emit\(OrderPlaced\(\.\.\.\)\)"),
        ("order.placed", "an object of a class of yours, not 'order.placed'"),
        (None, "an object of a class of yours, not None"),
        ({"order_id": 7}, "an object of a class of yours, not {'order_id': 7}"),
        (Mail(user_id=7), r"dispatch\(\) it"),
    ],
)
async def test_what_is_no_event_is_refused(thing: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        emit(thing)
    with pytest.raises(TypeError, match=message):
        await aemit(thing)


def test_a_lifecycle_event_that_is_emitted_by_hand_reaches_its_listeners() -> None:
    heard: list[int] = []

    @listen(QueueBusy)
    def alarm(event: QueueBusy) -> None:
        heard.append(event.size)

    emit(QueueBusy(connection_name="redis", queue="mail", size=7))

    assert heard == [7]


def run_all(app: RecordingApplication) -> None:
    for payload in app.payloads():
        registry.find(payload.job).decode_fields(payload.data).run_now()
