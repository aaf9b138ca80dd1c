from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from broadcaster.contracts.limits import LockOwner
from broadcaster.contracts.queue import Hold
from broadcaster.drivers.null import NullLocks
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.worker.heartbeat import STUCK_SECONDS, Heartbeat, HeldJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.contracts.queue import Queue


class RecordingQueue:
    """Answers renewals as told."""

    def __init__(self) -> None:
        self.renewed: list[tuple[str, dict[str, int]]] = []
        self.answers: dict[str, Hold] = {}
        self.away = False
        self.refuses = ""
        self.threads: set[int] = set()

    def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
        assert lease == 0.15
        self.threads.add(threading.get_ident())
        if self.away:
            raise DriverUnavailable("away")
        if queue == self.refuses:
            raise DriverRefused("WRONGTYPE")
        self.renewed.append((queue, dict(holds)))
        return {job_id: self.answers.get(job_id, Hold.KEPT) for job_id in holds}


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


@pytest.fixture
def heartbeat(queue: RecordingQueue) -> Heartbeat:
    return Heartbeat(cast("Queue", queue), 0.15)


def held(job_id: str, queue: str = "q", token: int = 1) -> HeldJob:
    return HeldJob(queue, job_id, token)


def test_all_jobs_of_a_queue_are_renewed_in_one_call(
    heartbeat: Heartbeat, queue: RecordingQueue
) -> None:
    for job in (held("a"), held("b", token=2), held("c", "other")):
        heartbeat.add(job)

    assert heartbeat.beat(0.0)

    assert queue.renewed == [("q", {"a": 1, "b": 2}), ("other", {"c": 1})]


def test_a_queue_that_refuses_keeps_no_other_from_being_renewed(
    heartbeat: Heartbeat, queue: RecordingQueue
) -> None:
    for job in (held("a", "bad"), held("b", "good")):
        heartbeat.add(job)
    queue.refuses = "bad"

    assert not heartbeat.beat(0.0)

    assert queue.renewed == [("good", {"b": 1})]


def test_a_dropped_job_is_renewed_no_longer(heartbeat: Heartbeat, queue: RecordingQueue) -> None:
    job, newer = held("a"), held("a", token=2)
    heartbeat.add(job)
    heartbeat.add(newer)
    heartbeat.drop(job)
    heartbeat.beat(0.0)
    heartbeat.drop(newer)
    heartbeat.beat(0.0)

    assert queue.renewed == [("q", {"a": 2})]


def test_it_stops_at_the_deadline(heartbeat: Heartbeat, queue: RecordingQueue) -> None:
    job = held("a")
    job.deadline = 10.0
    heartbeat.add(job)

    heartbeat.beat(9.9)
    heartbeat.beat(10.0)

    assert len(queue.renewed) == 1


def test_a_lost_job_is_told_once(heartbeat: Heartbeat, queue: RecordingQueue) -> None:
    told: list[str] = []
    job = held("a")
    job.on_lost = lambda: told.append(job.id)
    heartbeat.add(job)
    queue.answers["a"] = Hold.LOST

    heartbeat.beat(0.0)
    heartbeat.beat(0.0)

    assert told == ["a"]
    assert job.lost


def test_a_job_that_is_gone_may_finish_quietly(heartbeat: Heartbeat, queue: RecordingQueue) -> None:
    job = held("a")
    heartbeat.add(job)
    queue.answers["a"] = Hold.GONE

    heartbeat.beat(0.0)
    heartbeat.beat(0.0)

    assert not job.lost
    assert len(queue.renewed) == 1


def test_an_outage_is_logged_once(
    heartbeat: Heartbeat, queue: RecordingQueue, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat.add(held("a"))
    queue.away = True

    assert not heartbeat.beat(0.0)
    assert not heartbeat.beat(0.0)

    assert caplog.text.count("cannot be renewed") == 1


def test_it_beats_in_a_thread_of_its_own_and_survives_trouble(
    heartbeat: Heartbeat, queue: RecordingQueue
) -> None:
    heartbeat.add(held("a"))
    queue.away = True
    heartbeat.start()
    try:
        _until(lambda: queue.threads)
        queue.away = False
        _until(lambda: len(queue.renewed) > 1)
    finally:
        heartbeat.stop()

    assert queue.threads.isdisjoint({threading.get_ident()})


class RecordingLocks(NullLocks):
    def __init__(self) -> None:
        self.renewed: list[tuple[dict[str, LockOwner], float]] = []

    def renew(self, held: Mapping[str, LockOwner], lease: float) -> frozenset[str]:
        self.renewed.append((dict(held), lease))
        return frozenset()


def test_row_29_locks_are_renewed_with_the_leases_of_their_jobs(queue: RecordingQueue) -> None:
    """So they die with the worker, and not with the patience of whoever took them."""
    locks = RecordingLocks()
    heartbeat = Heartbeat(cast("Queue", queue), 0.15, locks=locks)
    kept, lost = held("a"), held("b")
    for job in (kept, lost, held("c")):
        heartbeat.add(job)
    kept.locks["overlap"] = LockOwner("a", 1)
    lost.locks["other"] = LockOwner("b", 1)
    queue.answers["b"] = Hold.LOST

    heartbeat.beat(0.0)
    kept.locks.clear()
    heartbeat.beat(0.0)

    assert locks.renewed == [({"overlap": LockOwner("a", 1)}, 0.15)]


def _until(condition: object) -> None:
    deadline = time.monotonic() + 10
    while callable(condition) and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("error", [DriverUnavailable("away"), DriverRefused("WRONGTYPE")])
def test_locks_that_cannot_be_renewed_keep_no_lease_from_it(
    queue: RecordingQueue, error: Exception
) -> None:
    """They may be on a server of their own, or be overwritten by somebody."""

    class Away(NullLocks):
        def renew(self, held: Mapping[str, LockOwner], lease: float) -> frozenset[str]:
            raise error

    told: list[str] = []
    heartbeat = Heartbeat(cast("Queue", queue), 0.15, locks=Away())
    kept, lost = held("a"), held("b")
    for job in (kept, lost, held("c", "other")):
        job.locks["overlap"] = LockOwner(job.id, 1)
        job.on_lost = partial(told.append, job.id)
        heartbeat.add(job)
    queue.answers["b"] = Hold.LOST

    assert not heartbeat.beat(0.0)

    assert [name for name, _ in queue.renewed] == ["q", "other"]
    assert (kept.until, told) == (0.15, ["b"])


def test_a_job_that_nobody_stops_at_its_deadline_is_reported_once(queue: RecordingQueue) -> None:
    """The event loop does not run: the process is to end."""
    told: list[str] = []
    heartbeat = Heartbeat(cast("Queue", queue), 0.15, lambda job: told.append(job.id))
    job = held("a")
    job.deadline = 10.0
    heartbeat.add(job)

    heartbeat.beat(10.0 + STUCK_SECONDS)
    assert told == []
    heartbeat.beat(10.1 + STUCK_SECONDS)
    heartbeat.beat(10.2 + STUCK_SECONDS)

    assert told == ["a"]
