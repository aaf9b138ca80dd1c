"""The snippets of docs/jobs.md run: what they define is a job, what they call dispatches."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.jobs.options import WORDS
from broadcaster.jobs.outcome import GiveUp
from tests.jobs.application import inline_application

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.jobs.application import JobsApplication


PAGE = (Path(__file__).parents[1] / "docs" / "jobs.md").read_text()
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsApplication]:
    with inline_application(monkeypatch) as made:
        yield made


def snippet(word: str) -> dict[str, Any]:
    """Run the snippet that contains `word` and return what it defines."""
    (code,) = [code for code in FENCE.findall(PAGE) if word in code]
    names: dict[str, Any] = {"__name__": "tests.test_jobs_doc"}
    exec(compile(code, "docs/jobs.md", "exec"), names)
    return names


def test_every_snippet_runs(app: JobsApplication) -> None:
    snippets = FENCE.findall(PAGE)

    for code in snippets:
        exec(compile(code, "docs/jobs.md", "exec"), {"__name__": "tests.test_jobs_doc"})

    assert len(snippets) >= 8


def test_a_strict_type_checker_accepts_every_snippet(tmp_path: Path) -> None:
    for number, code in enumerate(FENCE.findall(PAGE)):
        (tmp_path / f"snippet_{number}.py").write_text(code, encoding="utf-8")
    root = Path(__file__).parents[1]
    options = ["--strict", "--config-file=", f"--cache-dir={root / '.mypy_cache'}"]

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, tmp_path.glob("*.py"))],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": f"{root}:{root / 'auth'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout


def test_the_first_snippet_dispatches(
    app: JobsApplication, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its function has a timeout, which means nothing to jobs that run here and now.
    names = snippet("class SendMail")

    names["place_order"]()
    asyncio.run(names["in_async_code"]())

    assert capsys.readouterr().out.splitlines() == [
        "mail to 7",
        "mail to 7",
        "report for 2026-11",
        "mail to 7",
    ]


def test_the_snippets_of_chains_and_batches_run_to_their_end(
    app: JobsApplication, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet("class Charge")["place_order"](7)
    names = snippet("class ImportChunk")
    batch_id = names["start_import"](5)

    names["show"](batch_id)

    assert capsys.readouterr().out.splitlines() == ["users 12 of 12 for 5"] * 2


def test_the_snippet_of_middleware_runs(
    app: JobsApplication, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet("class Timed")["Recount"](7).dispatch()

    assert capsys.readouterr().out.splitlines() == ["begins Recount(account=7)", "is done"]


def test_every_option_is_in_the_table() -> None:
    table = PAGE[PAGE.index("## Options") : PAGE.index("## Services")]

    assert [word for word in WORDS if f"`{word}`" not in table] == []


def test_every_reason_of_a_failure_is_in_the_table() -> None:
    source = (Path(__file__).parents[1] / "broadcaster" / "jobs" / "outcome.py").read_text()
    reasons = set(re.findall(rf'{GiveUp.__name__}\(\s*"(\w+)"', source)) | {"exception", "timeout"}

    assert {reason for reason in reasons if f"| `{reason}` |" not in PAGE} == set()
