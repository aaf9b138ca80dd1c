"""The snippets of docs/moving.md run, and what its tables call ours is ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import broadcaster
from broadcaster import Job, PendingBatch
from broadcaster.cli.main import ELSEWHERE
from broadcaster.jobs import lifecycle
from broadcaster.jobs.options import WORDS
from tests.jobs.application import inline_application

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.jobs.application import JobsApplication


PAGE = (Path(__file__).parents[1] / "docs" / "moving.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
OURS = "\n".join(re.findall(r"^\|.*(?<!\\)\|(.*)\|$", PAGE, re.MULTILINE))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsApplication]:
    with inline_application(monkeypatch) as made:
        yield made


@pytest.mark.parametrize("code", SNIPPETS, ids=["laravel", "celery"])
def test_a_snippet_runs_as_it_stands(code: str, app: JobsApplication) -> None:
    names: dict[str, Any] = {"__name__": "tests.test_moving_doc"}

    exec(compile(code, "docs/moving.md", "exec"), names)
    names["place_order"]()


def test_options_that_are_named_exist() -> None:
    lines = re.findall(r"(?:class ShipOrder\(Job, |@job\()(.*?)\)[:`\n]", PAGE)
    named = set(re.findall(r"(\w+)=", " ".join(lines)))

    assert named
    assert named - set(WORDS) == set()


def test_functions_that_are_named_exist() -> None:
    called = set(re.findall(r"`@?([a-z_]+)\(", OURS)) - {"add"}
    known = {*dir(broadcaster), *dir(Job), *dir(PendingBatch)}

    assert called
    assert called - known == set()


def test_events_that_are_named_exist() -> None:
    named = {name for name in re.findall(r"\bJob[A-Z]\w+", OURS) if name != "JobFailed"}

    assert {name for name in named if not hasattr(lifecycle, name)} == set()


def test_the_command_line_knows_the_names_of_artisan_that_the_page_has() -> None:
    named = set(re.findall(r"\b((?:queue|schedule|horizon|reverb):[a-z-]+)", PAGE))

    assert named
    assert named - set(ELSEWHERE) == set()
