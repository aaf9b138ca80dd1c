"""Rules of the judge about processes: each job in the right one, and none without its worker."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.chaos.history import ENDINGS, Finding
from tests.chaos.plan import tasks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.chaos.case import Case
    from tests.chaos.history import Run
    from tests.chaos.plan import Plan

LATE = 1.0
"""Seconds for which what a process wrote before it was killed may be on its way."""

_Process = tuple[str, int]
"""A worker, and the number of the process in which a job of it runs."""


def jobs_run_in_their_process(case: Case) -> Iterator[Finding]:
    """Sync jobs with a timeout run in processes of their own, others in that of the worker."""
    contained = {key for key, task in case.tasks.items() if task.kind == "contained"}
    mine = {(run.worker, run.pid): run for run in case.runs if run.key not in contained}
    for run in case.runs:
        if run.key in contained and (other := mine.get((run.worker, run.pid))) is not None:
            yield Finding("process", run.key, f"it ran in process {run.pid}, as {other.key} did")


def processes_run_one_job_at_a_time(case: Case) -> Iterator[Finding]:
    for process, runs in _by_process(case.plan, case.runs).items():
        for before, run in pairwise(runs):
            if before.end is None or before.end > run.start:
                text = f"it began in process {process[1]} of {process[0]} amid {before.key}"
                yield Finding("process", run.key, text)


def nothing_outlives_its_worker(case: Case) -> Iterator[Finding]:
    for orphan in case.state.orphans:
        yield Finding("orphan", "process", orphan)
    dead: dict[str, float] = {}
    for event in case.history:
        if event.what == "dead":
            dead.setdefault(event.worker, event.at)
        elif event.what in ENDINGS and event.at > dead.get(event.worker, event.at) + LATE:
            late = event.at - dead[event.worker]
            text = f"{event.what}, {late:.1f} s after its worker {event.worker} was dead"
            yield Finding("orphan", event.key, text)


def in_used_processes(plan: Plan, runs: Sequence[Run]) -> int:
    """Return how many runs were in a process that had run a job before."""
    return sum(len(mine) - 1 for mine in _by_process(plan, runs).values())


def _by_process(plan: Plan, runs: Sequence[Run]) -> dict[_Process, list[Run]]:
    """Return the runs in processes of their own, by process, by their starts."""
    keys = {task.key for op in plan.ops for task in tasks_of(op) if task.kind == "contained"}
    found: defaultdict[_Process, list[Run]] = defaultdict(list)
    for run in runs:
        if run.key in keys:
            found[run.worker, run.pid].append(run)
    return dict(found)


RULES = (
    jobs_run_in_their_process,
    processes_run_one_job_at_a_time,
    nothing_outlives_its_worker,
)
