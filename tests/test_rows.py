"""docs/rows.md maps every row of the queue's feature list to tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = range(1, 61)

_LINE = re.compile(r"\| (?P<row>[0-9, -]+) \| (?P<feature>.+) \| (?P<tests>.+) \|")
_TEST = re.compile(r"`(?P<file>tests/[^`:]+\.py)(?:::(?P<name>[^`\[]+)(?:\[[^`]*\])?)?`")


def lines() -> list[tuple[set[int], str]]:
    """Return rows and tests of each line of the map."""
    text = (ROOT / "docs" / "rows.md").read_text(encoding="utf-8")
    found: list[tuple[set[int], str]] = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is not None:
            found.append((rows_of(match["row"]), match["tests"]))
    return found


def rows_of(said: str) -> set[int]:
    rows: set[int] = set()
    for part in said.split(","):
        first, _, last = part.strip().partition("-")
        rows |= set(range(int(first), int(last or first) + 1))
    return rows


@cache
def names_in(file: Path) -> frozenset[str]:
    """Return the names of functions and classes of a file, ``Class::method`` among them."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
            inner = [
                each
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            names |= {f"{node.name}::{each.name}" for each in inner}
    return frozenset(names)


def test_every_test_of_the_map_is_there() -> None:
    wrong: list[str] = []
    for rows, text in lines():
        found = list(_TEST.finditer(text))
        if not found:
            wrong.append(f"row {sorted(rows)} names no test: {text}")
        for test in found:
            file = ROOT / test["file"]
            if not file.is_file() or (test["name"] and test["name"] not in names_in(file)):
                wrong.append(f"row {sorted(rows)}: {test[0]} is not there")

    assert wrong == []


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test(row: int) -> None:
    assert any(row in rows for rows, _ in lines()), f"no line of docs/rows.md is about row {row}"
