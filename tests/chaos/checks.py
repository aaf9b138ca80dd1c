"""
The judge: a plan, what happened, and what is left become findings. Pure.

At least once is the promise for runs, exactly once for what follows from them. So a job may run
again if its worker was hit after the run began, or if its lease was over; everything else that
happens twice is a finding, and so is whatever did not happen.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.chaos import group_checks, process_checks
from tests.chaos.case import Case
from tests.chaos.fates import begun
from tests.chaos.history import Event, Finding, Run, State, runs_of
from tests.chaos.leftovers import judge
from tests.chaos.plan import Batch, Beat, Chain, Plan, Task, batches_of, links_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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


def _tokens_rise(case: Case) -> Iterator[Finding]:
    """Who was frozen may find out late that a job is not its own any more."""
    for key, runs in case.by_key.items():
        for before, run in pairwise(runs):
            if run.token <= before.token and run.worker not in case.frozen:
                yield Finding("token", key, f"{run.token} came after {before.token}")


def _runs_follow_from_each_other(case: Case) -> Iterator[Finding]:
    for key, task in case.tasks.items():
        if task.mendable or key in case.uncertain:
            continue
        runs = sorted(case.by_key.get(key, ()), key=lambda run: run.token)
        for before, run in pairwise(runs):
            if not _follows(before, run) and not case.may_run_again(before, run):
                text = f"it ran again (try {run.attempt} after try {before.attempt}"
                text += f", which ended as {before.ending or 'nothing'}) although {before.worker}"
                yield Finding("doubled run", key, f"{text} lived and had its lease")
        if runs and runs[-1].attempt > task.tries:
            yield Finding("too many tries", key, f"try {runs[-1].attempt} of {task.tries}")


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


def _settlements_count(case: Case) -> Iterator[Finding]:
    """Each job was settled once, by the queue's own count."""
    if case.state.settled is None:
        return
    done = sum(isinstance(op, Beat) for op in case.plan.ops)
    done += sum(case.done(key) and key not in case.failed for key in case.due)
    done += sum(_skipped_in(case, one) for op in case.plan.ops for one in batches_of(op))
    done += sum(len(begun(op)) for op in case.plan.ops if isinstance(op, Chain))
    failed = len(case.state.failed)
    joint = sum(_joint_in(case, one) for op in case.plan.ops for one in batches_of(op))
    if not _between(case.state.settled, (done - joint, failed), case.spare + joint):
        text = f"{done} jobs were done and {failed} failed; the queues have settled "
        text += f"{case.state.settled[0]} and {case.state.settled[1]}"
        if again := [key for key in case.by_key if _ran_after_it_was_done(case, key)]:
            text += f"; done by workers that lived, and run again: {', '.join(sorted(again)[:20])}"
        yield Finding("settlements", "all", text)


def _ran_after_it_was_done(case: Case, key: str) -> bool:
    runs = sorted(case.by_key[key], key=lambda run: run.token)
    return any(
        run.ending == "done" and case.ends.get(run.worker, again.start) >= again.start
        for run, again in pairwise(runs)
    )


def _between(settled: tuple[int, int], least: tuple[int, int], spare: int) -> bool:
    return all(low <= number <= low + spare for number, low in zip(settled, least, strict=True))


def _skipped_in(case: Case, batch: Batch) -> int:
    """Jobs of a batch that were done without running; of a chain only the first is queued."""
    return sum(any(_is_skipped(case, task) for task in links_of(one)) for one in batch.jobs)


def _joint_in(case: Case, batch: Batch) -> int:
    """
    Chains of a batch of which one link may have been skipped together with those behind it.

    Its run was done, and its worker hit or asked to stop before that was settled: it came again
    when the batch was cancelled, and was settled as skipped.
    """
    return sum(_is_joint(case, links_of(one)) for one in batch.jobs)


def _is_joint(case: Case, links: Sequence[Task]) -> bool:
    done = [run for task in links for run in case.by_key.get(task.key, ()) if run.ending == "done"]
    if not done or not any(_is_skipped(case, task) for task in links):
        return False
    last = max(done, key=lambda run: run.token)
    hit = case.ends.get(last.worker)
    if hit is None or last.ended_at is None:
        return False
    return abs(case.history[hit].at - last.ended_at) <= case.lease


def _is_skipped(case: Case, task: Task) -> bool:
    maybe = case.due[task.key] == "maybe"
    return maybe and not case.done(task.key) and task.key not in case.failed


def _nothing_is_left(case: Case) -> Iterator[Finding]:
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
    _tokens_rise,
    _runs_follow_from_each_other,
    _poison_crashed,
    *group_checks.RULES,
    *process_checks.RULES,
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
        "runs in used processes": process_checks.in_used_processes(plan, runs),
        "kills": sum(event.what == "hit" for event in history),
        "stops": sum(event.what == "asked" for event in history),
        "freezes": sum(event.what == "frozen" for event in history),
    }
