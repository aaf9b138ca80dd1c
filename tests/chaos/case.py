"""What the rules of the judge look at: a plan, what happened, and what is left. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tests.chaos.fates import Fate, fates
from tests.chaos.history import Event, Run, State, ends_of_workers, runs_of
from tests.chaos.plan import Beat, Plan, Task, batches_of, tasks_of

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
    def repeated(self) -> Counter[str]:
        """How often what was dispatched again, since a call had no answer; keys of the plan."""
        return Counter(event.key for event in self.history if event.what == "uncertain")

    @cached_property
    def uncertain(self) -> set[str]:
        """Keys of the tasks of what was dispatched again."""
        return {
            task.key
            for op in self.plan.ops
            if not isinstance(op, Beat) and op.key in self.repeated
            for task in tasks_of(op)
        }

    @cached_property
    def spare(self) -> int:
        """Jobs that may have been settled in addition: those of what was dispatched twice."""
        sizes = {
            op.key: len(tasks_of(op)) + len(batches_of(op))
            for op in self.plan.ops
            if not isinstance(op, Beat)
        }
        return sum(times * sizes.get(key, 1) for key, times in self.repeated.items())

    @cached_property
    def due(self) -> dict[str, Fate]:
        """What must have become of each task."""
        due: dict[str, Fate] = {}
        for op in self.plan.ops:
            due |= fates(op)
        for key in self.skipped:
            due[key] = "maybe" if key in self.uncertain else "never"
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


def first_place(case: Case, key: str, ending: str) -> int | None:
    """Place of the first start of a task, or of its first end of a kind."""
    runs = case.by_key.get(key, ())
    if not ending:
        return min((run.start for run in runs), default=None)
    return min((run.end for run in runs if run.ending == ending and run.end), default=None)
