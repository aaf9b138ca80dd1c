"""What the import of a user's modules raised, as it is shown to them."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

import broadcaster
from broadcaster.errors import BroadcasterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from broadcaster.settings import Settings

_OURS = Path(broadcaster.__file__).parent


def import_users(settings: Settings, modules: Sequence[str]) -> None:
    """
    Import the modules of the settings and `modules`, for a command that runs no jobs.

    Raises:
        ConfigurationError: one of them does not exist.
        click.ClickException: one raised something; the traceback of it was printed.
    """
    from broadcaster.wiring.worker import import_jobs

    try:
        import_jobs(tuple(dict.fromkeys((*settings.imports, *modules))))
    except BroadcasterError:
        raise
    except Exception as error:
        traceback.print_exception(error.with_traceback(users_part(error.__traceback__)))
        raise click.ClickException(explain(error)) from error


def users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return what follows the first import: before it is only how we came to import."""
    found = trace
    while found is not None and not _is_import(found):
        found = found.tb_next
    if found is None:
        return trace
    while found is not None and _is_import(found):
        found = found.tb_next
    return found


def explain(error: Exception) -> str:
    """Return an error of the user's code in one line, with the place in it that led there."""
    said = f"{type(error).__name__}: {error}{_remedy(error)}"
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:  # it names its place itself
        return said
    real = [frame for frame in frames if not frame.filename.startswith("<")]
    theirs = [frame for frame in real if not _is_library(frame.filename)]
    place = (theirs or real or frames)[-1]
    return f"{said} ({place.filename}, line {place.lineno})"


def _remedy(error: Exception) -> str:
    """Return what to do about errors that users of Django meet first."""
    if type(error).__name__ not in {"ImproperlyConfigured", "AppRegistryNotReady"}:
        return ""
    return (
        "; modules that use Django's models need broadcaster.integrations.django_setup before "
        "them in `imports`"
    )


def _is_library(filename: str) -> bool:
    path = Path(filename)
    return "site-packages" in path.parts or path.is_relative_to(_OURS)


def _is_import(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith("<frozen importlib")
