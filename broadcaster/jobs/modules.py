"""Modules that users name, in settings, commands and code."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    import types
    from collections.abc import Callable


def imported(name: str, explain: Callable[[str], str]) -> types.ModuleType:
    """
    Return the module called `name`.

    Args:
        explain: returns what the error says, given the module that is missing: this one, or a
            package that it would be in.

    Raises:
        ConfigurationError: there is no such module; what it raises itself comes through.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise
        raise ConfigurationError(explain(missing)) from error
