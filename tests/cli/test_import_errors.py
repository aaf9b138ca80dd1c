"""What is shown of an error in the modules of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.cli.import_errors import explain, users_part
from broadcaster.cli.main import main
from broadcaster.wiring.worker import import_jobs
from tests.cli.surroundings import surround

if TYPE_CHECKING:
    from pathlib import Path

TWICE = """
from broadcaster import Job

class Pay(Job):
    def handle(self) -> None: ...

class Ship(Job, name="Pay"):
    def handle(self) -> None: ...
"""
DJANGO = """
class ImproperlyConfigured(Exception): ...
raise ImproperlyConfigured("Requested setting INSTALLED_APPS")
"""


def raised(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> Exception:
    (folder / f"{name}.py").write_text(code)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(Exception, match=r".") as caught:
        import_jobs([name])
    return caught.value


def test_the_place_is_a_line_of_the_user_and_not_of_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = raised(tmp_path, monkeypatch, "twice_called", TWICE)

    said = explain(error)

    assert said.startswith("ValueError: two jobs are called 'Pay': ")
    assert said.endswith(f"({tmp_path / 'twice_called.py'}, line 7)")


def test_what_a_user_of_django_forgets_first_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = raised(tmp_path, monkeypatch, "needs_django", DJANGO)

    assert "need broadcaster.integrations.django_setup before them in `imports`" in explain(error)


def test_a_command_shows_what_is_wrong_in_a_module_without_its_own_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("BROADCASTER_IMPORTS", "breaks_the_list")
    (tmp_path / "breaks_the_list.py").write_text("1 / 0")

    with pytest.raises(SystemExit) as ended:
        main(["schedule", "list"])

    shown = capsys.readouterr().err
    assert ended.value.code == 1
    assert f"Error: ZeroDivisionError: division by zero ({tmp_path}" in shown
    assert "click" not in shown


def test_a_traceback_begins_in_the_users_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = raised(tmp_path, monkeypatch, "breaks_at_once", "1 / 0")

    trace = users_part(error.__traceback__)

    assert trace is not None
    assert trace.tb_frame.f_code.co_filename == str(tmp_path / "breaks_at_once.py")
