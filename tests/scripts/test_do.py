from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from scripts import do, running

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def tool(folder: Path, name: str, says: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)


def test_a_missing_node_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    problem = do.find_node_problem()

    assert "node is missing" in problem
    assert "apt-get install -y nodejs npm" in problem


@pytest.mark.parametrize(
    ("version", "fine"),
    [("v18.20.4", False), ("v20.18.9", False), ("v20.19.0", True), ("v24.1.0", True)],
)
def test_node_must_be_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, *, fine: bool
) -> None:
    tool(tmp_path, "node", version)
    tool(tmp_path, "npm", "11.0.0")
    monkeypatch.setenv("PATH", str(tmp_path))

    problem = do.find_node_problem()

    assert (problem == "") is fine
    assert fine or version.lstrip("v") in problem


def test_a_missing_venv_is_named_with_the_package_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)

    with pytest.raises(SystemExit):
        do.explain_missing_venv()

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt-get install -y python{version}-venv" in capfd.readouterr().err


def test_a_newer_python_on_the_path_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("python3.9", "python3.11", "python3.12"):
        tool(tmp_path, name, "hello")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert do.find_newer_python() == str(tmp_path / "python3.12")


def test_a_named_chromium_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool(tmp_path, "my-chromium", "hello")
    monkeypatch.setenv("CHROMIUM_PATH", str(tmp_path / "my-chromium"))

    assert do.find_chromium() == str(tmp_path / "my-chromium")


def test_a_current_stamp_spares_the_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[list[str]] = []
    (tmp_path / "bin").mkdir()
    for name in ("python", "broadcaster"):
        tool(tmp_path / "bin", name, "hello")
    monkeypatch.setattr(do, "VENV", tmp_path)
    monkeypatch.setattr(do, "BIN", tmp_path / "bin")
    monkeypatch.setattr(do, "must_quietly", ran.append)

    do.make_venv()
    do.make_venv()

    assert len(ran) == 1
    assert ran[0][-1] == ".[dev]"


def test_the_script_needs_nothing_but_the_standard_library() -> None:
    """It makes the environment in which everything else is installed."""
    script = running.ROOT / "scripts" / "do.py"

    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(script), "--help"], capture_output=True, check=False
    )

    assert answer.returncode == 0, answer.stderr


def test_an_option_of_another_verb_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program behind the verb knows whether it has it; nothing is done as if it were not said."""
    called: list[list[str]] = []

    def call(command: list[str], **_: object) -> int:
        called.append(command)
        return 2

    monkeypatch.setattr(do, "make_venv", lambda: None)
    monkeypatch.setattr(do, "call", call)
    monkeypatch.setattr(sys, "argv", ["do.py", "fuzz", "--quick", "--seed", "7"])

    assert do.main() == 2
    assert called == [[do.python(), "-m", "tests.fuzz.run", "--quick", "--seed", "7"]]


def test_the_queue_has_benchmarks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def call(command: list[str], **_: object) -> int:
        called.append(command)
        return 0

    monkeypatch.setattr(do, "make_venv", lambda: None)
    monkeypatch.setattr(do, "call", call)
    monkeypatch.setattr(sys, "argv", ["do.py", "bench", "queue", "--quick", "--rounds", "3"])

    assert do.main() == 0
    module = "benchmarks.queue.compare"
    assert called == [[do.python(), "-m", module, "--quick", "--rounds", "3"]]


@pytest.mark.parametrize(
    "words", [["clean", "--quick"], ["check", "--quick"], ["test", "--slow"], ["check", "x"]]
)
def test_an_option_that_nothing_would_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setattr(do, "make_venv", lambda: pytest.fail("it went on"))
    monkeypatch.setattr(do, "clean", lambda: pytest.fail("it went on"))
    monkeypatch.setattr(sys, "argv", ["do.py", *words])

    with pytest.raises(SystemExit) as caught:
        do.main()

    assert caught.value.code == 2
    assert f"{words[0]} takes no {words[1]}" in capsys.readouterr().err


def test_every_test_is_in_one_group_and_measuring_ones_have_nothing_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(do, "find_node_problem", lambda: "no node")
    groups = {group.name: group.command for group in do.test_groups()}
    chosen = {name: command[-1] for name, command in groups.items() if "pytest" in command}
    marks = ("redis", "process", "browser", "alone")

    for number in range(2 ** len(marks)):
        has = {mark: bool(number >> place & 1) for place, mark in enumerate(marks)}
        [name] = [name for name, wanted in chosen.items() if eval(wanted, {}, has)]
        assert ("-n" not in groups[name]) or not has["alone"]


@pytest.mark.parametrize("verb", do.VERBS)
def test_make_has_every_verb(verb: str) -> None:
    answer = subprocess.run(
        ["make", "-n", verb], cwd=running.ROOT, capture_output=True, text=True, check=True
    )

    assert f"scripts/do.py {verb}" in answer.stdout


def test_ci_runs_the_readme_s_test_command() -> None:
    text = (running.ROOT / ".ci" / "run").read_text()

    assert "\nmake test\n" in text
    assert "make test" in (running.ROOT / "README.md").read_text()
    assert (running.ROOT / ".ci" / "run").stat().st_mode & 0o111
