"""Rules of the judge about what jobs have to do with each other: chains, batches, locks, order."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.chaos.case import Case, first_place
from tests.chaos.history import Finding, Run
from tests.chaos.plan import Batch, Beat, Chain, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = 2 / 3
"""The part of a lease after which a lock may be free: a run is noted some time after it took it."""


def chains_keep_their_order(case: Case) -> Iterator[Finding]:
    for op in case.plan.ops:
        if isinstance(op, Chain):
            for link, after in pairwise(op.links):
                done = first_place(case, link.key, "done")
                begun = first_place(case, after.key, "")
                if begun is not None and (done is None or begun < done):
                    yield Finding("chain", after.key, f"it began before {link.key} was done")


def batches_count(case: Case) -> Iterator[Finding]:
    for op in case.plan.ops:
        if not isinstance(op, Batch):
            continue
        state = case.state.batches.get(op.key)
        if state is None:
            yield Finding("batch", op.key, "it is gone")
            continue
        failed = sum(case.failed.get(task.key) is not None for task in op.jobs)
        if not state.finished:
            yield Finding("batch", op.key, f"it is not finished: {state}")
        if state.pending != failed:
            yield Finding("batch", op.key, f"{state.pending} pending, {failed} jobs failed")
        if (state.total, state.failed) != (op.total, failed):
            yield Finding("batch", op.key, f"{op.total} jobs, {failed} failed, but {state}")
        cancelled = op.manner in ("strict", "cancelled")
        if state.cancelled != cancelled:
            yield Finding("batch", op.key, f"cancelled is {state.cancelled}")


def unique_jobs_are_alone(case: Case) -> Iterator[Finding]:
    """Nothing of an earlier owner begins once a later one has begun."""
    latest: dict[str, Run] = {}
    known: defaultdict[str, set[str]] = defaultdict(set)
    for run in case.runs:
        task = case.tasks.get(run.key)
        if task is None or task.kind != "unique":
            continue
        before = latest.get(run.group)
        if before is not None and before.key != run.key:
            if run.worker in case.frozen:
                continue
            if run.key in known[run.group]:
                yield Finding("unique", run.key, f"it ran after {before.key} had begun")
            elif (done := first_place(case, before.key, "done")) is None or done > run.start:
                yield Finding("unique", run.key, f"it ran beside {before.key}")
        known[run.group].add(run.key)
        latest[run.group] = run


def skipped_jobs_had_an_owner(case: Case) -> Iterator[Finding]:
    queued = {event.job_id: event for event in case.history if event.what == "queued"}
    unsure = {case.tasks[key].group for key in case.uncertain}
    for event in case.history:
        if event.what == "skipped" and event.group not in unsure:
            owner = queued.get(event.job_id)
            if owner is None or owner.group != event.group:
                yield Finding("unique", event.key, f"skipped for {event.job_id}, which has no lock")


def locked_jobs_do_not_overlap(case: Case) -> Iterator[Finding]:
    open_runs: dict[str, Run] = {}
    for run in case.runs:
        task = case.tasks.get(run.key)
        if task is None or task.kind != "overlap":
            continue
        other = open_runs.get(run.group)
        if other is not None and other.job_id != run.job_id and _beside(case, other, run):
            text = f"it ran beside {other.key}, {run.started_at - other.started_at:.3f} s later"
            yield Finding("overlap", run.key, text)
        open_runs[run.group] = run


def _beside(case: Case, run: Run, other: Run) -> bool:
    """Whether `other` began before `run` had ended, and before its lock may have lapsed."""
    over = run.end is not None and run.end < other.start
    return not over and other.started_at - run.started_at < case.lease * PATIENCE


def lanes_keep_their_order(case: Case) -> Iterator[Finding]:
    """A job begins when all before it were done; one that was behind may begin once more."""
    lines: defaultdict[str, list[Task]] = defaultdict(list)
    for op in case.plan.ops:
        if isinstance(op, Task) and op.kind == "ordered":
            lines[op.group].append(op)
    for line in lines.values():
        for before, after in pairwise(line):
            done, begun = first_place(case, before.key, "done"), first_place(case, after.key, "")
            if begun is not None and (done is None or begun < done):
                yield Finding("order", after.key, f"it began before {before.key} was done")


def channels_keep_their_order(case: Case) -> Iterator[Finding]:
    if case.state.published is None:
        return
    counts = Counter(op.channel for op in case.plan.ops if isinstance(op, Beat))
    for channel, count in counts.items():
        came = list(case.state.published.get(channel, ()))
        if came != list(range(count)):
            text = f"{count} broadcasts came as {_shown(came)}"
            yield Finding("broadcasts", channel, text)


def _shown(numbers: Sequence[int]) -> str:
    for place, number in enumerate(numbers):
        if number != place:
            return f"{len(numbers)}, number {number} at place {place}"
    return f"{len(numbers)}, in order"


RULES = (
    chains_keep_their_order,
    batches_count,
    unique_jobs_are_alone,
    skipped_jobs_had_an_owner,
    locked_jobs_do_not_overlap,
    lanes_keep_their_order,
    channels_keep_their_order,
)
