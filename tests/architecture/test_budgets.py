"""Short modules, short functions, few paths, everything public documented."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.architecture import budget_rules, source_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.architecture.source_tree import Module

RULES = [
    budget_rules.long_modules,
    budget_rules.long_functions,
    budget_rules.tangled_functions,
    budget_rules.undocumented,
]


@pytest.fixture(scope="module")
def project() -> dict[str, Module]:
    return source_tree.load()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_within_the_budget(
    project: dict[str, Module], rule: Callable[[dict[str, Module]], list[str]]
) -> None:
    assert rule(project) == []


@pytest.mark.parametrize("folder", ["scripts", "benchmarks", "examples"])
def test_scripts_keep_within_the_budgets_of_size(folder: str) -> None:
    known: frozenset[str] = frozenset()
    modules = {
        str(path): source_tree.parse(path.stem, path.read_text(), str(path), known)
        for path in (source_tree.PROJECT / folder).rglob("*.py")
    }

    rules = RULES[:3]

    assert [line for rule in rules for line in rule(modules)] == []


def sample(code: str) -> dict[str, Module]:
    name = "broadcaster.sample"
    return {name: source_tree.parse(name, code, "broadcaster/sample.py", frozenset({name}))}


def function(code: str) -> budget_rules.Function:
    return next(budget_rules.functions(ast.parse(code)))


def test_a_long_module_is_named() -> None:
    assert budget_rules.long_modules(sample("x = 1\n" * 401)) == [
        "broadcaster/sample.py: 401 lines, 400 are allowed"
    ]


def test_a_long_function_is_named() -> None:
    code = "def f():\n" + "    x = 1\n" * 50

    assert budget_rules.long_functions(sample(code)) == [
        "broadcaster/sample.py:1: f has 51 lines, 50 are allowed"
    ]


def test_a_docstring_is_free() -> None:
    code = "def f():\n    '''One.\n\n    Two.\n    '''\n    return 1\n"

    assert budget_rules.length(function(code)) == 2


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ("return 1", 1),
        ("if a: pass\n    elif b: pass\n    else: pass", 3),
        ("for x in y:\n        while z: pass", 3),
        ("try: pass\n    except A: pass\n    except B: pass\n    finally: pass", 3),
        ("match a:\n        case 1: pass\n        case 2: pass\n        case _: pass", 3),
    ],
)
def test_paths_are_counted(body: str, paths: int) -> None:
    assert budget_rules.complexity(function(f"def f():\n    {body}\n")) == paths


def test_a_tangled_function_is_named() -> None:
    code = "def f():\n" + "    if a: pass\n" * 10

    assert budget_rules.tangled_functions(sample(code)) == [
        "broadcaster/sample.py:1: f has complexity 11, 10 is allowed"
    ]


def test_public_things_without_docstring_are_named() -> None:
    code = "class A:\n    def f(self): ...\n    def _g(self): ...\ndef _h(): ...\n"

    names = [line.split()[1] for line in budget_rules.undocumented(sample(code))]

    assert names == ["broadcaster.sample", "broadcaster.sample.A", "broadcaster.sample.A.f"]
