"""The repository stands alone: no machine's paths, no folders outside, no private hosts."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.architecture.source_tree import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

# Pieces are joined here so that this file does not find itself.
FORBIDDEN = {
    "a path of one machine": re.compile(
        "/" + r"(?:work|root|farm)/" + r"|/home/[a-z]+/|/Users/[a-z]+/|C:\\Users"
    ),
    "a folder outside the repository": re.compile(r"\.\./" + r"shared|shared/" + "reference"),
    "a page outside the repository": re.compile("DESIGN" + r"\.md|protocol" + r"\.md §"),
    "a package index of one machine": re.compile(
        r"--(?:extra-)?index-url|--find-" + r"links|/opt/" + "wheels"
    ),
}
NPM_HOST = "https://registry.npmjs.org/"
BINARY = {".bin", ".png", ".ico", ".jpg", ".woff2", ".gz", ".whl"}


def repository_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (PROJECT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file() and path.suffix not in BINARY]


def complaints(text: str) -> list[str]:
    return [what for what, pattern in FORBIDDEN.items() if pattern.search(text)]


def test_no_file_depends_on_where_it_was_written() -> None:
    found = {
        str(path.relative_to(PROJECT)): complaints(path.read_text(encoding="utf-8"))
        for path in repository_files()
    }

    assert {name: what for name, what in found.items() if what} == {}


def test_npm_packages_come_from_the_public_registry() -> None:
    hosts = {
        package["resolved"]
        for path in repository_files()
        if path.name == "package-lock.json"
        for package in json.loads(path.read_text())["packages"].values()
        if str(package.get("resolved", "")).startswith("http")
    }

    assert [host for host in hosts if not host.startswith(NPM_HOST)] == []


def test_no_file_names_a_registry_for_one_machine() -> None:
    names = {path.name for path in repository_files()}

    assert names & {".npmrc", "pip.conf", ".pypirc", ".yarnrc"} == set()


@pytest.mark.parametrize(
    "text",
    ["see /" + "work/main/x", "open /home/" + "ada/x", "../" + "shared/x", "DESIGN" + ".md §3"],
)
def test_a_violation_is_seen(text: str) -> None:
    assert complaints(text) != []


@pytest.mark.parametrize("text", ["/usr/bin/chromium", "GET /app/key", "shared by all", "/tmp/x"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert complaints(text) == []
