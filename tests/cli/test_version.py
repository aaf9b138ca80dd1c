"""``broadcaster version``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING

from click.testing import CliRunner

from broadcaster.cli import version as module

if TYPE_CHECKING:
    import pytest


def test_the_installed_version_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed_version", lambda name: f"1.2.3 of {name}")

    result = CliRunner().invoke(module.version)

    assert "broadcaster-server 1.2.3 of broadcaster-server (Python 3." in result.output


def test_a_checkout_that_was_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "installed_version", missing)

    assert module.package_version() == "unknown"
