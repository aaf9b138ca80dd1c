"""How long and how tangled a piece of source may be, and what must be documented."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.architecture.source_tree import Module

MODULE_LINES = 400
FUNCTION_LINES = 50
COMPLEXITY = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


def long_modules(modules: dict[str, Module]) -> list[str]:
    """Return modules over their budget of lines."""
    return [
        f"{module.shown}: {module.lines} lines, {MODULE_LINES} are allowed"
        for module in modules.values()
        if module.lines > MODULE_LINES
    ]


def long_functions(modules: dict[str, Module]) -> list[str]:
    """Return functions over their budget of lines, docstrings not counted."""
    return [
        f"{module.shown}:{node.lineno}: {node.name} has {length(node)} lines, "
        f"{FUNCTION_LINES} are allowed"
        for module in modules.values()
        for node in functions(module.tree)
        if length(node) > FUNCTION_LINES
    ]


def tangled_functions(modules: dict[str, Module]) -> list[str]:
    """Return functions with more independent paths than allowed."""
    return [
        f"{module.shown}:{node.lineno}: {node.name} has complexity {complexity(node)}, "
        f"{COMPLEXITY} is allowed"
        for module in modules.values()
        for node in functions(module.tree)
        if complexity(node) > COMPLEXITY
    ]


def undocumented(modules: dict[str, Module]) -> list[str]:
    """Return public modules, classes and functions that do not say what they are."""
    return [
        f"{module.shown}:{line}: {name} has no docstring"
        for module in modules.values()
        for name, line in _undocumented(module)
    ]


def functions(tree: ast.AST) -> Iterator[Function]:
    """Yield every function of a tree, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Return the lines of a function from ``def`` on, without its docstring."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is None:
        return whole
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1)


def complexity(function: Function) -> int:
    """
    Return the number of independent paths through a function.

    Source: T. McCabe, "A Complexity Measure" (1976); counted as the linter counts it:
    one, and one more for each branch, loop, handler and case.
    """
    return 1 + sum(_branches(node) for node in ast.walk(function))


def _branches(node: ast.AST) -> int:
    if isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While | ast.ExceptHandler):
        return 1
    if isinstance(node, ast.Try | ast.TryStar):
        return bool(node.orelse)
    if isinstance(node, ast.Match):
        return sum(not _always_matches(case) for case in node.cases)
    return 0


def _always_matches(case: ast.match_case) -> bool:
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def _undocumented(module: Module) -> Iterator[tuple[str, int]]:
    if ast.get_docstring(module.tree) is None:
        yield module.name, 1
    yield from _in_body(module.tree.body, module.name)


def _in_body(body: list[ast.stmt], owner: str) -> Iterator[tuple[str, int]]:
    for node in body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not _inherits_docstring(node):
            yield f"{owner}.{node.name}", node.lineno
        if isinstance(node, ast.ClassDef):
            yield from _in_body(node.body, f"{owner}.{node.name}")


def _inherits_docstring(node: Function | ast.ClassDef) -> bool:
    """Whether a decorator says that the text stands elsewhere: overload, override, a setter."""
    names = {"overload", "override", "setter", "deleter"}
    return any(
        (getattr(decorator, "attr", None) or getattr(decorator, "id", "")) in names
        for decorator in node.decorator_list
    )
