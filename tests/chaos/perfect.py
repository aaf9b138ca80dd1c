"""A run of chaos in which every promise is kept: what a faultless plant would write down. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.history import BatchState, Event, FailedState, State
from tests.chaos.plan import Batch, Beat, Chain, Task, chain_breaks, deed, tasks_of

if TYPE_CHECKING:
    from tests.chaos.plan import Plan

STEP = 0.01
CRASHES = 3


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
        self.batches: dict[str, BatchState | None] = {}
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
                    for task in (*op.links, *([op.catch] if chain_breaks(op) else [])):
                        self._task(task)
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

    def _batch(self, op: Batch) -> None:
        mended = [task for task in op.jobs if task.mendable]
        called = [*op.last]
        called += op.catch if op.manner in ("lenient", "strict") else []
        called += op.then if op.manner in ("good", "growing") or mended else []
        outcomes = {task.key for task in (*op.then, *op.catch, *op.last)}
        for task in tasks_of(op):
            if task.key not in outcomes:
                self._task(task)
        for task in mended:
            self._run(task, 1, "done")
            self.settled[0] += 1
        for task in called:
            self._task(task)
        broken = sum(task.end != "done" and not task.mendable for task in op.jobs)
        cancelled = op.manner in ("strict", "cancelled")
        self.batches[op.key] = BatchState(op.total, broken, broken, cancelled, finished=True)

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
            event = Event(
                self._now, what, task.key, _id(task), attempt, self._token, worker, task.group
            )
            self.history.append(event)

    @property
    def _worker(self) -> str:
        return f"w0.{self._generation}"


def _id(task: Task) -> str:
    return f"id of {task.key}"
