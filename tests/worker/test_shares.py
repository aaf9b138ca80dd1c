"""Slots shared by weight (row 39)."""

from __future__ import annotations

from collections import Counter

import pytest

from broadcaster.worker.shares import Shares, parse_queue


@pytest.mark.parametrize("free", [1, 3, 4, 7])
def test_slots_are_shared_by_weight_row_39(free: int) -> None:
    shares = Shares({"mail": 3, "default": 1})
    total: Counter[str] = Counter()

    for _ in range(400):
        total.update(shares.divide(free, ["mail", "default"]))

    assert total["mail"] == pytest.approx(300 * free, abs=2)
    assert sum(total.values()) == 400 * free


def test_queues_without_jobs_leave_their_share_to_others() -> None:
    shares = Shares({"mail": 3, "default": 1})

    assert shares.divide(4, ["default"]) == {"default": 4}
    assert shares.divide(4, []) == {}
    assert shares.divide(4, ["mail", "default"]) == {"mail": 3, "default": 1}


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("mail", ("mail", 1)), (" mail:3 ", ("mail", 3)), ("a.b-c:1", ("a.b-c", 1))],
)
def test_a_weight_stands_behind_a_colon(text: str, parsed: tuple[str, int]) -> None:
    assert parse_queue(text) == parsed


@pytest.mark.parametrize("text", ["", ":3", "mail:", "mail:0", "mail:x", "mail:-1", "mail:1001"])
def test_wrong_weights_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"weight of mail must be|has an empty name"):
        parse_queue(text)
