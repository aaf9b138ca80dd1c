from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from scripts import running

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def group(name: str, code: int) -> running.Group:
    return running.Group(name, [sys.executable, "-c", f"raise SystemExit({code})"])


def test_all_groups_run_whatever_fails(capfd: pytest.CaptureFixture[str]) -> None:
    groups = [group("first", 1), group("second", 0)]

    code = running.run_groups(groups)

    assert code == 1
    assert [each.state for each in groups] == ["FAILED (exit code 1)", "passed"]
    assert "FAILED: first" in capfd.readouterr().out


def test_success_is_exit_code_zero() -> None:
    assert running.run_groups([group("first", 0), group("second", 0)]) == 0


def test_a_group_that_cannot_run_is_skipped_on_a_laptop(
    capfd: pytest.CaptureFixture[str],
) -> None:
    skipped = running.Group("browser", ["true"], skip="no Chromium")

    assert running.run_groups([group("first", 0), skipped]) == 0
    assert "no Chromium" in capfd.readouterr().out


def test_a_group_that_cannot_run_fails_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")

    assert running.run_groups([running.Group("browser", ["true"], skip="no Chromium")]) == 1


def test_a_command_that_is_not_there_is_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    assert running.run_groups([running.Group("odd", ["no-such-command-anywhere"])]) == 1
    assert "no-such-command-anywhere is not there" in capfd.readouterr().err


def test_what_an_installation_says_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    running.must_quietly([sys.executable, "-c", "print('Collecting ' + 'wheels')"])

    shown = capfd.readouterr()
    assert "Collecting wheels" not in shown.out + shown.err
    assert shown.out.endswith(" s\n")


def test_what_a_failed_installation_said_is_shown_whole(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = "import sys; print('Collecting ' + 'wheels'); sys.exit('no ' + 'network')"

    with pytest.raises(SystemExit) as caught:
        running.must_quietly([sys.executable, "-c", code])

    said = capfd.readouterr().err
    assert caught.value.code == 1
    assert "Collecting wheels" in said
    assert "no network" in said
    assert "error: failed: " in said


def test_ctrl_c_lets_a_group_clean_up_and_begins_no_other(tmp_path: Path) -> None:
    """A terminal sends the signal to all processes of the command."""
    group = (
        "import signal, sys, time\n"
        "try:\n    print('runs', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(1); print('has cleaned up', flush=True)\n"
    )
    # What runs in the background of a shell has been told to ignore the signal.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from scripts.running import Group, run_groups\n"
        f"first = Group('first', [sys.executable, '-c', {group!r}])\n"
        "sys.exit(run_groups([first, Group('second', ['echo', 'not this'])]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=running.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        while process.stdout.readline() != "runs\n":
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        said = process.stdout.read()

    assert process.wait(30) == running.INTERRUPTED
    assert "has cleaned up" in said
    assert "not run" in said
    assert "not this" not in said
    assert said.splitlines()[-1].endswith("interrupted")
