"""``broadcaster version``."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import click

DISTRIBUTION = "broadcaster-server"


@click.command()
def version() -> None:
    """Show the version of broadcaster and of Python."""
    click.echo(f"{DISTRIBUTION} {package_version()} (Python {platform.python_version()})")


def package_version() -> str:
    """Return the installed version, or ``unknown`` in a checkout that was not installed."""
    try:
        return installed_version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
