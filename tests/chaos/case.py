"""What the rules of the judge look at: a plan, what happened, and what is left. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tests.chaos.history import Event, Run, State, ends_of_workers, runs_of
from tests.chaos.plan import Batch, Beat, Chain, Plan, Task, chain_breaks, tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Case:
    """What the rules look at."""

    plan: Plan
    history: Sequence[Event]
    state: State
    lease: float
    max_crashes: int

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """All tasks by key."""
        return {task.key: task for op in self.plan.ops for task in tasks_of(op)}

    @cached_property
    def runs(self) -> list[Run]:
        """All runs, by their starts."""
        return runs_of(self.history)

    @cached_property
    def by_key(self) -> dict[str, list[Run]]:
        """The runs of each task."""
        found: defaultdict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            found[run.key].append(run)
        return dict(found)

    @cached_property
    def ends(self) -> dict[str, int]:
        """Where each worker was hit or asked to stop."""
        return ends_of_workers(self.history)

    @cached_property
    def failed(self) -> dict[str, str]:
        """Reason of each failed job that was not put back, by key."""
        return {one.key: one.reason for one in self.state.failed if not one.retried}

    @cached_property
    def skipped(self) -> set[str]:
        """Keys of unique jobs that were not queued."""
        return {event.key for event in self.history if event.what == "skipped"}

    @cached_property
    def uncertain(self) -> set[str]:
        """Keys of what was dispatched more than once, since the first call had no answer."""
        repeated = {event.key for event in self.history if event.what == "uncertain"}
        return {
            task.key
            for op in self.plan.ops
            if not isinstance(op, Beat) and op.key in repeated
            for task in tasks_of(op)
        }

    @cached_property
    def due(self) -> dict[str, str]:
        """What must have become of each task: the `End`, "never", or "maybe"."""
        due: dict[str, str] = {}
        for op in self.plan.ops:
            match op:
                case Task():
                    due[op.key] = op.end
                    if op.key in self.skipped:
                        due[op.key] = "maybe" if op.key in self.uncertain else "never"
                case Chain():
                    due |= {link.key: link.end for link in op.links}
                    due[op.catch.key] = "done" if chain_breaks(op) else "never"
                case Batch():
                    due |= _due_of_batch(op)
                case Beat():
                    pass
        return due

    def done(self, key: str) -> bool:
        """Whether some run of it was done."""
        return any(run.ending == "done" for run in self.by_key.get(key, ()))

    def may_run_again(self, run: Run, again: Run) -> bool:
        """
        Whether `again` is no surprise although it does not follow from how `run` ended.

        Tokens are the microseconds of their reservations, so they say whether a lease was over.
        """
        hit = self.ends.get(run.worker)
        lapsed = again.token - run.token >= self.lease * 1e6
        return lapsed or (hit is not None and hit < again.start)

    @cached_property
    def frozen(self) -> set[str]:
        """Workers that were frozen, and may come to themselves amid the start of a job."""
        return {event.worker for event in self.history if event.what == "frozen"}


def _due_of_batch(batch: Batch) -> dict[str, str]:
    whole = batch.manner in ("good", "lenient", "growing")
    mended = {task.key for task in batch.jobs if task.mendable}
    due = {task.key: "maybe" for task in tasks_of(batch)}
    if whole:
        due = {task.key: "done" if task.key in mended else task.end for task in tasks_of(batch)}
    broke = batch.manner in ("lenient", "strict")
    then = batch.manner in ("good", "growing") or batch.mendable
    due |= {task.key: "done" if then else "never" for task in batch.then}
    due |= {task.key: "done" if broke else "never" for task in batch.catch}
    due |= {task.key: "done" for task in batch.last}
    return due


def first_place(case: Case, key: str, ending: str) -> int | None:
    """Place of the first start of a task, or of its first end of a kind."""
    runs = case.by_key.get(key, ())
    if not ending:
        return min((run.start for run in runs), default=None)
    return min((run.end for run in runs if run.ending == ending and run.end), default=None)
