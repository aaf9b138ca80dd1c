"""The benchmarks run, and say what their goals are; no time is asserted."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.fanout import measure
from benchmarks.figures import FIGURES, Report, as_json, as_table
from benchmarks.rounds import Sizes

if TYPE_CHECKING:
    from benchmarks.figures import Figure

TINY = Sizes(rounds=1, seconds=0.1, connections=50, idle=100, joining=50)


def figure(name: str) -> Figure:
    return next(each for each in FIGURES if each.name == name)


@pytest.fixture(scope="module")
def report() -> Report:
    if not sys.platform.startswith("linux"):
        pytest.skip("the benchmarks need Linux")
    if shutil.which("cc") is None:
        pytest.skip("the benchmarks need a C compiler")
    return measure(TINY)


@pytest.mark.alone
@pytest.mark.process
@pytest.mark.redis
def test_one_tiny_round_yields_every_figure(report: Report) -> None:
    assert [each.name for each in FIGURES if report.median(each.name) is None] == [], report.notes


@pytest.mark.alone
@pytest.mark.process
@pytest.mark.redis
def test_every_measured_value_is_positive_except_memory_that_was_free_already(
    report: Report,
) -> None:
    [values] = report.rounds
    assert {
        name: value
        for name, value in values.items()
        if value is not None and value <= 0 and name not in ("memory", "single_user_us")
    } == {}


@pytest.mark.alone
@pytest.mark.process
@pytest.mark.redis
def test_the_report_names_the_machine_and_every_figure(report: Report) -> None:
    table = as_table(report)
    assert "Python: " in table
    assert "machine: " in table
    assert all(each.title in table for each in FIGURES)


def test_the_median_is_taken_over_the_rounds_that_measured() -> None:
    report = Report({}, rounds=[{"single": 1.0}, {"single": 3.0}, {"single": 1.3}])
    assert report.median("single") == 1.3
    assert report.verdict(figure("single")) == "met"


def test_a_goal_that_was_missed_is_named() -> None:
    report = Report({}, rounds=[{"single": 1.36}])
    assert report.missed == [figure("single").title]
    assert figure("single").title in as_table(report).splitlines()[-1]


def test_a_figure_measured_in_half_of_the_rounds_or_fewer_is_invalid() -> None:
    report = Report({}, rounds=[{"single": 1.0}, {"single": None}])
    assert report.median("single") is None
    assert report.verdict(figure("single")) == "INVALID"
    assert figure("single").title in report.invalid


def test_either_of_the_two_bounds_of_the_redis_figure_is_enough() -> None:
    slow_machine = Report({}, rounds=[{"redis": 6.0, "redis_per_s": 0.5}])
    assert slow_machine.verdict(figure("redis_per_s")) == "met"
    assert slow_machine.verdict(figure("redis")) == "met"
    too_slow = Report({}, rounds=[{"redis": 4.0, "redis_per_s": 0.5}])
    assert too_slow.verdict(figure("redis_per_s")) == "MISSED"
    assert too_slow.verdict(figure("redis")) == "MISSED"


def test_programs_read_goals_and_verdicts_from_json() -> None:
    found = as_json(Report({}, rounds=[{"memory": 2.0}]))["figures"]["memory"]
    assert (found["goal"], found["median"], found["verdict"]) == (3, 2.0, "met")
