"""A small attack of every kind at once: memory and loss are asserted, time is not."""

from __future__ import annotations

import sys

import pytest

from benchmarks.hostile import MAX_GROWTH_BYTES, Phase, Plan, Report, as_text, measure, verdict

TINY = Plan(attackers=100, clients=3, a_second=20, rounds=1, quiet=1, attack=10)


@pytest.mark.alone
@pytest.mark.process
@pytest.mark.redis
def test_the_others_get_everything_and_the_process_stays_small() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the benchmarks need Linux")
    report = measure(TINY)

    assert report.lost == 0, as_text(report)
    assert report.growth < MAX_GROWTH_BYTES
    assert report.attackers["bad_auth in"] == report.attackers["bad_auth out"] == 20
    assert report.attackers["garbage in"] == report.attackers["garbage out"] == 20
    assert [phase.published for phase in report.phases] == [20, 200]


def made(quiet: list[float], attack: list[float], *, lost: int = 0) -> Report:
    phases: list[Phase] = []
    for calm, busy in zip(quiet, attack, strict=True):
        phases += [Phase("quiet", 1, [calm]), Phase("attack", 1, [busy], lost)]
    return Report(phases, {"before": 10, "attack 1": 11, "after": 10})


@pytest.mark.parametrize(
    ("report", "met"),
    [
        (made([1.0], [1.9]), [True, True, True]),
        (made([1.0], [2.1]), [True, True, False]),
        (made([1.0, 1.0, 1.0], [9.0, 1.5, 1.2]), [True, True, True]),
        (made([1.0], [1.0], lost=1), [False, True, True]),
    ],
)
def test_a_verdict_names_each_goal_and_one_bad_round_is_none(
    report: Report, met: list[bool]
) -> None:
    assert [reached for _, reached in verdict(report)] == met
    assert "MISSED" in as_text(report) or all(met)
