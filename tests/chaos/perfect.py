"""A run of chaos in which every promise is kept: what a faultless plant would write down. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.fates import ends_cancelled
from tests.chaos.history import BatchState, Event, FailedState, State
from tests.chaos.plan import (
    Batch,
    Beat,
    Chain,
    Task,
    added_to,
    breaks,
    deed,
    links_of,
    reached,
)

if TYPE_CHECKING:
    from tests.chaos.plan import Plan

STEP = 0.01
CRASHES = 3
PARENT, CHILD = 1, 2
"""Numbers of the processes of the worker, and of its jobs that have one of their own."""


class PerfectPlant:
    """
    One worker that runs a plan to its end.

    Attributes:
        history: what happened.
        failed: jobs that failed.
        batches: how they ended.
        settled: how many jobs were done and have failed.
    """

    def __init__(self) -> None:
        self.history: list[Event] = []
        self.failed: list[FailedState] = []
        self.batches: dict[str, list[BatchState]] = {}
        self.published: dict[str, list[int]] = {}
        self.settled = [0, 0]
        self._now = 1_000.0
        self._token = 0
        self._generation = 1

    def play(self, plan: Plan) -> tuple[list[Event], State]:
        """Run everything; return what happened and what is left."""
        self._say("born")
        for op in plan.ops:
            match op:
                case Task():
                    self._single(op)
                case Chain():
                    self._chain(op)
                case Batch():
                    self._batch(op)
                case Beat():
                    self.published.setdefault(op.channel, []).append(op.number)
                    self.settled[0] += 1
        done, failed = self.settled
        state = State(
            failed=self.failed,
            batches=self.batches,
            settled=(done, failed),
            published=self.published,
            exits={self._worker: 0},
        )
        return self.history, state

    def _single(self, task: Task) -> None:
        if task.kind in ("unique", "until"):
            self._say("queued", task)
        if task.kind == "stranger":
            self._fail(task, 0)
        else:
            self._task(task)

    def _chain(self, op: Chain) -> None:
        for link in reached(op):
            if isinstance(link, Batch):
                self.settled[0] += 1  # the job that begins it
                self._batch(link)
            else:
                self._task(link)
                self._mend(link)
        if breaks(op):
            self._task(op.catch)

    def _batch(self, op: Batch) -> None:
        for member in op.jobs:
            self._member(member)
        for task in (*added_to(op), *(op.catch if op.manner in ("lenient", "strict") else [])):
            self._task(task)
        for task in op.last:
            self._task(task)
        for member in op.jobs:
            self._mend_member(member)
        if op.manner in ("good", "growing") or op.mendable:
            for task in op.then:
                self._task(task)
        failed = sum(map(_failed, op.jobs))
        state = BatchState(op.total, failed, failed, ends_cancelled(op), finished=True)
        self.batches[op.key] = [state]

    def _member(self, member: Task | Chain) -> None:
        """Run a job of a batch, or a chain up to the link that breaks."""
        for task in links_of(member):
            self._task(task)
            if breaks(task):
                break
        if isinstance(member, Chain) and breaks(member):
            self._task(member.catch)

    def _mend_member(self, member: Task | Chain) -> None:
        links = links_of(member)
        for place, task in enumerate(links):
            if task.mendable:
                self._mend(task)
                for after in links[place + 1 :]:
                    self._task(after)

    def _mend(self, task: Task) -> None:
        if task.mendable:
            self._run(task, 1, "done")
            self.settled[0] += 1

    def _task(self, task: Task) -> None:
        if task.end == "crashed":
            for _ in range(1 + CRASHES):  # the first time it was not alone
                self._run(task, 1, "die")
            self._fail(task, 0)
            return
        attempt, put_offs = 1, 0
        while True:
            what = deed(task, attempts=attempt, put_offs=put_offs, mended=False)
            self._run(task, attempt, what)
            if what == "put_off":
                put_offs += 1
            elif what in ("raise", "release") and attempt < task.tries:
                attempt += 1
            else:
                break
        if task.end == "done":
            self.settled[0] += 1
        else:
            self._fail(task, attempt)

    def _fail(self, task: Task, attempt: int) -> None:
        self.settled[1] += 1
        key = "" if task.mendable else task.key
        state = FailedState(_id(task), key, task.end, attempt, retried=task.mendable)
        self.failed.append(state)

    def _run(self, task: Task, attempt: int, what: str) -> None:
        self._token += 1_000  # microseconds
        self._say("start", task, attempt)
        self._say("cut" if what == "hang" else what, task, attempt)
        if what == "die":
            self._say("dead")
            self._generation += 1
            self._say("born")

    def _say(self, what: str, task: Task | None = None, attempt: int = 0) -> None:
        self._now += STEP
        worker = self._worker
        if task is None:
            self.history.append(Event(self._now, what, worker=worker))
        else:
            pid = CHILD if task.kind == "contained" else PARENT
            about = (task.key, _id(task), attempt, self._token, worker, task.group, pid)
            self.history.append(Event(self._now, what, *about))

    @property
    def _worker(self) -> str:
        return f"w0.{self._generation}"


def _failed(member: Task | Chain) -> int:
    """Return how many jobs of a member of a batch have failed in the end."""
    links = links_of(member)
    broken = (place for place, link in enumerate(links) if breaks(link) and not link.mendable)
    return len(links) - next(broken, len(links))


def _id(task: Task) -> str:
    return f"id of {task.key}"
