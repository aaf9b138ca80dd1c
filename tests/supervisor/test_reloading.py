from __future__ import annotations

import pytest

from broadcaster.supervisor.reloading import Action, Made, actions, in_words

OLD = Made("--tries=3", "max 2")


@pytest.mark.parametrize(
    ("new", "renew", "action"),
    [
        pytest.param(OLD, False, "keep", id="nothing has changed"),
        pytest.param(OLD, True, "renew", id="nothing has changed but the code"),
        pytest.param(Made("--tries=3", "max 9"), False, "adjust", id="how many there are"),
        pytest.param(Made("--tries=3", "max 9"), True, "renew", id="how many, and the code"),
        pytest.param(Made("--tries=5", "max 2"), False, "renew", id="what they do"),
        pytest.param(Made("--tries=5", "max 9"), False, "renew", id="both"),
    ],
)
def test_row_56_a_pool_is_touched_as_far_as_it_has_changed(
    new: Made, *, renew: bool, action: Action
) -> None:
    assert actions({"main": OLD}, {"main": new}, renew=renew) == {"main": action}


@pytest.mark.parametrize("renew", [False, True])
def test_row_56_pools_come_and_go_with_their_tables(*, renew: bool) -> None:
    found = actions({"gone": OLD, "main": OLD}, {"new": OLD, "main": OLD}, renew=renew)

    assert list(found) == ["new", "main", "gone"]
    assert (found["new"], found["gone"]) == ("start", "drain")


def test_what_was_done_is_one_line() -> None:
    found: dict[str, Action] = {"b": "keep", "c": "start", "a": "keep", "d": "drain"}

    assert in_words(found) == "started: c; unchanged: a, b; drained: d"
    assert in_words({}) == ""
