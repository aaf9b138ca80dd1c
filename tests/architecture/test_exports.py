"""What the packages offer: complete, nameable, and cheap to import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import pytest

from tests.architecture import source_tree

PUBLIC = ["broadcaster", "broadcaster_auth"]
# Loading these costs more than the whole of broadcaster; they come when they are used.
HEAVY = ["redis", "starlette", "uvicorn", "httpx", "websockets", "jwt", "click"]


@pytest.mark.parametrize("package", PUBLIC)
def test_every_exported_name_exists(package: str) -> None:
    module = importlib.import_module(package)

    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PUBLIC)
def test_no_name_is_exported_twice(package: str) -> None:
    names = importlib.import_module(package).__all__

    assert len(names) == len(set(names))


@pytest.mark.parametrize("package", PUBLIC)
def test_everything_that_is_imported_for_users_is_exported(package: str) -> None:
    tree = source_tree.load()[package].tree
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("broadcaster")
        for alias in node.names
    }

    assert imported == set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PUBLIC)
def test_every_exported_thing_is_documented(package: str) -> None:
    module = importlib.import_module(package)

    plain = (str, int, float, tuple, dict, frozenset)
    things = {name: getattr(module, name) for name in module.__all__}
    assert [
        name
        for name, thing in things.items()
        if not isinstance(thing, plain) and not getattr(thing, "__doc__", None)
    ] == []


def test_package_files_hold_no_logic() -> None:
    """A package's `__init__` re-exports or is empty."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr, ast.If)
    modules = source_tree.load()
    parents = {name.rpartition(".")[0] for name in modules}
    complaints = [
        f"{module.shown}:{node.lineno}"
        for name, module in modules.items()
        if name in parents
        for node in module.tree.body
        if not isinstance(node, allowed) and getattr(node, "name", "") not in LAZY_HOOKS
    ]

    assert complaints == []


LAZY_HOOKS = {"__getattr__", "__dir__"}  # names loaded when they are asked for


def test_importing_broadcaster_stays_light() -> None:
    """A web application pays for what it uses: verbs first, Redis at the first broadcast."""
    code = f"import sys, broadcaster; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    environment = {"PYTHONPATH": f"{source_tree.PROJECT}:{source_tree.PROJECT / 'auth'}"}

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )

    assert answer.stdout.split() == []
