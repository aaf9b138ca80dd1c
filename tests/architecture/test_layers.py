"""The layer table is law; and the checks that enforce it are checked themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.architecture import layer_rules, source_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.architecture.source_tree import Module

RULES = [
    layer_rules.unknown_areas,
    layer_rules.layer_violations,
    layer_rules.owner_violations,
    layer_rules.purity_violations,
    layer_rules.hub_violations,
    layer_rules.environment_violations,
    layer_rules.lazy_import_violations,
    layer_rules.name_violations,
    layer_rules.cycles,
]


@pytest.fixture(scope="module")
def project() -> dict[str, Module]:
    return source_tree.load()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_the_rule(
    project: dict[str, Module], rule: Callable[[dict[str, Module]], list[str]]
) -> None:
    assert rule(project) == []


def test_every_module_is_seen(project: dict[str, Module]) -> None:
    assert {"broadcaster", "broadcaster.errors", "broadcaster.protocol.channels"} <= set(project)
    assert "broadcaster_auth" in {name.split(".")[0] for name in project}


def test_the_table_has_no_cycle() -> None:
    below: dict[str, set[str]] = {area: set(row) for area, row in layer_rules.MAY_IMPORT.items()}

    while below:
        free = [area for area, row in below.items() if not row & below.keys()]
        assert free, f"cycle among {sorted(below)}"
        for area in free:
            del below[area]


VIOLATIONS = [
    ("protocol/signing.py", "import redis", "redis belongs to"),
    ("protocol/signing.py", "import time", "protocol is pure"),
    ("protocol/signing.py", "from asyncio import sleep", "protocol is pure"),
    ("protocol/signing.py", "from broadcaster.contracts import apps", "protocol must not import"),
    ("hub/sample.py", "async def join(): ...", "hub must not await"),
    ("hub/sample.py", "from broadcaster.drivers import redis", "hub must not import"),
    ("drivers/sample.py", "import broadcaster.jobs", "drivers must not import broadcaster.jobs"),
    ("drivers/sample.py", "import requests", "requests belongs to nobody"),
    ("gateway/sample.py", "import broadcaster.worker", "gateway must not import"),
    ("events/sample.py", "from broadcaster import gateway", "events must not import"),
    ("jobs/sample.py", "import starlette.requests", "starlette belongs to"),
    ("gateway/sample.py", "import jwt", "jwt belongs to broadcaster_auth.tokens"),
    ("gateway/sample.py", "import broadcaster_auth", "gateway must not import broadcaster_auth"),
    ("gateway/sample.py", "import broadcaster.wiring", "gateway must not import"),
    ("events/sample.py", "import broadcaster.testing", "events must not import"),
    ("gateway/sample.py", "import os\nos.environ['A']", "only settings read the environment"),
    ("gateway/sample.py", "from os import getenv", "only settings read the environment"),
    ("gateway/sample.py", "def f():\n    import json", "inside a function"),
    ("gateway/sample.py", "from .app import x", "relative import"),
    ("gateway/utils.py", "", "names no noun"),
    ("fanout/sample.py", "", "add 'fanout' to MAY_IMPORT"),
    (
        "gateway/sample.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from broadcaster.worker import x",
        "gateway must not import broadcaster.worker",
    ),
]


@pytest.mark.parametrize(("file", "code", "named"), VIOLATIONS)
def test_a_violation_is_named(project: dict[str, Module], file: str, code: str, named: str) -> None:
    """A check that cannot fail would be worth nothing."""
    name = f"broadcaster.{file.removesuffix('.py').replace('/', '.')}"
    known = frozenset({*project, name, "broadcaster.gateway.app"})
    sample = {name: source_tree.parse(name, f"{code}\n", f"broadcaster/{file}", known)}

    complaints = [line for rule in RULES for line in rule(sample)]

    assert any(named in line and f"broadcaster/{file}" in line for line in complaints)


def test_a_cycle_is_named(tmp_path: Path) -> None:
    package = tmp_path / "broadcaster" / "hub"
    package.mkdir(parents=True)
    (package / "one.py").write_text("import broadcaster.hub.two\n")
    (package / "two.py").write_text("from broadcaster.hub import one\n")

    found = layer_rules.cycles(source_tree.load(tmp_path))

    assert found == ["broadcaster.hub.one -> broadcaster.hub.two -> broadcaster.hub.one"]
