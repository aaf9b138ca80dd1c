"""The project's source as the architecture tests see it: modules, areas, imports."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
# Folder that holds an import package, and the package.
PACKAGES = (("", "broadcaster"), ("auth", "broadcaster_auth"))


@dataclass(frozen=True)
class Import:
    """One imported module: where, whether types only, whether inside a function."""

    name: str
    line: int
    typing_only: bool
    in_function: bool


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    name: str
    shown: str
    tree: ast.Module
    lines: int
    known: frozenset[str]

    @property
    def area(self) -> str:
        """The row of the layer table that this module belongs to."""
        return area_of(self.name)

    def imports(self) -> list[Import]:
        """Return everything this module imports, in order."""
        return sorted(_imports(self), key=lambda found: found.line)


def area_of(name: str) -> str:
    """Return the layer of a dotted module name of ours."""
    parts = name.split(".")
    if parts[0] == "broadcaster_auth":
        return "broadcaster_auth"
    if len(parts) == 1:
        return "api"
    if parts[1] == "__main__":
        return "cli"
    # settings.py, settings_sources.py, settings_values.py are one noun in three files.
    return "settings" if parts[1].startswith("settings") else parts[1]


def is_ours(name: str) -> bool:
    """Whether a dotted name belongs to this project."""
    return name.split(".", maxsplit=1)[0] in {package for _, package in PACKAGES}


def load(root: Path = PROJECT) -> dict[str, Module]:
    """Return every module of the project under `root`, parsed once, by dotted name."""
    return dict(_parsed(root))


@cache
def _parsed(root: Path) -> dict[str, Module]:
    paths = {}
    for folder, package in PACKAGES:
        base = root / folder
        for path in sorted((base / package).rglob("*.py")):
            dotted = ".".join(path.relative_to(base).with_suffix("").parts)
            paths[dotted.removesuffix(".__init__")] = path
    known = frozenset(paths)
    return {
        name: parse(name, path.read_text(encoding="utf-8"), str(path.relative_to(root)), known)
        for name, path in paths.items()
    }


def parse(name: str, text: str, shown: str, known: frozenset[str]) -> Module:
    """Parse one module; `known` are the names of all modules of the project."""
    return Module(name, shown, ast.parse(text), text.count("\n"), known)


def _imports(module: Module) -> Iterator[Import]:
    for node, typing_only, in_function in _walk(module.tree, typing_only=False, in_function=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, typing_only, in_function)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(_target(module, node, alias), node.lineno, typing_only, in_function)


def _target(module: Module, node: ast.ImportFrom, alias: ast.alias) -> str:
    """Return what ``from x import y`` loads: ``x.y`` if that is a module of ours, else ``x``."""
    if node.level:
        return f"relative import: {'.' * node.level}{node.module or ''}"
    name = node.module or ""
    inner = f"{name}.{alias.name}"
    return inner if inner in module.known else name


def _walk(
    node: ast.AST, *, typing_only: bool, in_function: bool
) -> Iterator[tuple[ast.AST, bool, bool]]:
    """Walk the tree knowing whether a node is for type checkers or inside a function."""
    for child in ast.iter_child_nodes(node):
        yield child, typing_only, in_function
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for part in child.body:
                yield part, True, in_function
                yield from _walk(part, typing_only=True, in_function=in_function)
            continue
        inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _walk(child, typing_only=typing_only, in_function=inside)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
