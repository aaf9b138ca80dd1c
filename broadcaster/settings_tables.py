"""Settings that are tables by name: ``[queues.<name>]``, ``[workers.<name>]`` and their like."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from broadcaster.settings_sources import Found


def read_tables(found: Found | None, section: str, noun: str, most: int) -> dict[str, object]:
    """
    Return the tables of a section by name; what stands in them is not looked at.

    Args:
        found: the table of tables, as TOML has it, or as JSON.
        section: what it is called in a file.
        noun: what its tables are, as in "17 pools".
        most: how many there may be.

    Raises:
        ConfigurationError: it is something else, or there are too many; it names the source.
    """
    if found is None:
        return {}
    value = found.value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"{section} (from {found.source}) must be tables: [{section}.<name>] in a file, "
            "a JSON object in the environment"
        )
    if len(value) > most:
        raise ConfigurationError(f"{len(value)} {noun} are in {found.source}; {most} are the most")
    return cast("dict[str, object]", value)
