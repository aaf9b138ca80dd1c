"""A skip is allowed on a laptop and a failure where nothing may be missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent
PLUGGED = ("-p", "no_skips", "-p", "xdist.plugin", "-p", "no:cacheprovider")
pytestmark = pytest.mark.process

SKIPS = """
import pytest

@pytest.mark.skip(reason="no server here")
def test_marked(): ...

def test_inside():
    pytest.skip("no browser here")

def test_fine(): ...

@pytest.mark.xfail(reason="known", strict=True)
def test_known():
    assert False
"""


def run(folder: Path, code: str, ci: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_sample.py").write_text(code)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *PLUGGED, *more, "."],
        cwd=folder,
        # Other plugins have no part in it, and take a second to import.
        env={"PYTHONPATH": str(PLUGINS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one", "two"])
def test_a_skip_fails_under_ci(tmp_path: Path, processes: list[str]) -> None:
    answer = run(tmp_path, SKIPS, "true", *processes)

    assert answer.returncode == 1
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in answer.stdout
    assert "skipped under CI: Skipped: no server here" in answer.stdout


def test_a_skip_stays_a_skip_on_a_laptop(tmp_path: Path) -> None:
    answer = run(tmp_path, SKIPS, ci="")

    assert answer.returncode == 0
    assert "1 passed, 2 skipped, 1 xfailed" in answer.stdout


@pytest.mark.parametrize(
    ("ci", "code", "processes"),
    [("true", 2, []), ("", 5, []), ("true", 1, ["-n", "2"]), ("", 5, ["-n", "2"])],
)
def test_a_module_that_skips_itself_counts_too(
    tmp_path: Path, ci: str, code: int, processes: list[str]
) -> None:
    body = "import pytest\npytest.skip('no tool here', allow_module_level=True)\n"

    assert run(tmp_path, body, ci, *processes).returncode == code
