"""What a seed makes of itself: always the same, and something of everything."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from tests.chaos.plan import (
    ADDED,
    Batch,
    Beat,
    Chain,
    Task,
    batches_of,
    breaks,
    deed,
    tasks_of,
)
from tests.chaos.planning import plan, strikes
from tests.chaos.test_chaos import JOBS, SEED


def test_the_same_seed_makes_the_same_plan_and_another_another() -> None:
    assert plan(7, 500) == plan(7, 500)
    assert plan(7, 500) != plan(8, 500)


@pytest.mark.parametrize("jobs", [100, 2_000])
def test_it_is_as_large_as_was_asked(jobs: int) -> None:
    assert jobs <= plan(3, jobs).size < jobs + 100


def test_every_key_is_there_once() -> None:
    keys = Counter(task.key for op in plan(5, 3_000).ops for task in tasks_of(op))

    assert [key for key, count in keys.items() if count > 1] == []


def test_the_default_size_has_something_of_everything() -> None:
    made = plan(1, 20_000)
    tasks = [task for op in made.ops for task in tasks_of(op)]

    assert {task.kind for task in tasks} == {
        *("async", "sync", "contained", "overlap", "unique", "until", "ordered"),
        *("adder", "canceller", "poison", "stranger"),
    }
    assert {task.end for task in tasks} == {
        *("done", "exception", "job_failed", "max_attempts", "timeout", "crashed", "unknown_job"),
    }
    assert {op.manner for op in made.ops if isinstance(op, Batch)} == {
        *("good", "lenient", "strict", "cancelled", "growing"),
    }
    assert {breaks(op) for op in made.ops if isinstance(op, Chain)} == {True, False}
    assert {(task.kind, task.end) for task in tasks} >= {
        ("contained", "done"),
        ("contained", "timeout"),
        ("contained", "exception"),
    }
    assert any(task.delay for task in tasks)
    assert any(task.put_offs for task in tasks)
    assert any(task.mendable for task in tasks)
    assert any(task.litters for task in tasks)


def test_batches_are_links_of_chains_and_chains_are_in_batches_and_each_of_them_fails() -> None:
    made = plan(1, 20_000)
    nested = [one for op in made.ops if isinstance(op, Chain) for one in batches_of(op)]
    inner = [
        job
        for op in made.ops
        for one in batches_of(op)
        for job in one.jobs
        if isinstance(job, Chain)
    ]

    assert {(one.manner, one.mendable) for one in nested} == {
        *(("good", False), ("growing", False), ("cancelled", False)),
        *((manner, healed) for manner in ("lenient", "strict") for healed in (True, False)),
    }
    assert {(breaks(one), any(task.mendable for task in tasks_of(one))) for one in inner} == {
        *((False, False), (True, False), (True, True)),
    }
    assert any(isinstance(job, Chain) for one in nested for job in one.jobs)


def test_the_small_run_has_something_of_everything_that_belongs_together() -> None:
    ops = plan(SEED, JOBS).ops
    nested = [one for op in ops if isinstance(op, Chain) for one in batches_of(op)]
    inner = [
        job for op in ops for one in batches_of(op) for job in one.jobs if isinstance(job, Chain)
    ]
    contained = [task for op in ops for task in tasks_of(op) if task.kind == "contained"]

    assert {(True, True), (True, False)} <= {(breaks(one), one.mendable) for one in nested}
    assert {(breaks(one), any(task.mendable for task in one.links)) for one in inner} >= {
        *((False, False), (True, False), (True, True)),
    }
    assert {"done", "timeout"} < {task.end for task in contained}
    assert any(task.litters for task in contained)


def test_broadcasts_are_numbered_by_channel() -> None:
    numbers: dict[str, list[int]] = {}
    for op in plan(2, 2_000).ops:
        if isinstance(op, Beat):
            numbers.setdefault(op.channel, []).append(op.number)

    assert len(numbers) > 10
    assert all(found == list(range(len(found))) for found in numbers.values())


def test_a_growing_batch_counts_what_is_added() -> None:
    growing = next(
        op for op in plan(1, 5_000).ops if isinstance(op, Batch) and op.manner == "growing"
    )

    assert growing.total == len(growing.members) + ADDED
    assert f"{growing.key}+{ADDED - 1}" in {task.key for task in tasks_of(growing)}


@pytest.mark.parametrize(
    ("task", "deeds"),
    [
        (Task(key="a"), ["done"]),
        (Task(key="a", raises=1, releases=1, tries=3), ["raise", "release", "done"]),
        (Task(key="a", end="exception", raises=2, tries=2), ["raise", "raise"]),
        (Task(key="a", end="max_attempts", releases=1, tries=1), ["release"]),
        (Task(key="a", end="job_failed", raises=1, tries=2), ["raise", "fail"]),
        (Task(key="a", end="timeout"), ["hang"]),
        (Task(key="a", end="crashed"), ["die"]),
    ],
    ids=lambda value: value.end if isinstance(value, Task) else "",
)
def test_a_task_says_what_each_try_does(task: Task, deeds: list[str]) -> None:
    tries = range(1, len(deeds) + 1)

    assert [deed(task, attempts=at, put_offs=0, mended=False) for at in tries] == deeds


def test_it_puts_itself_off_before_anything_else() -> None:
    task = Task(key="a", put_offs=1, raises=1, tries=2)

    assert deed(task, attempts=1, put_offs=0, mended=False) == "put_off"
    assert deed(task, attempts=1, put_offs=1, mended=False) == "raise"


def test_what_can_be_mended_is_done_afterwards() -> None:
    broken = Task(key="a", end="exception", raises=1)
    mendable = Task(key="a", end="exception", raises=1, mendable=True)

    assert deed(broken, attempts=1, put_offs=0, mended=True) == "raise"
    assert deed(mendable, attempts=1, put_offs=0, mended=False) == "raise"
    assert deed(mendable, attempts=1, put_offs=0, mended=True) == "done"


def test_the_same_seed_strikes_in_the_same_way() -> None:
    first = list(islice(strikes(4, shortest=0.5, longest=1.0, gentle=0.5, cold=0.5), 200))
    again = list(islice(strikes(4, shortest=0.5, longest=1.0, gentle=0.5, cold=0.5), 200))

    assert first == again
    assert all(0.5 <= each.pause <= 1.0 and 0 <= each.place < 1 for each in first)
    counts = Counter(each.how for each in first)
    assert counts["stop"] > counts["kill"] > 20
    assert counts["freeze"] > 20
