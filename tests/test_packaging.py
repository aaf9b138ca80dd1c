"""What is shipped is what was tested: the wheel, installed elsewhere, out of the checkout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.process

PROJECT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    subprocess.run([*build, str(PROJECT)], check=True, capture_output=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; its dependencies are borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True
    )
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder


@pytest.fixture
def ask(environment: Path, tmp_path: Path) -> Callable[[str], object]:
    """Run code in that environment, outside the checkout, and return what it prints as JSON."""

    def run(code: str) -> object:
        answer = subprocess.run(
            [str(environment / "bin" / "python"), "-c", code],
            cwd=tmp_path,
            env={},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        result: object = json.loads(answer.stdout)
        return result

    return run


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def data_files(suffix: str) -> set[str]:
    return {
        str(path.relative_to(PROJECT))
        for path in (PROJECT / "broadcaster").rglob(f"*{suffix}")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_two_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(wheel)}

    assert tops == {
        "broadcaster",
        "broadcaster_auth",
        f"broadcaster_server-{VERSION}.dist-info",
    }


def test_both_packages_say_that_they_are_typed(wheel: Path) -> None:
    assert {"broadcaster/py.typed", "broadcaster_auth/py.typed"} <= names_in(wheel)


@pytest.mark.parametrize("suffix", [".lua", ".html", ".js", ".css", ".svg"])
def test_files_that_are_no_code_are_shipped(wheel: Path, suffix: str) -> None:
    files = data_files(suffix)

    assert files
    assert files <= names_in(wheel)


def test_pytest_finds_the_fixtures(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"broadcaster_server-{VERSION}.dist-info/entry_points.txt").decode()

    assert "[pytest11]\nbroadcaster = broadcaster.testing.plugin\n" in text


def test_the_licences_are_shipped(wheel: Path) -> None:
    names = names_in(wheel)

    assert f"broadcaster_server-{VERSION}.dist-info/licenses/LICENSE" in names
    assert any("vendor" in name and "LICENSE" in name.upper() for name in names)


@pytest.mark.parametrize("package", ["broadcaster", "broadcaster_auth"])
def test_every_public_name_is_there(ask: Callable[[str], object], package: str) -> None:
    code = (
        f"import json, {package} as p; "
        "print(json.dumps([p.__file__, [n for n in p.__all__ if not hasattr(p, n)]]))"
    )

    found = ask(code)

    assert isinstance(found, list)
    assert not str(found[0]).startswith(str(PROJECT))
    assert found[1] == []


def test_every_module_can_be_imported(ask: Callable[[str], object]) -> None:
    code = (
        "import importlib, json, pkgutil, broadcaster, broadcaster_auth\n"
        "names = [m.name for p in (broadcaster, broadcaster_auth)"
        " for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.')]\n"
        # What sets Django up is for Django projects alone.
        "apart = ('__main__', '.django_setup')\n"
        "[importlib.import_module(n) for n in names if not n.endswith(apart)]\n"
        "print(json.dumps(len(names)))"
    )

    count = ask(code)

    assert isinstance(count, int)
    assert count > 40


def test_no_top_level_module_called_auth_is_installed(ask: Callable[[str], object]) -> None:
    """A site's own auth.py must neither shadow nor be shadowed."""
    code = "import importlib.util, json; print(json.dumps(importlib.util.find_spec('auth')))"

    assert ask(code) is None


def test_the_console_command_runs(environment: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        [str(environment / "bin" / "broadcaster"), "version"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )

    assert VERSION in answer.stdout


def test_an_unconfigured_command_says_what_to_set(environment: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        [str(environment / "bin" / "broadcaster"), "trigger", "orders", "Sample"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 78
    assert "BROADCASTER_APP_ID" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_changelog_begins_with_this_version() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text()

    first = re.search(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)

    assert first is not None
    assert first[1] == VERSION
