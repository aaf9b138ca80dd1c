"""The bounded version of `make fuzz`: every parser, a few thousand inputs each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz import run
from tests.fuzz.target import Target
from tests.fuzz.wire_targets import client_message

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = 1_200


@pytest.mark.parametrize("name", run.TARGETS)
def test_a_parser_keeps_its_promises(name: str) -> None:
    """Total, bounded, the same answer however it is cut, and no state between inputs."""
    outcome = run.fuzz(run.TARGETS[name], INPUTS, seed=7)

    assert outcome.failure is None, f"{outcome.failure} from: {outcome.failure.error!r}"
    assert outcome.inputs >= INPUTS
    assert outcome.kinds > 1, "an input of every seed is the least that it distinguishes"


@pytest.mark.parametrize(
    "path",
    sorted(run.CORPUS.rglob("*.bin")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_what_was_found_once_stays_repaired(path: Path) -> None:
    assert run.replay(path) == 0


def fragile() -> Target:
    def check(data: bytes) -> object:
        assert b"\xff" not in data
        return len(data) % 3

    return Target(
        name="fragile", check=check, inputs=client_message.inputs, seeds=client_message.seeds
    )


def test_a_broken_promise_is_found_made_small_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "CORPUS", tmp_path)
    monkeypatch.setitem(run.TARGETS, "fragile", fragile())

    code = run.main(["--target", "fragile", "--inputs", "2000", "--seed", "1"])

    [kept] = tmp_path.rglob("*.bin")
    assert code == 1
    assert kept.read_bytes() == b"\xff"
    assert f"--replay {kept}" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        run.replay(kept)


def test_the_same_seed_gives_the_same_inputs() -> None:
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        watched = Target(
            name="watched",
            check=seen.append,
            inputs=client_message.inputs,
            seeds=client_message.seeds,
        )
        run.fuzz(watched, 500, seed)
        return seen

    assert inputs(3) == inputs(3)
    assert inputs(3) != inputs(4)


def test_a_run_prints_counts_times_and_its_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--target", "envelope", "--inputs", "200", "--seed", "5"]) == 0

    shown = capsys.readouterr().out
    assert "envelope" in shown
    assert "inputs" in shown
    assert "seed 5" in shown
    assert "no input broke a promise" in shown
