from __future__ import annotations

import pytest

from broadcaster.contracts.fleet import CurrentJob, WorkerRecord
from broadcaster.contracts.queue import QueueSizes
from broadcaster.contracts.queue_admin import Pause, QueueStats, Rate, Runtime
from broadcaster.supervisor.backlog import (
    Backlog,
    Bounds,
    Reading,
    as_json,
    backlogs,
    expected_wait,
    mean_runtime,
    problems,
)

QUIET = QueueStats([], [])


def busy(arrived: float, done: float, *runtimes: Runtime) -> QueueStats:
    return QueueStats([Rate(60, arrived, done, 0.0), Rate(300, arrived, done, 0.0)], runtimes)


def test_a_job_waits_for_what_is_before_it_divided_by_the_slots() -> None:
    assert expected_wait(100, 0.5, 10, []) == 5.0
    assert expected_wait(0, 0.5, 10, []) == 0.0


def test_without_runtimes_what_ended_lately_tells_how_long_a_job_waits() -> None:
    quiet, later = Rate(60, 0, 0, 0), Rate(300, 0, 20, 10)

    assert expected_wait(60, None, 4, [quiet, later]) == 120.0
    assert expected_wait(60, None, 4, [quiet]) is None


def test_without_a_worker_nobody_knows_how_long_a_job_waits() -> None:
    assert expected_wait(5, 0.5, 0, [Rate(60, 1, 1, 1)]) is None


def test_each_class_counts_by_its_number_for_the_typical_runtime() -> None:
    assert mean_runtime([Runtime("a", 9, 1.0, 2.0), Runtime("b", 1, 11.0, 12.0)]) == 2.0
    assert mean_runtime([]) is None


def test_lanes_are_shown_as_their_queue() -> None:
    readings = [
        Reading("mail#0", QueueSizes(ready=2, oldest=4.0), busy(6, 3, Runtime("m", 1, 1.0, 2.0))),
        Reading("mail#7", QueueSizes(ready=4, held=1, oldest=9.0), busy(4, 3)),
        Reading("other", QueueSizes(failed=3), QUIET),
    ]
    workers = [WorkerRecord(id="w", queues=("mail",), slots=50)]

    mail, other = backlogs(readings, workers)

    assert (mail.queue, mail.ready, mail.held, mail.oldest) == ("mail", 6, 1, 9.0)
    assert (mail.slots, mail.workers, mail.wait) == (2, 1, 3.0)
    assert mail.rates[0] == Rate(60, 10, 6, 0)
    assert (other.queue, other.failed, other.workers, other.wait) == ("other", 3, 0, 0.0)


def test_what_runs_is_told_by_the_workers_of_the_queue_without_what_they_reserved_ahead() -> None:
    jobs = tuple(CurrentJob(str(n), "m", name, 1.0) for n, name in enumerate(["q#1", "q", "p"]))
    workers = [
        WorkerRecord(id="a", queues=("q",), running=60, held=16),
        WorkerRecord(id="b", queues=("p", "q"), running=3, current=jobs),
    ]

    assert backlogs([Reading("q", QueueSizes(held=78), QUIET)], workers)[0].running == 62


def test_a_worker_that_is_stopping_takes_no_jobs() -> None:
    readings = [Reading("q", QueueSizes(ready=10), busy(0, 0, Runtime("m", 1, 1.0, 1.0)))]
    workers = [
        WorkerRecord(id="a", queues=("q",), slots=5),
        WorkerRecord(id="b", queues=("q",), slots=5, state="stopping"),
    ]

    assert backlogs(readings, workers)[0].wait == 2.0


@pytest.mark.parametrize(
    ("queue", "reasons"),
    [
        (Backlog(queue="q", ready=999), []),
        (Backlog(queue="q", ready=500, delayed=400, held=100), ["1000 jobs"]),
        (Backlog(queue="q", ready=1, wait=60.0, oldest=60.0), []),
        (Backlog(queue="q", ready=1, wait=61.0), ["a new job would wait 61 s"]),
        (Backlog(queue="q", ready=1, oldest=61.0), ["the oldest job has waited 61 s"]),
    ],
)
def test_row_44_a_queue_is_busy_by_its_size_or_by_its_wait(
    queue: Backlog, reasons: list[str]
) -> None:
    found = problems(queue, Bounds(1_000, 60.0))

    assert len(found) == len(reasons)
    assert all(text.startswith(reason) for text, reason in zip(found, reasons, strict=True))
    assert problems(queue, Bounds()) == []


def test_programs_get_who_paused_a_queue() -> None:
    shown = as_json(Backlog(queue="q", pause=Pause(1.0, None, "ada@box")))

    assert shown["paused"] == {"since": 1.0, "until": None, "by": "ada@box"}
