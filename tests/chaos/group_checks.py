"""Rules of the judge about what jobs have to do with each other: chains, batches, locks, order."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.chaos.case import Case, first_place
from tests.chaos.fates import before_last, before_next, before_then, begun, ends_cancelled
from tests.chaos.history import Finding, Run
from tests.chaos.plan import Beat, Chain, Task, batches_of, links_of, tasks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.chaos.history import BatchState
    from tests.chaos.plan import Batch, Op

PATIENCE = 2 / 3
"""The part of a lease after which a lock may be free: a run is noted some time after it took it."""


def chains_keep_their_order(case: Case) -> Iterator[Finding]:
    for op in case.plan.ops:
        for chain in _chains_of(op):
            for link, after in pairwise(chain.links):
                yield from _comes_after(case, "chain", tasks_of(after), before_next(link))


def callbacks_come_last(case: Case) -> Iterator[Finding]:
    for op in case.plan.ops:
        for batch in batches_of(op):
            yield from _comes_after(case, "callback", batch.last, before_last(batch))
            yield from _comes_after(case, "callback", batch.then, before_then(batch))


def _chains_of(op: Op) -> Iterator[Chain]:
    if isinstance(op, Chain):
        yield op
    for batch in batches_of(op):
        yield from (one for one in batch.jobs if isinstance(one, Chain))


def _comes_after(
    case: Case, rule: str, tasks: Sequence[Task], before: Iterable[tuple[str, bool]]
) -> Iterator[Finding]:
    """Find what of `tasks` began too early: see `tests.chaos.fates.before_next`."""
    begun_at = {run.start: task.key for task in tasks for run in case.by_key.get(task.key, ())}
    if not begun_at:
        return
    first = min(begun_at)
    for key, done in before:
        place = first_place(case, key, "done" if done else "")
        if place is None or first < place:
            text = f"it began before {key} {'was done' if done else 'began'}"
            yield Finding(rule, begun_at[first], text)


def batches_count(case: Case) -> Iterator[Finding]:
    for op in case.plan.ops:
        there = {batch.key for batch in begun(op)}
        doubled = isinstance(op, Chain) and op.key in case.repeated
        for batch in batches_of(op):
            states = case.state.batches.get(batch.key, ())
            if batch.key not in there and states:
                yield Finding("batch", batch.key, "it was begun, and its chain had ended before")
            if batch.key in there and not states:
                yield Finding("batch", batch.key, "it is gone")
            if len(states) > 1 and not doubled:
                yield Finding("batch", batch.key, f"it is there {len(states)} times")
            for state in states:
                yield from _counts(case, batch, state)


def _counts(case: Case, batch: Batch, state: BatchState) -> Iterator[Finding]:
    failed = sum(_failed_in(case, one) for one in batch.jobs)
    if not state.finished:
        yield Finding("batch", batch.key, f"it is not finished: {state}")
    if state.pending != failed:
        yield Finding("batch", batch.key, f"{state.pending} pending, {failed} jobs failed")
    if (state.total, state.failed) != (batch.total, failed):
        yield Finding("batch", batch.key, f"{batch.total} jobs, {failed} failed, but {state}")
    if state.cancelled != ends_cancelled(batch):
        yield Finding("batch", batch.key, f"cancelled is {state.cancelled}")


def _failed_in(case: Case, member: Task | Chain) -> int:
    """Return how many jobs of `member` have failed: those behind one that did have, too."""
    links = links_of(member)
    places = (place for place, link in enumerate(links) if link.key in case.failed)
    return len(links) - next(places, len(links))


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
    callbacks_come_last,
    batches_count,
    unique_jobs_are_alone,
    skipped_jobs_had_an_owner,
    locked_jobs_do_not_overlap,
    lanes_keep_their_order,
    channels_keep_their_order,
)
