"""How often a worker looks for garbage."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from broadcaster.worker.memory import COLLECT_AFTER, collect_seldom, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("found", "left"),
    [((700, 10, 10), (COLLECT_AFTER, 10, 10)), ((50_000, 5, 5), (50_000, 5, 5)), ((0, 1, 1),) * 2],
)
def test_garbage_is_looked_for_seldom_unless_somebody_has_said_otherwise(
    found: tuple[int, int, int], left: tuple[int, int, int]
) -> None:
    gc.set_threshold(*found)

    collect_seldom()

    assert gc.get_threshold() == left
    assert gc.get_freeze_count() > 0


def test_a_process_takes_some_ram() -> None:
    assert resident_bytes() > 1_000_000
