"""
The judge: a plan, what happened, and what is left become findings. Pure.

At least once is the promise for runs, exactly once for what follows from them. So a job may run
again if its worker was hit after the run began, or if its lease was over; everything else that
happens twice is a finding, and so is whatever did not happen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.chaos.history import Event, Finding, Run, State, ends_of_workers, runs_of
from tests.chaos.plan import Batch, Beat, Chain, Plan, Task, chain_breaks, tasks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PATIENCE = 2 / 3
"""The part of a lease after which a living worker may have lost it: renewals come each third."""
_GOES_ON = frozenset({"raise", "release"})


def check(
    plan: Plan, history: Sequence[Event], state: State, *, lease: float, max_crashes: int = 3
) -> list[Finding]:
    """
    Return every promise that was broken, the most telling ones first.

    Args:
        lease: of the workers, in seconds.
        max_crashes: times a job may take its worker down while it runs alone.
    """
    case = Case(plan, history, state, lease, max_crashes)
    return [finding for rule in _RULES for finding in rule(case)]


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
        """Whether `again` is no surprise although it does not follow from how `run` ended."""
        hit = self.ends.get(run.worker)
        return (hit is not None and hit < again.start) or self.lapsed(run, again.started_at)

    def lapsed(self, run: Run, moment: float) -> bool:
        """Whether the lease of `run` may have been over at `moment`."""
        return moment - run.started_at >= self.lease * PATIENCE


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


# Rules


def _came_to_an_end(case: Case) -> Iterator[Finding]:
    if not case.state.waited:
        text = f"not over in time; {len(case.state.bodies)} jobs are still in queues"
        yield Finding("not over", case.state.bodies[0] if case.state.bodies else "-", text)


def _nothing_is_lost(case: Case) -> Iterator[Finding]:
    for key, due in case.due.items():
        reason = case.failed.get(key)
        if reason == "crashed" and case.tasks[key].kind == "contained":
            continue  # a process of its own takes long to start, and may be hit each time
        if due == "never":
            if key in case.by_key or reason:
                yield Finding("stray job", key, "it was not to be queued, and was")
        elif due == "done":
            yield from _was_done(case, key, reason)
        elif due != "maybe":
            yield from _has_failed(key, due, reason)
    for key in case.failed.keys() - case.due.keys():
        yield Finding("stray job", key, "nobody has planned it, and it failed")


def _was_done(case: Case, key: str, reason: str | None) -> Iterator[Finding]:
    if reason:
        yield Finding("failed job", key, f"it was to be done, and failed as {reason}")
    elif not case.done(key):
        yield Finding("lost job", key, "it was never done")


def _has_failed(key: str, due: str, reason: str | None) -> Iterator[Finding]:
    if reason is None:
        yield Finding("lost job", key, f"it was to fail as {due}, and is not listed as failed")
    elif reason != due:
        yield Finding("failed job", key, f"it was to fail as {due}, and failed as {reason}")


def _nothing_is_doubled(case: Case) -> Iterator[Finding]:
    """One id for each task, and one failure at most."""
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for run in case.runs:
        ids[run.key].add(run.job_id)
    for one in case.state.failed:
        if not one.retried:
            ids[one.key].add(one.job_id)
    for key, found in ids.items():
        if key not in case.tasks:
            yield Finding("stray job", key, "nobody has planned it")
        elif len(found) > 1 and key not in case.uncertain:
            yield Finding("doubled job", key, f"it was queued as {', '.join(sorted(found))}")


def _runs_follow_from_each_other(case: Case) -> Iterator[Finding]:
    for key, runs in case.by_key.items():
        if key in case.uncertain:
            continue
        task = case.tasks.get(key)
        mends = task is not None and task.mendable
        for before, run in pairwise(runs):
            if run.token <= before.token:
                yield Finding("token", key, f"{run.token} came after {before.token}")
            elif not (_follows(before, run) or case.may_run_again(before, run)) and not mends:
                text = f"it ran again (try {run.attempt} after try {before.attempt}"
                text += f", which ended as {before.ending or 'nothing'}) although {before.worker}"
                yield Finding("doubled run", key, f"{text} lived and had its lease")
        if task is not None and not mends and runs[-1].attempt > task.tries:
            text = f"try {runs[-1].attempt} of {task.tries}"
            yield Finding("too many tries", key, text)


def _follows(before: Run, run: Run) -> bool:
    if before.ending in _GOES_ON:
        return run.attempt == before.attempt + 1
    return before.ending in ("put_off", "cut") and run.attempt == before.attempt


def _poison_crashed(case: Case) -> Iterator[Finding]:
    for key, reason in case.failed.items():
        if reason == "crashed" and case.tasks[key].kind != "contained":
            starts = case.by_key.get(key, [])
            died = sum(case.ends.get(run.worker) is not None for run in starts)
            if died < case.max_crashes:
                yield Finding("crashed", key, f"given up after {died} of its workers had died")


def _chains_keep_their_order(case: Case) -> Iterator[Finding]:
    for op in case.plan.ops:
        if isinstance(op, Chain):
            for link, after in pairwise(op.links):
                done = _first(case, link.key, "done")
                begun = _first(case, after.key, "")
                if begun is not None and (done is None or begun < done):
                    yield Finding("chain", after.key, f"it began before {link.key} was done")


def _first(case: Case, key: str, ending: str) -> int | None:
    """Place of the first start of a task, or of its first end of a kind."""
    runs = case.by_key.get(key, ())
    if not ending:
        return min((run.start for run in runs), default=None)
    return min((run.end for run in runs if run.ending == ending and run.end), default=None)


def _batches_count(case: Case) -> Iterator[Finding]:
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


def _unique_jobs_are_alone(case: Case) -> Iterator[Finding]:
    """Nothing of an earlier owner begins once a later one has begun."""
    latest: dict[str, Run] = {}
    known: defaultdict[str, set[str]] = defaultdict(set)
    for run in case.runs:
        task = case.tasks.get(run.key)
        if task is None or task.kind != "unique":
            continue
        before = latest.get(run.group)
        if before is not None and before.key != run.key:
            if run.key in known[run.group]:
                yield Finding("unique", run.key, f"it ran after {before.key} had begun")
            elif (done := _first(case, before.key, "done")) is None or done > run.start:
                yield Finding("unique", run.key, f"it ran beside {before.key}")
        known[run.group].add(run.key)
        latest[run.group] = run


def _skipped_jobs_had_an_owner(case: Case) -> Iterator[Finding]:
    queued = {event.job_id: event for event in case.history if event.what == "queued"}
    unsure = {case.tasks[key].group for key in case.uncertain}
    for event in case.history:
        if event.what == "skipped" and event.group not in unsure:
            owner = queued.get(event.job_id)
            if owner is None or owner.group != event.group:
                yield Finding("unique", event.key, f"skipped for {event.job_id}, which has no lock")


def _locked_jobs_do_not_overlap(case: Case) -> Iterator[Finding]:
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
    return not over and not case.lapsed(run, other.started_at)


def _lanes_keep_their_order(case: Case) -> Iterator[Finding]:
    """A job begins when all before it were done; one that was behind may begin once more."""
    lines: defaultdict[str, list[Task]] = defaultdict(list)
    for op in case.plan.ops:
        if isinstance(op, Task) and op.kind == "ordered":
            lines[op.group].append(op)
    for line in lines.values():
        for before, after in pairwise(line):
            done, begun = _first(case, before.key, "done"), _first(case, after.key, "")
            if begun is not None and (done is None or begun < done):
                yield Finding("order", after.key, f"it began before {before.key} was done")


def _channels_keep_their_order(case: Case) -> Iterator[Finding]:
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


def _settlements_count(case: Case) -> Iterator[Finding]:
    """Each job was settled once, by the queue's own count."""
    if case.state.settled is None:
        return
    done = sum(isinstance(op, Beat) for op in case.plan.ops)
    done += sum(case.done(key) and key not in case.failed for key in case.due)
    done += sum(_skipped_in(case, op) for op in case.plan.ops if isinstance(op, Batch))
    failed = len(case.state.failed)
    spare = sum(event.what == "uncertain" for event in case.history)
    if not _between(case.state.settled, (done, failed), spare):
        text = f"{done} jobs were done and {failed} failed; the queues have settled "
        text += f"{case.state.settled[0]} and {case.state.settled[1]}"
        yield Finding("settlements", "all", text)


