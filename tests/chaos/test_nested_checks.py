"""The judge finds what goes wrong with chains in batches, batches in chains, and processes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.chaos.history import BatchState, Event
from tests.chaos.perfect import CHILD, PARENT
from tests.chaos.plan import Batch, Chain, Plan, Task
from tests.chaos.scene import LEASE, Scene, change_batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.plan import Manner


def bad(key: str, *, mendable: bool = False) -> Task:
    return Task(key=key, raises=1, end="exception", mendable=mendable)


def chain(key: str, *links: Task | Batch) -> Chain:
    return Chain(key=key, links=links, catch=Task(key=f"{key}:catch"))


def batch(key: str, manner: Manner, *jobs: Task | Chain) -> Batch:
    then, catch, last = ((Task(key=f"{key}:{what}"),) for what in ("then", "catch", "last"))
    return Batch(key=key, manner=manner, jobs=jobs, then=then, catch=catch, last=last)


PLAN = Plan(
    seed=0,
    ops=(
        chain(
            "n",
            Task(key="n.0"),
            batch(
                "n.1",
                "good",
                Task(key="n.1.0"),
                chain("n.1.1", Task(key="n.1.1.0"), Task(key="n.1.1.1")),
            ),
            Task(key="n.2"),
        ),
        chain("s", batch("s.0", "strict", bad("s.0.0"), Task(key="s.0.1")), Task(key="s.1")),
        chain(
            "h",
            batch(
                "h.0",
                "strict",
                chain("h.0.0", bad("h.0.0.0", mendable=True), Task(key="h.0.0.1")),
            ),
            Task(key="h.1"),
        ),
        chain("m", bad("m.0", mendable=True), Task(key="m.1")),
        chain("z", bad("z.0"), batch("z.1", "good", Task(key="z.1.0"))),
        batch(
            "k",
            "lenient",
            chain("k.0", Task(key="k.0.0"), bad("k.0.1"), Task(key="k.0.2")),
            Task(key="k.1"),
        ),
        batch(
            "q", "cancelled", Task(key="q.0"), chain("q.1", Task(key="q.1.0"), Task(key="q.1.1"))
        ),
        Task(key="x1", kind="contained"),
        Task(key="x2", kind="contained"),
        Task(key="x3", kind="contained", end="timeout"),
    ),
)


@pytest.fixture
def scene() -> Scene:
    return Scene(PLAN)


def test_the_faultless_scene_is_accepted(scene: Scene) -> None:
    assert scene.findings == []


def move(key: str, before: str) -> Callable[[Scene], None]:
    return lambda scene: scene.move(key, before)


def forget(key: str) -> Callable[[Scene], None]:
    return lambda scene: scene.forget(key)


def run(key: str) -> Callable[[Scene], None]:
    """Have a job run that was not to be queued."""
    event = Event(2_000.0, "start", key, "x", 1, 9_999_999, "w1.1")
    return lambda scene: scene.happen(event)


def have_batches(key: str, count: int) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        states = [BatchState(1, 0, 0, cancelled=False, finished=True)] * count
        scene.state = replace(scene.state, batches={**scene.state.batches, key: states})

    return change


def settle_one_less(scene: Scene) -> None:
    assert scene.state.settled is not None
    done, failed = scene.state.settled
    scene.state = replace(scene.state, settled=(done - 1, failed))


def change_process(key: str, pid: int) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        scene.history = [
            event._replace(pid=pid) if event.key == key else event for event in scene.history
        ]

    return change


def begin_amid_another_job(scene: Scene) -> None:
    scene.history.append(scene.history.pop(scene.place("done", "x1")))


def go_on_after_the_end_of_an_interrupted_job(scene: Scene) -> None:
    del scene.history[scene.place("done", "x1")]


def leave_a_process(scene: Scene) -> None:
    scene.state = replace(scene.state, orphans=["41 of w0.1: python -c"])


def end_long_after_the_worker(scene: Scene) -> None:
    done = scene.history[scene.place("done", "x1")]
    scene.happen(Event(done.at + 10, "dead", worker=done.worker), done._replace(at=done.at + 13.5))


FAULTS: list[tuple[Callable[[Scene], None], str]] = [
    (move("n.1.0", before="n.0"), "chain: n.1.0: it began before n.0 was done"),
    (move("n.2", before="n.1.1.1"), "chain: n.2: it began before n.1.1.1 was done"),
    (move("n.1.1.1", before="n.1.1.0"), "chain: n.1.1.1: it began before n.1.1.0 was done"),
    (forget("n.1.1.1"), "lost job: n.1.1.1"),
    (run("n:catch"), "stray job: n:catch"),
    (run("n.1.1:catch"), "stray job: n.1.1:catch"),
    (have_batches("n.1", 0), "batch: n.1: it is gone"),
    (have_batches("n.1", 2), "batch: n.1: it is there 2 times"),
    (change_batch("n.1", total=2), "batch: n.1: 3 jobs, 0 failed, but"),
    (move("n.1:then", before="n.1.0"), "callback: n.1:then: it began before n.1.0 was done"),
    (move("n.1:last", before="n.1.1.1"), "callback: n.1:last: it began before n.1.1.1 was done"),
    (run("s.1"), "stray job: s.1"),
    (forget("s:catch"), "lost job: s:catch"),
    (forget("s.0:catch"), "lost job: s.0:catch"),
    (run("s.0:then"), "stray job: s.0:then"),
    (change_batch("s.0", cancelled=False), "batch: s.0: cancelled is False"),
    (forget("h.1"), "lost job: h.1"),
    (forget("h.0.0.1"), "lost job: h.0.0.1"),
    (forget("h:catch"), "lost job: h:catch"),
    (forget("h.0:then"), "lost job: h.0:then"),
    (move("h.1", before="h.0.0.1"), "chain: h.1: it began before h.0.0.1 was done"),
    (change_batch("h.0", cancelled=True), "batch: h.0: cancelled is True"),
    (forget("m.1"), "lost job: m.1"),
    (forget("m:catch"), "lost job: m:catch"),
    (run("z.1.0"), "stray job: z.1.0"),
    (have_batches("z.1", 1), "batch: z.1: it was begun, and its chain had ended before"),
    (run("k.0.2"), "stray job: k.0.2"),
    (forget("k.0:catch"), "lost job: k.0:catch"),
    (change_batch("k", pending=1), "batch: k: 1 pending, 2 jobs failed"),
    (change_batch("k", failed=1), "batch: k: 4 jobs, 2 failed, but"),
    (move("k:last", before="k.0.1"), "callback: k:last: it began before k.0.1 began"),
    (settle_one_less, "settlements: all: "),
    (change_process("x1", PARENT), f"process: x1: it ran in process {PARENT}, as "),
    (begin_amid_another_job, f"process: x2: it began in process {CHILD} of w0.1 amid x1"),
    (
        go_on_after_the_end_of_an_interrupted_job,
        f"process: x2: it began in process {CHILD} of w0.1 amid x1",
    ),
    (leave_a_process, "orphan: process: 41 of w0.1"),
    (end_long_after_the_worker, "orphan: x1: done, 3.5 s after its worker w0.1 was dead"),
]


@pytest.mark.parametrize(
    ("spoil", "finding"), FAULTS, ids=[f"{at}-{text[:24]}" for at, (_, text) in enumerate(FAULTS)]
)
def test_a_fault_is_found(scene: Scene, spoil: Callable[[Scene], None], finding: str) -> None:
    spoil(scene)

    assert any(finding in found for found in scene.findings), scene.findings


def test_a_job_may_run_in_another_process_of_the_next_worker(scene: Scene) -> None:
    scene.run_again("x1", later=LEASE, worker="w1.1")
    scene.history[-2:] = [event._replace(pid=PARENT) for event in scene.history[-2:]]

    assert scene.findings == []


@pytest.mark.parametrize(("later", "found"), [(0.1, False), (LEASE + 0.1, True)])
def test_a_link_whose_worker_was_hit_may_be_skipped_with_those_behind_it(
    scene: Scene, later: float, *, found: bool
) -> None:
    scene.forget("q.1.1")
    assert scene.findings == []
    done = scene.history[scene.place("done", "q.1.0")]
    hit = Event(done.at + later, "hit", worker=done.worker)
    scene.history.insert(scene.history.index(done) + 1, hit)

    settle_one_less(scene)

    assert any(finding.startswith("settlements: all: ") for finding in scene.findings) is found


def test_what_was_dispatched_twice_may_have_two_batches(scene: Scene) -> None:
    scene.happen(Event(2_000.0, "uncertain", "n"))
    (state,) = scene.state.batches["n.1"]
    scene.state = replace(scene.state, batches={**scene.state.batches, "n.1": [state, state]})

    assert scene.findings == []
