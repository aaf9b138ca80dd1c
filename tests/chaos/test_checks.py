"""The judge accepts a faultless run, and finds each fault that is put into one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.chaos.checks import check, summary
from tests.chaos.history import Event, FailedState, KeyState, State
from tests.chaos.perfect import CRASHES, PerfectPlant
from tests.chaos.plan import Batch, Beat, Chain, Plan, Task
from tests.chaos.planning import plan
from tests.chaos.scene import Scene, change_batch

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE = 2.0

PLAN = Plan(
    seed=0,
    ops=(
        Task(key="p1"),
        Task(key="p2", raises=1, tries=2),
        Task(key="bad", raises=2, tries=2, end="exception"),
        Task(key="poison", kind="poison", end="crashed"),
        Task(key="v1", kind="overlap", group="o"),
        Task(key="v2", kind="overlap", group="o"),
        Task(key="u1", kind="unique", group="u"),
        Task(key="u2", kind="unique", group="u"),
        Task(key="l1", kind="ordered", group="a"),
        Task(key="l2", kind="ordered", group="a"),
        Chain(key="c", links=(Task(key="c.0"), Task(key="c.1")), catch=Task(key="c:catch")),
        Chain(
            key="d",
            links=(Task(key="d.0"), Task(key="d.1", raises=1, end="exception")),
            catch=Task(key="d:catch"),
        ),
        Batch(
            key="b",
            manner="good",
            jobs=(Task(key="b.0"), Task(key="b.1")),
            then=(Task(key="b:then"),),
            catch=(Task(key="b:catch"),),
            last=(Task(key="b:last"),),
        ),
        Beat(channel="x", number=0),
        Beat(channel="x", number=1),
    ),
)


@pytest.fixture
def scene() -> Scene:
    return Scene(PLAN)


@pytest.mark.parametrize("seed", range(5))
def test_a_faultless_run_of_any_plan_is_accepted(seed: int) -> None:
    made = plan(seed, 1_500)
    history, state = PerfectPlant().play(made)

    assert check(made, history, state, lease=LEASE) == []


def test_the_faultless_scene_is_accepted(scene: Scene) -> None:
    assert scene.findings == []


def lose_a_job(scene: Scene) -> None:
    scene.forget("p1")


def lose_a_failed_job(scene: Scene) -> None:
    scene.state = replace(
        scene.state, failed=[one for one in scene.state.failed if one.key != "bad"]
    )


def fail_a_good_job(scene: Scene) -> None:
    failed = FailedState("id of p1", "p1", "crashed", 0)
    scene.state = replace(scene.state, failed=[*scene.state.failed, failed])


def fail_for_another_reason(scene: Scene) -> None:
    failed = [
        one._replace(reason="timeout") if one.key == "bad" else one for one in scene.state.failed
    ]
    scene.state = replace(scene.state, failed=failed)


def give_up_too_early(scene: Scene) -> None:
    deaths = [event for event in scene.history if event.what == "dead"]
    for event in deaths[: len(deaths) - CRASHES + 1]:
        scene.history.remove(event)


def queue_a_link_twice(scene: Scene) -> None:
    scene.run_again("c.1")
    scene.history[-2:] = [event._replace(job_id="another") for event in scene.history[-2:]]


def run_twice_without_a_cause(scene: Scene) -> None:
    scene.run_again("c.0")


def run_an_older_token(scene: Scene) -> None:
    scene.run_again("p1", later=LEASE)
    scene.history[-2:] = [event._replace(token=0) for event in scene.history[-2:]]


def try_too_often(scene: Scene) -> None:
    scene.run_again("bad")
    scene.history[-2:] = [event._replace(attempt=3) for event in scene.history[-2:]]


def begin_a_link_too_early(scene: Scene) -> None:
    scene.move("c.1", before="c.0")


def lose_a_link(scene: Scene) -> None:
    scene.forget("c.1")


def lose_the_catch_of_a_chain(scene: Scene) -> None:
    scene.forget("d:catch")


def call_a_catch_without_need(scene: Scene) -> None:
    scene.happen(Event(2_000.0, "start", "c:catch", "x", 1, 9_999, "w1.1"))


def lose_a_callback(scene: Scene) -> None:
    scene.forget("b:then")


def double_a_callback(scene: Scene) -> None:
    scene.run_again("b:last")
    scene.history[-2:] = [event._replace(job_id="another") for event in scene.history[-2:]]


def lose_a_batch(scene: Scene) -> None:
    scene.state = replace(scene.state, batches={})


def overlap(scene: Scene) -> None:
    done, start = scene.place("done", "v1"), scene.place("start", "v2")
    scene.history[done], scene.history[start] = scene.history[start], scene.history[done]


def run_beside_a_unique_job(scene: Scene) -> None:
    done, start = scene.place("done", "u1"), scene.place("start", "u2")
    scene.history[done], scene.history[start] = scene.history[start], scene.history[done]


def go_back_to_an_earlier_owner(scene: Scene) -> None:
    scene.run_again("u1", later=LEASE)


def skip_for_a_stranger(scene: Scene) -> None:
    scene.happen(Event(2_000.0, "skipped", "u3", "id of p1", group="u"))


def overtake_in_a_lane(scene: Scene) -> None:
    scene.move("l2", before="l1")


def hear(numbers: list[int]) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        scene.state = replace(scene.state, published={"x": numbers})

    return change


def settle_once_more(scene: Scene) -> None:
    assert scene.state.settled is not None
    done, failed = scene.state.settled
    scene.state = replace(scene.state, settled=(done + 1, failed))


def leave(name: str, kind: str, expires: float | None) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        scene.state = replace(scene.state, keys=[KeyState(name, kind, expires, 1)])

    return change


def end_badly(scene: Scene) -> None:
    scene.state = replace(scene.state, exits={"w1.1": 1})


def complain(scene: Scene) -> None:
    scene.state = replace(scene.state, complaints=["effects failed"])


def never_end(scene: Scene) -> None:
    scene.state = replace(scene.state, waited=False, bodies=["id of p1"])


FAULTS: list[tuple[Callable[[Scene], None], str]] = [
    (lose_a_job, "lost job: p1: it was never done"),
    (lose_a_failed_job, "lost job: bad: it was to fail as exception"),
    (fail_a_good_job, "failed job: p1: it was to be done, and failed as crashed"),
    (
        fail_for_another_reason,
        "failed job: bad: it was to fail as exception, and failed as timeout",
    ),
    (give_up_too_early, "crashed: poison: given up after"),
    (queue_a_link_twice, "doubled job: c.1: it was queued as another, id of c.1"),
    (
        run_twice_without_a_cause,
        "doubled run: c.0: it ran again (try 1 after try 1, which ended as",
    ),
    (run_an_older_token, "token: p1: 0 came after"),
    (try_too_often, "too many tries: bad: try 3 of 2"),
    (begin_a_link_too_early, "chain: c.1: it began before c.0 was done"),
    (lose_a_link, "lost job: c.1"),
    (lose_the_catch_of_a_chain, "lost job: d:catch"),
    (call_a_catch_without_need, "stray job: c:catch"),
    (lose_a_callback, "lost job: b:then"),
    (double_a_callback, "doubled job: b:last"),
    (change_batch("b", pending=1), "batch: b: 1 pending, 0 jobs failed"),
    (change_batch("b", total=3), "batch: b: 2 jobs, 0 failed, but"),
    (change_batch("b", finished=False), "batch: b: it is not finished"),
    (change_batch("b", cancelled=True), "batch: b: cancelled is True"),
    (lose_a_batch, "batch: b: it is gone"),
    (overlap, "overlap: v2: it ran beside v1"),
    (run_beside_a_unique_job, "unique: u2: it ran beside u1"),
    (go_back_to_an_earlier_owner, "unique: u1: it ran after u2 had begun"),
    (skip_for_a_stranger, "unique: u3: skipped for id of p1"),
    (overtake_in_a_lane, "order: l2: it began before l1 was done"),
    (hear([1, 0]), "broadcasts: x: 2 broadcasts came as 2, number 1 at place 0"),
    (hear([0, 0, 1]), "broadcasts: x: 2 broadcasts came as 3, number 0 at place 1"),
    (hear([0]), "broadcasts: x: 2 broadcasts came as 1, in order"),
    (settle_once_more, "settlements: all: "),
    (leave("{l:ab}:lock", "string", 1.0), "left over: {l:ab}:lock: a string of 1"),
    (leave("{q:low}:reserved", "zset", None), "left over: {q:low}:reserved"),
    (leave("{q:low}:#3:outbox", "hash", None), "left over: {q:low}:#3:outbox"),
    (leave(f"{{q:low}}:unique:{'0' * 32}", "string", None), "it never expires"),
    (end_badly, "exit: w1.1: asked to stop, it ended with code 1"),
    (complain, "log: worker: effects failed"),
    (never_end, "not over: id of p1"),
]


@pytest.mark.parametrize(
    ("spoil", "finding"), FAULTS, ids=[f"{at}-{text[:24]}" for at, (_, text) in enumerate(FAULTS)]
)
def test_a_fault_is_found(scene: Scene, spoil: Callable[[Scene], None], finding: str) -> None:
    spoil(scene)

    assert any(finding in found for found in scene.findings), scene.findings


def test_the_count_names_what_may_have_been_settled_twice(scene: Scene) -> None:
    scene.run_again("c.0", later=10 * LEASE)
    settle_once_more(scene)

    (found,) = scene.findings

    assert found.endswith("done by workers that lived, and run again: c.0")


def test_a_run_may_come_again_after_its_worker_was_hit(scene: Scene) -> None:
    scene.happen(Event(1_999.0, "hit", worker="w0.7"))
    scene.run_again("p1", later=1_000.0)

    first = next(event for event in scene.history if event.key == "p1")
    scene.history = [
        event._replace(worker="w0.7")
        if event.key == "p1" and event.worker == first.worker
        else event
        for event in scene.history
    ]

    assert scene.findings == []


def test_a_run_may_come_again_when_its_lease_was_over(scene: Scene) -> None:
    scene.run_again("p1", later=LEASE)

    assert scene.findings == []


def test_leftovers_that_are_documented_are_accepted(scene: Scene) -> None:
    scene.state = replace(
        scene.state,
        keys=[
            KeyState("{queues}:names", "set", None, 3),
            KeyState("{q:default}:#12:meta", "hash", None, 3),
            KeyState(f"{{q:default}}:link:{'0' * 32}", "string", 86_000.0, 1),
            KeyState(f"{{b:{'0' * 32}}}:meta", "hash", 600_000.0, 9),
            KeyState("{q:default}:notify", "list", None, 2),
        ],
    )

    assert scene.findings == []


def test_the_numbers_of_a_run_are_counted(scene: Scene) -> None:
    scene.happen(Event(2_000.0, "hit", worker="w0.1"), Event(2_000.0, "asked", worker="w0.2"))

    numbers = summary(PLAN, scene.history)

    assert (numbers["kills"], numbers["stops"]) == (1, 1)
    assert numbers["runs"] > numbers["jobs that ran"] > 10


def test_an_empty_run_of_an_empty_plan_is_accepted() -> None:
    assert check(Plan(seed=0, ops=()), [], State(), lease=LEASE) == []
