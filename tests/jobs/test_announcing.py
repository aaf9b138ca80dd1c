"""Row 47: the lifecycle events reach their listeners, and cost nothing without any."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.jobs import lifecycle
from broadcaster.jobs.announcing import LifecycleListeners, announce, lifecycle_listeners, wanted
from broadcaster.jobs.lifecycle import (
    LIFECYCLE_EVENTS,
    JobAttempted,
    JobPopped,
    JobProcessing,
    LifecycleEvent,
    Looping,
    QueueBusy,
    QueuePaused,
    TakenJob,
    WorkerStopping,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY = QueueBusy(connection_name="redis", queue="mail", size=1_000)
LOOPING = Looping(connection_name="redis", queue="mail,default")


@pytest.fixture
def table() -> LifecycleListeners:
    return LifecycleListeners()


def recording(into: list[Any], answer: object = None) -> Callable[[Any], object]:
    def heard(event: Any) -> object:
        into.append(event)
        return answer

    return heard


LARAVEL = {
    "JobQueueing": "connection_name queue job payload delay",
    "JobQueued": "connection_name queue id job payload delay",
    "WorkerStarting": "connection_name queue worker_options",
    "Looping": "connection_name queue",
    "JobPopping": "connection_name",
    "JobPopped": "connection_name job",
    "JobProcessing": "connection_name job",
    "JobAttempted": "connection_name job exception",
    "JobProcessed": "connection_name job",
    "JobExceptionOccurred": "connection_name job exception",
    "JobReleasedAfterException": "connection_name job backoff",
    "JobRetryRequested": "job",
    "JobTimedOut": "connection_name job",
    "JobFailed": "connection_name job exception",
    "QueueBusy": "connection_name queue size",
    "QueueFailedOver": "connection_name command exception",
    "QueuePaused": "connection_name queue ttl",
    "QueueResumed": "connection_name queue",
    "WorkerStopping": "status worker_options reason",
}


@pytest.mark.parametrize("name", LARAVEL)
def test_row_47_each_of_the_19_has_the_fields_that_laravel_gives_it(name: str) -> None:
    event = getattr(lifecycle, name)

    assert event in LIFECYCLE_EVENTS
    assert set(LARAVEL[name].split()) <= {field.name for field in dataclasses.fields(event)}


@pytest.mark.parametrize("event", LIFECYCLE_EVENTS)
def test_each_is_a_frozen_value_without_a_dict(event: type[LifecycleEvent]) -> None:
    made = object.__new__(event)

    assert not hasattr(made, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(event)[0].name, 1)


def test_every_event_of_the_module_is_in_the_list() -> None:
    found = {
        thing
        for name, thing in vars(lifecycle).items()
        if isinstance(thing, type) and issubclass(thing, LifecycleEvent) and name[0] != "_"
    }

    assert found - {LifecycleEvent} == set(LIFECYCLE_EVENTS)


def test_a_listener_hears_its_event_and_no_other(table: LifecycleListeners) -> None:
    heard: list[Any] = []
    table.add(QueueBusy, recording(heard))

    assert table.wanted(QueueBusy)
    assert not table.wanted(Looping)
    assert table.announce(BUSY)
    assert table.announce(LOOPING)
    assert heard == [BUSY]


def test_who_listens_to_the_base_hears_everything(table: LifecycleListeners) -> None:
    heard: list[Any] = []
    table.add(LifecycleEvent, recording(heard))

    assert all(table.wanted(event) for event in LIFECYCLE_EVENTS)
    table.announce(BUSY)
    table.announce(LOOPING)
    assert heard == [BUSY, LOOPING]


def test_listeners_are_called_in_their_order_until_one_returns_false(
    table: LifecycleListeners,
) -> None:
    heard: list[Any] = []
    table.add(Looping, recording(heard))
    table.add(LifecycleEvent, recording(heard, answer=False))
    table.add(Looping, recording(heard))

    assert table.announce(LOOPING) is False
    assert heard == [LOOPING, LOOPING]


def test_what_counts_as_no_is_false_alone(table: LifecycleListeners) -> None:
    """A listener that returns nothing, 0 or an empty list vetoes nothing."""
    answers: tuple[object, ...] = (None, 0, [], "")
    for answer in answers:
        table.add(Looping, recording([], answer=answer))

    assert table.announce(LOOPING) is True


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), asyncio.CancelledError("mine"), GeneratorExit("mine")],
)
def test_a_listener_that_raises_is_logged_and_the_rest_is_told(
    table: LifecycleListeners, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    heard: list[Any] = []

    def broken(event: QueueBusy) -> None:
        del event
        raise error

    table.add(QueueBusy, broken)
    table.add(QueueBusy, recording(heard))

    with caplog.at_level(logging.ERROR, "broadcaster.events"):
        assert table.announce(BUSY) is True

    assert heard == [BUSY]
    assert [(r.message, r.exc_info is not None) for r in caplog.records] == [
        ("a listener of QueueBusy failed", True)
    ]


def test_a_listener_can_be_taken_away(table: LifecycleListeners) -> None:
    heard: list[Any] = []
    remove = table.add(QueueBusy, recording(heard))

    remove()
    remove()

    assert not table.wanted(QueueBusy)
    table.announce(BUSY)
    assert heard == []


def test_a_reloaded_listener_replaces_what_it_was(table: LifecycleListeners) -> None:
    heard: list[Any] = []
    remove_old = table.add(QueueBusy, recording([]), name="shop.alarm")
    table.add(QueueBusy, recording(heard), name="shop.alarm")

    remove_old()
    table.announce(BUSY)

    assert heard == [BUSY]


def test_nothing_is_built_or_kept_when_nobody_listens(table: LifecycleListeners) -> None:
    """The worker asks on its hottest path: the answer must be a look into a table."""
    table.add(QueuePaused, recording([]))
    gc.collect()
    before = sys.getallocatedblocks()

    for _ in range(10_000):
        table.wanted(JobProcessing)

    assert sys.getallocatedblocks() - before < 100


def test_the_functions_speak_to_the_table_of_the_process() -> None:
    heard: list[Any] = []
    remove = lifecycle_listeners.add(WorkerStopping, recording(heard, answer=False))
    try:
        assert wanted(WorkerStopping)
        assert announce(WorkerStopping(status=0, reason="empty")) is False
    finally:
        remove()

    assert heard == [WorkerStopping(status=0, reason="empty")]


def test_an_attempt_tells_whether_it_was_successful() -> None:
    job = TakenJob(id="0" * 32, name="SendMail", queue="mail", attempts=1)

    failed = JobAttempted(connection_name="redis", job=job, exception=ValueError())
    done = JobAttempted(connection_name="redis", job=job)

    assert (failed.exception_occurred, failed.successful) == (True, False)
    assert (done.exception_occurred, done.successful) == (False, True)
    assert JobPopped(connection_name="redis", job=job).job.attempts == 1
