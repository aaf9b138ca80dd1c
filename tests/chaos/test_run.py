"""The command of `make chaos`: it says its seed first, and its exit code is its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos import run
from tests.chaos.history import Finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

FINDINGS = [Finding("lost job", f"p{number}", "it was never done") for number in range(50)]


def played(monkeypatch: pytest.MonkeyPatch, findings: list[Finding]) -> list[run.Options]:
    """Have runs end at once with `findings`; return the options with which they were made."""
    given: list[run.Options] = []

    async def at_once(
        options: run.Options, folder: Path, say: Callable[[str], None]
    ) -> run.Verdict:
        say(f"logs are in {folder.name}")
        given.append(options)
        return run.Verdict(findings=findings, numbers={"kills": 3}, seconds=1.5)

    monkeypatch.setattr(run, "chaos", at_once)
    monkeypatch.setattr(run, "mkdtemp", _nowhere)
    return given


def _nowhere(prefix: str) -> str:
    return f"{prefix}nowhere"


def test_a_run_without_findings_ends_with_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = played(monkeypatch, [])

    assert run.main(["--seed", "5", "--jobs", "10", "--cold", "0.5"]) == 0

    first, progress, numbers, verdict = capsys.readouterr().out.splitlines()
    assert first == "seed 5: again with  make chaos ARGS='--seed 5'"
    assert (progress, verdict) == ("logs are in chaos-nowhere", "every promise was kept")
    assert numbers == "seed 5: 3 kills; 1.5 s"
    assert given == [run.Options(seed=5, jobs=10, cold=0.5)]


def test_findings_are_shown_and_end_it_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played(monkeypatch, FINDINGS)

    assert run.main(["--seed", "5"]) == 1

    shown = capsys.readouterr().out
    assert "BROKEN  lost job: p0: it was never done" in shown
    assert "... and 10 more" in shown
    assert "50 promises were broken; logs are in" in shown


def test_without_a_seed_it_chooses_one_and_says_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = played(monkeypatch, [])

    run.main([])
    run.main([])

    first, second = (options.seed for options in given)
    assert first != second
    assert capsys.readouterr().out.startswith(f"seed {first}: ")
