from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.supervisor.balance import (
    ALL,
    Load,
    Rules,
    Share,
    balanced,
    groups,
    shifted,
    targets,
    wanted_slots,
    weight,
)

TEN = Rules(max_processes=10, slots=10, clear_within=5.0)
IDLE = Load()

loads = st.dictionaries(
    st.sampled_from("abcde"),
    st.builds(
        Load,
        st.integers(0, 100_000),
        st.integers(0, 500),
        st.none() | st.floats(0.0001, 1_000),
        st.floats(0, 1_000),
    ),
    min_size=1,
)
rules = st.builds(
    Rules,
    strategy=st.sampled_from(["time", "size"]),
    min_processes=st.integers(1, 3),
    max_processes=st.integers(15, 40),
    min_slots=st.integers(1, 5),
    slots=st.integers(5, 50),
    clear_within=st.floats(0.1, 60),
    shift=st.integers(1, 20),
)


def test_row_56_an_idle_queue_has_the_least() -> None:
    assert balanced({"a": IDLE, "b": IDLE}, {}, TEN, math.inf) == {"a": (1, 1), "b": (1, 1)}


@pytest.mark.parametrize(
    ("load", "slots"),
    [
        (Load(), 0),
        (Load(running=3), 3),
        (Load(ready=100, runtime=0.5), 10),  # 50 s of work in 5 s
        (Load(ready=100, running=4, runtime=0.5), 14),
        (Load(runtime=0.5, arriving=20.0), 10),  # what comes keeps ten busy
        (Load(running=4, runtime=600.0), 4),  # long jobs keep their slots
        (Load(ready=3, runtime=1_000), 3),  # no more slots than jobs
        (Load(ready=7), 7),  # nothing is known: each gets one
        (Load(ready=10_000), 100),  # as far as there are any
        (Load(ready=10_000, runtime=0.0001), 1),
    ],
)
def test_a_queue_wants_the_slots_that_clear_it_in_time(load: Load, slots: int) -> None:
    assert wanted_slots(load, TEN) == slots


def test_row_56_slots_are_added_first_and_at_once_and_processes_only_when_they_do_not_do() -> None:
    some, more = Load(ready=80, runtime=0.5), Load(ready=300, runtime=0.5)

    assert balanced({"a": some}, {"a": 1}, TEN, 0.0) == {"a": Share(1, 8)}
    assert balanced({"a": more}, {"a": 1}, TEN, 0.0) == {"a": Share(1, 10)}
    assert balanced({"a": more}, {"a": 1}, TEN, 3.0) == {"a": Share(2, 10)}


def test_row_56_the_first_processes_do_not_wait_for_the_cooldown() -> None:
    assert balanced({"a": IDLE}, {"a": 0}, TEN, 0.0)["a"].processes == 1


def test_row_56_processes_change_by_the_shift_once_per_cooldown() -> None:
    flood = {"a": Load(ready=100_000, runtime=1.0)}
    quick = Rules(max_processes=10, shift=3, cooldown=3.0)

    assert balanced(flood, {"a": 1}, quick, 2.9)["a"].processes == 1
    assert balanced(flood, {"a": 1}, quick, 3.0)["a"].processes == 4
    assert balanced(flood, {"a": 4}, quick, 3.0)["a"].processes == 7
    assert balanced({"a": IDLE}, {"a": 7}, quick, 3.0)["a"].processes == 4
    assert balanced({"a": IDLE}, {"a": 2}, quick, 3.0)["a"].processes == 1


def test_row_56_queues_share_what_there_is_by_time_or_by_size() -> None:
    flood = {
        "slow": Load(ready=1_000, runtime=3.0),
        "quick": Load(ready=3_000, runtime=1.0 / 3),
    }
    by_size = Rules(max_processes=10, strategy="size", clear_within=0.1)

    assert targets(flood, Rules(max_processes=10, clear_within=0.1)) == {"slow": 7, "quick": 3}
    assert targets(flood, by_size) == {"slow": 3, "quick": 7}
    assert weight(Load(4, 1, 2.0), TEN) == 10.0
    assert weight(Load(4, 1, None), TEN) == 5.0


def test_row_56_simple_gives_each_queue_the_same_and_off_serves_all_with_all() -> None:
    simple = Rules(balance="simple", max_processes=8, slots=4)
    off = Rules(balance="off", max_processes=8, slots=4)

    assert groups(["a", "b", "c"], simple) == ["a", "b", "c"]
    assert balanced(dict.fromkeys("abc", IDLE), {}, simple, 0.0) == {
        "a": (3, 4), "b": (3, 4), "c": (2, 4)
    }  # fmt: skip
    assert groups(["a", "b", "c"], off) == [ALL]
    assert balanced({ALL: IDLE}, {}, off, 0.0) == {ALL: (8, 4)}


def test_who_lost_a_process_gives_it_to_who_needs_it_at_once() -> None:
    full = Rules(max_processes=4)

    assert shifted({"a": 3, "b": 1}, {"a": 1, "b": 3}, full) == {"a": 2, "b": 2}


@given(loads, rules)
def test_targets_keep_within_the_bounds(loads: dict[str, Load], rules: Rules) -> None:
    found = targets(loads, rules)

    assert set(found) == set(loads)
    assert all(count >= rules.min_processes for count in found.values())
    assert sum(found.values()) <= rules.max_processes


@given(loads, rules, st.data())
def test_one_change_keeps_within_the_bounds_and_the_shift(
    loads: dict[str, Load], rules: Rules, data: st.DataObject
) -> None:
    most = rules.max_processes // len(loads)
    present = {name: data.draw(st.integers(rules.min_processes, most)) for name in loads}

    found = balanced(loads, present, rules, math.inf)

    assert sum(share.processes for share in found.values()) <= rules.max_processes
    for name, share in found.items():
        assert share.processes >= rules.min_processes
        assert abs(share.processes - present[name]) <= rules.shift
        assert rules.min_slots <= share.slots <= rules.slots


@given(loads, rules)
def test_changes_come_to_an_end_at_the_targets(loads: dict[str, Load], rules: Rules) -> None:
    present = dict.fromkeys(loads, rules.min_processes)
    for _ in range(rules.max_processes * 2):
        present = {
            name: share.processes
            for name, share in balanced(loads, present, rules, math.inf).items()
        }

    assert present == targets(loads, rules)
