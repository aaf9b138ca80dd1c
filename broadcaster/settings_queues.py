"""
Queue connections of settings: ``[queue]``, which is the default one, and ``[queues.<name>]``.

::

    [queue]
    driver = "failover"
    connections = ["main", "spare"]

    [queues.main]
    redis_url = "redis://10.0.0.1:6379/0"

    [queues.spare]
    redis_url = "redis://10.0.0.2:6379/0"
    default = "spilled"

What a connection does not say is as in ``[queue]``, but for `driver` and `connections`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.protocol.channels import shown
from broadcaster.protocol.suggestion import did_you_mean
from broadcaster.settings_sources import Found
from broadcaster.settings_tables import NamedTable, read_tables
from broadcaster.settings_values import convert
from broadcaster.settings_work import QueueSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CONNECTIONS = 100
DEFAULT_CONNECTION = "default"
"""What the connection of ``[queue]`` is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings(QueueSettings):
    """
    One queue connection.

    Attributes:
        redis_url: its server, or None for the one of all the others.
    """

    redis_url: str | None = None


def read_connections(found: Found | None, base: QueueSettings) -> Mapping[str, ConnectionSettings]:
    """
    Return the connections of ``[queues.<name>]`` by name.

    Args:
        found: the table of tables, as TOML has it, or as JSON.
        base: what ``[queue]`` says.

    Raises:
        ConfigurationError: it names the source, the connection and the option; also if one
            falls back on a connection that there is not, or on one that falls back.
    """
    taken = DEFAULT_CONNECTION, "the one of [queue]"
    tables = read_tables(found, "queues", "queue connections", MAX_CONNECTIONS, taken=taken)
    made = {table.name: _connection(table, base) for table in tables}
    _check_fallbacks("queue", base, made)
    for name, connection in made.items():
        _check_fallbacks(f"queues.{name}", connection, made)
    return made


def _connection(table: NamedTable, base: QueueSettings) -> ConnectionSettings:
    hints = get_type_hints(ConnectionSettings)
    said: dict[str, Any] = {"driver": "redis", "connections": ()}
    for option, value in table.options.items():
        table.check_option(option, hints)
        path = "redis_url" if option == "redis_url" else f"queue.{option}"
        said[option] = convert(path, Found(value, table.where), hints[option])
    return ConnectionSettings(**{**dataclasses.asdict(base), **said})


def _check_fallbacks(
    where: str, connection: QueueSettings, known: Mapping[str, ConnectionSettings]
) -> None:
    if connection.driver != "failover":
        return
    if not connection.connections:
        raise ConfigurationError(f"{where}.connections must name connections to fall back on")
    for name in connection.connections:
        other = known.get(name)
        if other is None:
            raise ConfigurationError(
                f"{where}.connections names {shown(name)}, and there is no "
                f"[queues.{shown(name)}]{did_you_mean(name, known)}"
            )
        if other.driver == "failover":
            raise ConfigurationError(
                f"{where}.connections names {name}, which falls back itself: name its connections"
            )


def find_connection(
    name: str, default: QueueSettings, connections: Mapping[str, ConnectionSettings]
) -> ConnectionSettings:
    """
    Return the connection of this name.

    Args:
        name: ``default`` is `default`, the one of ``[queue]``.
        connections: those of ``[queues.<name>]``.

    Raises:
        NotConfigured: there is none.
    """
    if name == DEFAULT_CONNECTION:
        return ConnectionSettings(**dataclasses.asdict(default))
    found = connections.get(name)
    if found is None:
        known = (DEFAULT_CONNECTION, *connections)
        raise NotConfigured(
            f"no queue connection is called {shown(name)}{did_you_mean(name, known)}: there "
            f"are {', '.join(known)}; a table [queues.{shown(name)}] in broadcaster.toml makes one"
        )
    return found


def served_connection(
    name: str, default: QueueSettings, connections: Mapping[str, ConnectionSettings]
) -> tuple[str, ConnectionSettings]:
    """
    Return the connection that a worker of `name` takes its jobs from, and its own name.

    That of a ``failover`` connection is the preferred one it falls back from: workers of the
    others are started with their names.

    Args:
        name: empty or ``default`` is `default`, the one of ``[queue]``.
        connections: those of ``[queues.<name>]``.

    Raises:
        ConfigurationError: there is none of this name, or its jobs do not wait in Redis.
    """
    name = name or DEFAULT_CONNECTION
    found = find_connection(name, default, connections)
    if found.driver == "failover":
        return served_connection(found.connections[0], default, connections)
    if found.driver != "redis":
        raise ConfigurationError(
            f"the driver of queue connection {name} is {found.driver!r}, in which no job waits: "
            "there is nothing for a worker to do"
        )
    return name, found
