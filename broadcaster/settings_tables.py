"""Settings that are tables by name: ``[queues.<name>]``, ``[workers.<name>]`` and their like."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple, cast

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.channels import shown
from broadcaster.protocol.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from broadcaster.settings_sources import Found


_NAME = re.compile(r"[-A-Za-z0-9_.]{1,64}")


class NamedTable(NamedTuple):
    """
    One table of a section.

    Attributes:
        where: names it in messages: ``[workers.mail] in broadcaster.toml``.
        options: what stands in it, as it was found.
    """

    name: str
    where: str
    options: dict[str, object]

    def check_option(self, option: str, known: Collection[str]) -> None:
        """
        Refuse an option that there is not.

        Raises:
            ConfigurationError: it names the table, the option, and the one that may be meant.
        """
        if option not in known:
            hint = did_you_mean(option, known)
            raise ConfigurationError(f"{self.where} has no option {shown(option)}{hint}")


def is_table_name(name: str) -> bool:
    """Whether a table may be called so: 1 to 64 letters, digits or - _ ."""
    return _NAME.fullmatch(name) is not None


def read_tables(
    found: Found | None, section: str, noun: str, most: int, *, taken: tuple[str, str] | None = None
) -> Iterator[NamedTable]:
    """
    Yield the tables of a section; what stands in them is not looked at.

    Args:
        found: the table of tables, as TOML has it, or as JSON.
        section: what it is called in a file.
        noun: what its tables are, as in "17 pools".
        most: how many there may be.
        taken: a name that none of them may have, and what has it.

    Raises:
        ConfigurationError: it is something else, there are too many, or one has a name that
            cannot be; it names the source.
    """
    if found is None:
        return
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
    for name, table in cast("dict[str, object]", value).items():
        where = f"[{section}.{shown(name)}] in {found.source}"
        if not is_table_name(name) or (taken and name == taken[0]):
            but = f" and not {taken[0]}, which is {taken[1]}" if taken else ""
            raise ConfigurationError(f"{where}: a name is 1 to 64 letters, digits or - _ .{but}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{where} must be a table")
        yield NamedTable(name, where, cast("dict[str, object]", table))