def _between(settled: tuple[int, int], least: tuple[int, int], spare: int) -> bool:
    return all(low <= number <= low + spare for number, low in zip(settled, least, strict=True))


def _skipped_in(case: Case, batch: Batch) -> int:
    """Jobs of a batch that were done without running."""
    return sum(
        not case.done(task.key) and task.key not in case.failed
        for task in batch.jobs
        if case.due[task.key] == "maybe"
    )


def _nothing_is_left(case: Case) -> Iterator[Finding]:
    from tests.chaos.leftovers import judge

    for key in case.state.keys:
        if text := judge(key):
            yield Finding("left over", key.name, text)


def _workers_behave(case: Case) -> Iterator[Finding]:
    for worker, code in case.state.exits.items():
        if code != 0:
            yield Finding("exit", worker, f"asked to stop, it ended with code {code}")
    for line in case.state.complaints:
        yield Finding("log", "worker", line)


_RULES = (
    _came_to_an_end,
    _nothing_is_lost,
    _nothing_is_doubled,
    _runs_follow_from_each_other,
    _poison_crashed,
    _chains_keep_their_order,
    _batches_count,
    _unique_jobs_are_alone,
    _skipped_jobs_had_an_owner,
    _locked_jobs_do_not_overlap,
    _lanes_keep_their_order,
    _channels_keep_their_order,
    _settlements_count,
    _nothing_is_left,
    _workers_behave,
)


def summary(plan: Plan, history: Sequence[Event]) -> Mapping[str, int]:
    """Return the numbers of a run."""
    runs = runs_of(history)
    first = {run.job_id for run in runs}
    return {
        "jobs": plan.size,
        "jobs that ran": len(first),
        "runs": len(runs),
        "runs cut off": sum(not run.ending for run in runs),
        "kills": sum(event.what == "hit" for event in history),
        "stops": sum(event.what == "asked" for event in history),
    }
