"""What the documentation says exists."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from broadcaster.cli.main import COMMANDS, broadcaster
from broadcaster.settings import setting_types
from broadcaster.settings_sources import environment_name

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        PROJECT / "README.md",
        PROJECT / "CHANGELOG.md",
        *PROJECT.glob("docs/**/*.md"),
        *PROJECT.glob("examples/*/*.md"),
    ]
)
CREDENTIALS = {f"BROADCASTER_APP_{name}" for name in ("ID", "KEY", "SECRET", "GRANT_KEY")}
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Modules of the reader's own project, which no page can ship.
THEIRS = {"shop"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for name, code in FENCE.findall(page.read_text()) if name in languages]


@pages
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


@pages
def test_links_lead_to_headings_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#([^)\s]+)\)", prose(page))
    targets = [(page.parent / path if path else page, anchor) for path, anchor in links]

    missing = [
        f"{target.name}#{anchor}"
        for target, anchor in targets
        if target.suffix == ".md" and anchor not in anchors(target)
    ]

    assert missing == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


@pages
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {environment_name(path) for path in setting_types()} | CREDENTIALS
    named = set(re.findall(r"\bBROADCASTER_[A-Z_]+[A-Z]\b", page.read_text()))

    assert {name for name in named - known if not name.startswith("BROADCASTER_TEST_")} == set()


@pages
def test_commands_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"(?:^|`|\$ |/)broadcaster ([a-z]+)\b", page.read_text(), re.MULTILINE)

    assert set(named) - set(COMMANDS) == set()


@pages
def test_options_of_commands_that_are_named_exist(page: Path) -> None:
    code = "\n".join([*blocks(page, "sh", "bash", ""), *re.findall(r"`([^`\n]+)`", prose(page))])
    lines = re.findall(r"(?:^|[\s/])broadcaster ([a-z].*)$", code, re.MULTILINE)

    assert [unknown for line in lines for unknown in unknown_options(line)] == []


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def unknown_options(line: str) -> list[str]:
    """Return the options of a line, which begins with a command, that the command has not."""
    words = re.split(r"\s+[|#&;]|\s{2,}", line)[0].split()
    command: click.Command = broadcaster
    context = click.Context(broadcaster)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        if found is None:
            return []
        command, words = found, words[1:]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    known.add("--help")
    return [
        f"broadcaster {line}: {name}"
        for word in words
        if (name := word.partition("=")[0]).startswith("--") and name not in known
    ]


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"`((?:broadcaster|broadcaster_auth|tests)/[\w/]+\.(?:py|lua))`", text))

    assert {name for name in named if not any(exists(name))} == set()


def exists(name: str) -> list[bool]:
    return [found for root in ("", "auth") if (found := (PROJECT / root / name).exists())]


@pages
def test_python_that_is_shown_is_python_with_names_that_exist(page: Path) -> None:
    for code in blocks(page, "python", "py"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("broadcaster"):
                names = [alias.name for alias in node.names]
                assert [name for name in names if not is_there(node.module or "", name)] == []


def is_there(module: str, name: str) -> bool:
    """Whether ``from module import name`` works: a name in it, or a module below it."""
    return (
        hasattr(importlib.import_module(module), name)
        or importlib.util.find_spec(f"{module}.{name}") is not None
    )


@pages
def test_no_worker_beside_broadcaster_dev_shares_a_queue_with_one_that_knows_no_job(
    page: Path,
) -> None:
    """The worker of ``broadcaster dev`` serves ``default``: it would fail the jobs of others."""
    shown = "\n".join(blocks(page, "", "sh"))
    own = re.findall(r"^broadcaster work .*--queue (\S+)", shown, re.MULTILINE)
    beside = re.search(r"^broadcaster dev(?! \w+:)", shown, re.MULTILINE)
    config = page.parent / "broadcaster.toml"
    knows = config.exists() and "imports =" in config.read_text()

    assert not (beside and not knows and any("default" in queues.split(",") for queues in own))


@pages
def test_shell_that_is_shown_can_be_pasted(page: Path) -> None:
    for code in blocks(page, "sh", "bash"):
        for line in code.splitlines():
            assert shlex.split(line, comments=True) is not None
