"""
Groups of workers that ``broadcaster supervise`` keeps: ``[supervisors.<name>]``.

::

    [supervisors.main]
    queue = ["critical", "high", "default"]
    balance = "auto"
    min_processes = 1
    max_processes = 10
    shift = 1
    cooldown = 3
    memory = 128
    tries = 3
    timeout = 90

    [supervisors.long]
    connection = "long"
    queue = ["exports", "imports"]
    balance = "simple"
    processes = 4
    timeout = 600

All options of workers are options of these too; what is not said is as in ``[worker]``. What
differs between environments stands in tables below, of which the one that `environment` names
counts; a table that has such tables is there in these environments only::

    environment = "production"

    [supervisors.main.environments.production]
    max_processes = 10

    [supervisors.main.environments.local]
    balance = "simple"

Source: Laravel Horizon, ``config/horizon.php``, whose keys these are in snake_case; its
``balance_max_shift`` and ``balance_cooldown`` are understood too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_type_hints

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.channels import shown
from broadcaster.settings_sources import Found
from broadcaster.settings_tables import NamedTable, is_table_name, read_tables
from broadcaster.settings_values import convert
from broadcaster.settings_work import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SUPERVISORS = 50
MAX_PROCESSES = 256

_ENDING = ("once", "stop_when_empty", "stop_when_empty_for", "health_port", "health_socket", "name")
_ENVIRONMENTS = "environments"
_ALIASES = {"balance_max_shift": "shift", "balance_cooldown": "cooldown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings(WorkerSettings):
    """
    One group of workers, and how it grows and shrinks.

    Attributes:
        balance: ``auto`` gives each queue processes by what waits in it, ``simple`` the same
            number to each, ``off`` serves all queues in order with all processes.
        strategy: ``time`` weighs queues by the time to clear them, ``size`` by their jobs.
        min_processes: of each queue, with ``auto``.
        max_processes: of all queues together; 0 is what `processes` says.
        min_slots: jobs that a process runs at once when there is little to do, with ``auto``;
            `concurrency` is the most.
        clear_within: seconds in which what waits should be cleared; more slots, then more
            processes are used until it is.
        shift: processes that a queue gains or loses at once.
        cooldown: seconds between two changes.
        nice: priority of the processes, -20 to 19; below 0 needs the right to it.
    """

    balance: Literal["auto", "simple", "off"] = "auto"
    strategy: Literal["time", "size"] = "time"
    min_processes: int = 1
    max_processes: int = 0
    min_slots: int = 1
    clear_within: float = 5.0
    shift: int = 1
    cooldown: float = 3.0
    nice: int = 0


_RANGES: Mapping[str, tuple[float, float]] = {
    "min_processes": (1, MAX_PROCESSES),
    "max_processes": (0, MAX_PROCESSES),
    "min_slots": (1, 1_000),
    "clear_within": (0.1, 86_400),
    "shift": (1, MAX_PROCESSES),
    "cooldown": (0.5, 3_600),
    "nice": (-20, 19),
}


class Supervisors(NamedTuple):
    """
    The tables ``[supervisors.<name>]``.

    Attributes:
        chosen: those of the environment, by name.
        environments: all that tables name.
    """

    chosen: Mapping[str, SupervisorSettings]
    environments: frozenset[str]


def read_supervisors(
    found: Found | None, base: WorkerSettings, environment: str = ""
) -> Supervisors:
    """
    Return the tables ``[supervisors.<name>]`` that count in `environment`.

    Args:
        found: the table of tables, as TOML has it, or as JSON.
        base: what a table does not say.
        environment: whose tables count; "" is none of those that are named.

    Raises:
        ConfigurationError: it names the source, the table and the option; also of tables of
            other environments.
    """
    chosen: dict[str, SupervisorSettings] = {}
    named: set[str] = set()
    for table in read_tables(found, "supervisors", "supervisors", MAX_SUPERVISORS):
        made = _by_environment(table, base)
        named |= made.keys() - {""}
        mine = made.get(environment, made.get(""))
        if mine is not None:
            chosen[table.name] = mine
    return Supervisors(chosen, frozenset(named))


def _by_environment(table: NamedTable, base: WorkerSettings) -> dict[str, SupervisorSettings]:
    """Return what a table says for each environment that it names; for all as "" without any."""
    options = dict(table.options)
    inner = options.pop(_ENVIRONMENTS, {})
    if not isinstance(inner, dict):
        where = _inside(table.where, _ENVIRONMENTS)
        raise ConfigurationError(f"{where} must be tables, one for each environment")
    said = _said(table._replace(options=options))
    found: dict[str, SupervisorSettings] = {}
    if not inner:
        found[""] = _made(table.where, base, said)
    for name, differing in cast("dict[str, object]", inner).items():
        here = _inside(table.where, f"{_ENVIRONMENTS}.{shown(name)}")
        if not is_table_name(name) or not isinstance(differing, dict):
            raise ConfigurationError(f"{here} must be a table, named in letters, digits or - _ .")
        own = _said(NamedTable(name, here, cast("dict[str, object]", differing)))
        found[name] = _made(here, base, {**said, **own})
    return found


def _inside(where: str, table: str) -> str:
    return where.replace("]", f".{table}]", 1)


def _made(where: str, base: WorkerSettings, said: Mapping[str, Any]) -> SupervisorSettings:
    made = SupervisorSettings(**{**dataclasses.asdict(base), **said})
    _check(where, made)
    return made


def _said(table: NamedTable) -> dict[str, Any]:
    where = table.where
    hints = get_type_hints(SupervisorSettings)
    own = {field.name for field in dataclasses.fields(SupervisorSettings)} - {
        field.name for field in dataclasses.fields(WorkerSettings)
    }
    known = hints.keys() - set(_ENDING)
    said: dict[str, Any] = {}
    for written, given in table.options.items():
        option = _ALIASES.get(written, written)
        if option in said:
            raise ConfigurationError(f"{where} says {option} twice, as {written} too: keep one")
        table.check_option(option, known)
        if option in _RANGES:
            said[option] = _number(where, option, given, whole=hints[option] is int)
        else:
            path = f"supervisors.{option}" if option in own else f"worker.{option}"
            said[option] = convert(path, Found(given, where), hints[option])
    return said


def _number(where: str, option: str, value: object, *, whole: bool) -> float:
    low, high = _RANGES[option]
    allowed = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, allowed) or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        raise ConfigurationError(
            f"{where}: {option} must be {what} from {low:g} to {high:g}, not {shown(str(value))}"
        )
    return value if whole else float(value)


def _check(where: str, made: SupervisorSettings) -> None:
    if not made.queue:
        raise ConfigurationError(f'{where} must name its queues: queue = ["default"]')
    most = made.max_processes or made.processes
    groups = 1 if made.balance == "off" else len(made.queue)
    least = made.min_processes if made.balance == "auto" else 1
    if groups * least > most:
        word = "max_processes" if made.max_processes else "processes"
        raise ConfigurationError(
            f"{where}: {groups} queues need {groups * least} processes or more, and {word} is "
            f"{most}: raise it, or set balance = 'off', so that each process serves all of them"
        )
    if made.min_slots > made.concurrency:
        raise ConfigurationError(
            f"{where}: min_slots is {made.min_slots}, and concurrency only {made.concurrency}"
        )
