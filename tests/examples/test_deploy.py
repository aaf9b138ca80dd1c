"""The samples for process managers: what they start exists, and they leave workers the time."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import click
import pytest

from broadcaster.cli.main import LazyGroup
from broadcaster.settings import WorkerSettings

FOLDER = Path(__file__).parents[2] / "examples" / "deploy"
UNITS = sorted(FOLDER.glob("*.service"))


def parsed(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, comment_prefixes=("#", ";"), inline_comment_prefixes=None
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read(path, encoding="utf-8")
    return parser


def check(command: str) -> None:
    """Parse the arguments as the program would; run nothing."""
    words = shlex.split(command.partition("/broadcaster ")[2])
    group: click.Command = LazyGroup("broadcaster")
    context = click.Context(group)
    while isinstance(group, click.Group):
        found = group.get_command(context, words.pop(0))
        assert found is not None, command
        group = found
    group.make_context(group.name, words)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_row_55_systemd_starts_what_exists_and_waits_for_the_grace(path: Path) -> None:
    service = parsed(path)["Service"]

    check(service["ExecStart"])
    assert service["KillMode"] == "mixed"
    assert parsed(path)["Unit"]["StartLimitIntervalSec"] == "0"
    assert float(service["TimeoutStopSec"]) > WorkerSettings().grace


def test_row_55_supervisor_starts_what_exists_and_waits_for_the_grace() -> None:
    programs = parsed(FOLDER / "supervisord.conf")

    assert len(programs.sections()) == 2
    for name in programs.sections():
        check(programs[name]["command"])
        assert float(programs[name]["stopwaitsecs"]) > WorkerSettings().grace
        assert programs[name]["stopasgroup"] == "false"


def test_row_59_the_crontab_watches_and_cleans_with_commands_that_exist() -> None:
    lines = (FOLDER / "crontab").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if ".venv/bin/broadcaster" in line]

    assert len(commands) == 2
    for line in commands:
        check(line.partition("||")[0])
