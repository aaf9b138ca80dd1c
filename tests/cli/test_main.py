"""The command line as a whole: lazy, with suggestions, exit codes and one-line errors."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from broadcaster import errors
from broadcaster.cli import main as main_module
from broadcaster.cli.main import COMMANDS, ELSEWHERE, broadcaster, exit_code, main

if TYPE_CHECKING:
    from collections.abc import Iterator


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(args)
    code = caught.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_exists_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(broadcaster, [name, "--help"])

    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0

    text = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in text] == []


def test_a_misspelt_command_is_wrong_usage_with_a_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("wrok") == 2
    assert "did you mean 'work'" in capsys.readouterr().err


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is shown, by its words."""
    context = click.Context(broadcaster)
    for name in COMMANDS:
        command = broadcaster.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            for part in command.list_commands(context):
                yield f"{name} {part}", command.commands[part]


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_a_name_of_laravel_or_celery_leads_to_ours(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ELSEWHERE[name]

    assert run(name) == 2
    assert f"did you mean '{here}'" in capsys.readouterr().err
    assert CliRunner().invoke(broadcaster, [*here.split(), "--help"]).exit_code == 0


def test_every_option_says_what_it_does() -> None:
    silent = [
        f"{name} {option.opts[0]}"
        for name, command in commands()
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and not option.help
    ]

    assert silent == []


def test_a_list_of_commands_cuts_none_of_their_summaries() -> None:
    in_80_columns = 80 - len("  disable  ") - 2
    cut = [
        name
        for name, command in commands()
        if " " in name and command.get_short_help_str(in_80_columns).endswith("...")
    ]

    assert cut == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotConfigured("x"), 78),
        (errors.UnknownDriver("x"), 78),
        (errors.DriverUnavailable("x"), 69),
        (errors.PublishRefused("x", status=401), 1),
        (errors.InvalidChannel("x"), 1),
    ],
)
def test_an_error_of_ours_is_one_line_and_its_exit_code(
    error: errors.BroadcasterError,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(main_module, "broadcaster", failing)

    assert run() == code == exit_code(error)
    assert capsys.readouterr().err == "broadcaster: x\n"


def test_a_command_that_is_not_there_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(main_module.COMMANDS, "fly", ("broadcaster.cli.fly:fly", "Fly."))  # type: ignore[arg-type]  # a dict under a Mapping

    assert run("fly") == 1
    assert "'fly' is not part of this build" in capsys.readouterr().err


def test_a_library_missing_inside_a_command_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def importing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'uvloop'", name="uvloop")

    monkeypatch.setattr(importlib, "import_module", importing)

    with pytest.raises(ModuleNotFoundError, match="uvloop"):
        main(["version"])


def test_asking_for_help_imports_no_server() -> None:
    code = (
        "import sys\n"
        "from broadcaster.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(*[n for n in ('redis', 'starlette', 'uvicorn', 'httpx') if n in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.splitlines()[-1] == ""


def test_the_package_runs_as_a_module() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "broadcaster", "version"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.startswith("broadcaster-server ")
