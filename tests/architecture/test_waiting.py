"""Waiting with a time limit must not cost a cancellation."""

from __future__ import annotations

import ast

import pytest

from tests.architecture import source_tree


def waits(tree: ast.AST) -> list[int]:
    """Return lines that use `asyncio.wait_for`, which drops cancellations on Python 3.11."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "wait_for")
        or (isinstance(node, ast.alias) and node.name == "wait_for")
    ]


def test_time_limits_are_set_with_asyncio_timeout() -> None:
    found = [
        f"{module.shown}:{line}: use `async with asyncio.timeout(...)`"
        for module in source_tree.load().values()
        for line in waits(module.tree)
    ]

    assert found == []


@pytest.mark.parametrize("code", ["asyncio.wait_for(x, 1)", "from asyncio import wait_for"])
def test_a_violation_is_seen(code: str) -> None:
    assert waits(ast.parse(code)) == [1]
