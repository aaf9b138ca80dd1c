"""
What is reported: figures with their goals, as medians over rounds.

Microseconds move with whatever else a machine does; both sides of a ratio are measured in
the same round, one after the other, and the median is taken of the rounds' ratios.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One line of the report.

    Attributes:
        name: key in a round's values.
        title: what it is.
        unit: printed after the value.
        goal: the bound, None where the figure only informs.
        at_most: whether the goal is an upper bound.
        digits: after the point.
    """

    name: str
    title: str
    unit: str = ""
    goal: float | None = None
    at_most: bool = True
    digits: int = 2

    def met(self, value: float) -> bool | None:
        """Whether `value` meets the goal; None without one."""
        if self.goal is None:
            return None
        return value <= self.goal if self.at_most else value >= self.goal

    def shown(self, value: float) -> str:
        """Return `value` with its unit."""
        return f"{value:,.{self.digits}f}{self.unit}"

    def shown_goal(self) -> str:
        """Return the goal as text."""
        if self.goal is None:
            return "-"
        return f"{'<=' if self.at_most else '>='} {self.shown(self.goal)}"


FIGURES = (
    Figure("single", "one message, CPU per delivery, ours / C", "x", 1.35),
    Figure("others", "the same, leaving one socket out, ours / C", "x"),
    Figure("joined", "ten joined messages, C single / ours", "x", 5, at_most=False),
    Figure("redis", "publish script, 20 in flight, C single / ours", "x", 5, at_most=False),
    Figure("redis_per_s", "    deliveries/s of one core", " M", 1, at_most=False),
    Figure("plain", "plain PUBLISH, 20 in flight, C single / ours", "x", 5, at_most=False),
    Figure("plain_per_s", "    deliveries/s of one core", " M", 1, at_most=False),
    Figure("memory", "resident memory per idle subscriber", " KiB", 3),
    Figure("connect", "connect + subscribe, ours / Starlette's accept", "x", 0.2),
    Figure("connect_many", "the same, many on fresh processes", "x", 0.2),
    Figure("slow", "1 % never read: others' deliveries per CPU time", "x", 0.95, at_most=False),
    Figure("slow_wall", "    by wall time (noisy)", "x"),
    Figure("redis_cpu", "Redis, CPU per publish, whole process", " us", 30, digits=1),
    Figure("redis_script", "    inside the script, by Redis's own clock", " us", digits=1),
    Figure("http_p50", "HTTP publish to receipt, p50", " ms"),
    Figure("http_p99", "HTTP publish to receipt, p99", " ms"),
    Figure("http_cpu", "HTTP publish, CPU of the gateway", " us", digits=0),
    Figure("c_us", "  raw: C, one message, per delivery", " us"),
    Figure("single_us", "  raw: ours, one message, per delivery", " us"),
    Figure("single_user_us", "  raw:   of it outside the kernel (rough)", " us"),
    Figure("others_us", "  raw: ours, leaving one out, per delivery", " us"),
    Figure("joined_us", "  raw: ours, ten joined, per delivery", " us"),
    Figure("redis_us", "  raw: ours, publish script, per delivery", " us"),
    Figure("plain_us", "  raw: ours, plain PUBLISH, per delivery", " us"),
    Figure("connect_us", "  raw: ours, connect + subscribe", " us", digits=1),
    Figure("starlette_us", "  raw: Starlette, accept", " us", digits=1),
    Figure("starlette_kib", "  raw: Starlette, memory per connection", " KiB", digits=1),
)
# Either of these bounds is enough for both.
EITHER = (("redis", "redis_per_s"), ("plain", "plain_per_s"))


@dataclass(slots=True)
class Report:
    """
    All rounds of one run.

    Attributes:
        facts: about the machine and the versions.
        rounds: values by figure name, one mapping per round; None is no measurement.
        notes: what a reader must know.
    """

    facts: dict[str, str]
    rounds: list[dict[str, float | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[float]:
        """Return what was measured under `name`, without what was no measurement."""
        return [value for one in self.rounds if (value := one.get(name)) is not None]

    def median(self, name: str) -> float | None:
        """Return the median, None when fewer than half of the rounds measured it."""
        values = self.values(name)
        return statistics.median(values) if len(values) * 2 > len(self.rounds) else None

    def verdict(self, figure: Figure) -> str:
        """Return ``met``, ``MISSED``, ``INVALID``, or ``-`` for a figure without a goal."""
        value = self.median(figure.name)
        if value is None:
            return "INVALID"
        met = figure.met(value)
        if met is None:
            return "-"
        partners = [name for pair in EITHER if figure.name in pair for name in pair]
        return "met" if met or any(self._meets(name) for name in partners) else "MISSED"

    @property
    def missed(self) -> list[str]:
        """Titles of the goals that were missed."""
        return [f.title.strip() for f in FIGURES if self.verdict(f) == "MISSED"]

    @property
    def invalid(self) -> list[str]:
        """Titles of the figures that were not measured."""
        return [f.title.strip() for f in FIGURES if self.verdict(f) == "INVALID"]

    def _meets(self, name: str) -> bool:
        figure = next(f for f in FIGURES if f.name == name)
        value = self.median(name)
        return value is not None and figure.met(value) is True


def as_table(report: Report) -> str:
    """Return the report for people."""
    rows = [("figure", "goal", "median", "lowest", "highest", "")]
    for figure in FIGURES:
        values = report.values(figure.name)
        cells = _cells(figure, report.median(figure.name), values)
        rows.append((figure.title, figure.shown_goal(), *cells, report.verdict(figure)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    facts = [f"{name}: {value}" for name, value in report.facts.items()]
    notes = [f"note: {note}" for note in dict.fromkeys(report.notes)]
    missed = report.missed
    ending = f"goals missed: {', '.join(missed)}" if missed else "all goals met"
    if report.invalid:
        ending += f"; no measurement: {', '.join(report.invalid)}"
    return "\n".join([*facts, "", *lines, "", *notes, ending])


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "facts": report.facts,
        "rounds": report.rounds,
        "figures": {
            figure.name: {
                "title": figure.title.strip(),
                "unit": figure.unit.strip(),
                "goal": figure.goal,
                "median": report.median(figure.name),
                "verdict": report.verdict(figure),
            }
            for figure in FIGURES
        },
        "notes": list(dict.fromkeys(report.notes)),
    }


def _cells(figure: Figure, median: float | None, values: Sequence[float]) -> tuple[str, str, str]:
    show: Callable[[float], str] = figure.shown
    if not values:
        return ("-", "-", "-")
    return ("-" if median is None else show(median), show(min(values)), show(max(values)))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if column in (0, len(row) - 1) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()
