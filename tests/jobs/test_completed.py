"""Row 48: a listener writes down which jobs were done, off the worker's loop."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import DriverUnavailable
from broadcaster.jobs import completed
from broadcaster.jobs.announcing import announce, lifecycle_listeners
from broadcaster.jobs.completed import BUFFER, CompletedJobLog
from broadcaster.jobs.lifecycle import JobProcessed, TakenJob, WorkerStopping
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.completed import CompletedJob


class Store:
    def __init__(self) -> None:
        self.jobs: list[CompletedJob] = []
        self.limits: set[tuple[int, float]] = set()
        self.threads: set[int] = set()
        self.away = False
        self.calls = 0

    def add(self, jobs: Sequence[CompletedJob], *, most: int, seconds: float) -> None:
        self.calls += 1
        self.threads.add(threading.get_ident())
        if self.away:
            raise DriverUnavailable("away")
        self.jobs += jobs
        self.limits.add((most, seconds))

    def find(self, *, limit: int = 100) -> Sequence[CompletedJob]:
        return self.jobs[: -limit - 1 : -1]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(completed, "WRITE_SECONDS", 0.01)
    monkeypatch.setattr(lifecycle_listeners, "_added", {})
    monkeypatch.setattr(lifecycle_listeners, "_by_class", {})
    return Store()


def processed(number: int = 1) -> JobProcessed:
    job = TakenJob(id=f"{number:032x}", name="SendMail", queue="mail", attempts=2)
    return JobProcessed(connection_name="default", job=job, seconds=0.5)


async def test_done_jobs_are_written_down_by_another_thread(store: Store) -> None:
    log = CompletedJobLog(max=50, ttl=60, store=store).listen()

    for number in range(3):
        announce(processed(number))
    await eventually(lambda: len(store.jobs) == 3)
    log.stop()

    assert store.limits == {(50, 60.0)}
    assert threading.get_ident() not in store.threads
    assert [int(job.id, 16) for job in log.latest(2)] == [2, 1]
    assert (store.jobs[0].job, store.jobs[0].attempts, store.jobs[0].seconds) == (
        "SendMail",
        2,
        0.5,
    )


def test_a_stopping_worker_writes_what_is_held(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completed, "WRITE_SECONDS", 3_600.0)
    CompletedJobLog(store=store).listen()

    announce(processed())
    announce(WorkerStopping())

    assert len(store.jobs) == 1


async def test_while_the_store_is_away_jobs_are_held_and_it_is_said_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.away = True
    log = CompletedJobLog(store=store).listen()

    with caplog.at_level(logging.WARNING, "broadcaster.worker"):
        announce(processed(1))
        await eventually(lambda: store.calls >= 3)
        announce(processed(2))
        store.away = False
        await eventually(lambda: len(store.jobs) == 2)
    log.stop()

    assert [int(job.id, 16) for job in store.jobs] == [1, 2]
    assert [record.message for record in caplog.records] == [
        "done jobs could not be written down: away"
    ]


def test_what_is_held_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest give way: a store that is away must not cost the worker its memory."""
    monkeypatch.setattr(completed, "WRITE_SECONDS", 3_600.0)
    log = CompletedJobLog(store=store)

    for number in range(BUFFER + 7):
        log.note(processed(number))
    log.stop()

    assert [int(job.id, 16) for job in store.jobs] == list(range(7, BUFFER + 7))


def test_a_second_log_replaces_the_first(store: Store) -> None:
    CompletedJobLog(store=store).listen()
    log = CompletedJobLog(store=store).listen()

    announce(processed())
    log.stop()

    assert len(store.jobs) == 1


class SlowStore(Store):
    """Takes nothing before `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.within = self.most_within = 0

    def add(self, jobs: Sequence[CompletedJob], *, most: int, seconds: float) -> None:
        self.within += 1
        self.most_within = max(self.most_within, self.within)
        self.go.wait(30)
        super().add(jobs, most=most, seconds=seconds)
        self.within -= 1


class Turns:
    """A lock that knows how often it was asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.asked += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.usefixtures("store")
async def test_a_thread_that_was_stopped_and_the_next_one_do_not_write_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the pages of both change places, and what cannot be written as well."""
    monkeypatch.setattr(completed, "STOP_SECONDS", 0.01)
    slow, turns = SlowStore(), Turns()
    log = CompletedJobLog(store=slow)
    log._writing = turns  # type: ignore[assignment]  # that much of a lock is used
    log.note(processed(1))
    await eventually(lambda: slow.within == 1)

    log.stop()
    log.note(processed(2))
    await eventually(lambda: turns.asked == 2)
    slow.go.set()
    await eventually(lambda: len(slow.jobs) == 2)
    log.stop()

    assert slow.most_within == 1
    assert [int(job.id, 16) for job in slow.jobs] == [1, 2]


@pytest.mark.parametrize("bounds", [{"max": 0}, {"ttl": 0.0}, {"ttl": -1.0}])
def test_bounds_that_keep_nothing_are_refused(bounds: dict[str, float]) -> None:
    given = {word: int(value) if word == "max" else value for word, value in bounds.items()}

    with pytest.raises(ValueError, match=r"max|ttl"):
        CompletedJobLog(**given)  # type: ignore[arg-type]
