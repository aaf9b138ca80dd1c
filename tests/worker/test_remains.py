"""What jobs leave behind in their process; see `test_processes` for real ones."""

from __future__ import annotations

import locale
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from broadcaster.worker import remains
from broadcaster.worker.remains import Remains

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECURSION = sys.getrecursionlimit()


@pytest.fixture(autouse=True)
def childless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of other tests are none of a job."""
    monkeypatch.setattr(remains, "_has_children", lambda: False)


def test_a_process_is_not_worn_by_what_is_put_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, umask = os.getcwd(), os.umask(0o022)  # noqa: PTH109 - what it puts back
    found = Remains(())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEFT", "1")
    os.umask(0)

    assert found.why_worn() == ""

    assert os.getcwd() == folder  # noqa: PTH109 - as above
    assert "LEFT" not in os.environ
    assert os.umask(umask) == 0o022


@pytest.mark.parametrize(
    ("change", "undo", "why"),
    [
        (
            lambda: sys.setrecursionlimit(5_000),
            lambda: sys.setrecursionlimit(RECURSION),
            "it has changed: recursion limit",
        ),
        (
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}),
            lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1}),
            "it has changed: signal mask",
        ),
        (
            lambda: locale.setlocale(locale.LC_NUMERIC, "C.UTF-8"),
            lambda: locale.setlocale(locale.LC_NUMERIC, "C"),
            "it has changed: locale",
        ),
    ],
)
def test_a_process_is_worn_by_what_changes_how_it_runs_jobs(
    change: Callable[[], object], undo: Callable[[], object], why: str
) -> None:
    found = Remains(())
    try:
        change()
        assert found.why_worn() == why
    finally:
        undo()


def test_a_process_is_worn_by_growing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "resident_bytes", iter([1_000, 1_001, 1_002]).__next__)
    monkeypatch.setattr(remains, "MAX_GROWTH", 1)
    found = Remains(())

    assert found.why_worn() == ""
    assert found.why_worn() == "it has grown by more than 0 MiB"


def test_a_process_is_worn_by_a_folder_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    found = Remains(())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").rmdir()

    assert found.why_worn() == "what it has left cannot be told: FileNotFoundError"
