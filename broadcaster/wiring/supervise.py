"""From ``[supervisors.<name>]`` to pools of workers that are kept."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.supervisors import RedisSupervisorBoard
from broadcaster.errors import ConfigurationError
from broadcaster.protocol.suggestion import did_you_mean
from broadcaster.settings import load_settings
from broadcaster.settings_queues import served_connection
from broadcaster.settings_work import WorkerSettings
from broadcaster.supervisor.balance import Rules
from broadcaster.supervisor.children import start_worker
from broadcaster.supervisor.supervisor import Pool, PoolPlan, Supervisor
from broadcaster.wiring.operations import open_operations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broadcaster.contracts.supervision import SupervisorStatus
    from broadcaster.settings import Settings
    from broadcaster.settings_queues import ConnectionSettings
    from broadcaster.settings_supervise import SupervisorSettings
    from broadcaster.supervisor.children import Process
    from broadcaster.wiring.operations import Operations

# What a supervisor decides itself, or what would have its workers end by themselves.
_OWN = frozenset({"queue", "processes", "name", "once", "stop_when_empty", "stop_when_empty_for"})
_NO_FLAG = frozenset({"health_port", "health_socket"})


class Server(NamedTuple):
    """Where the queues of a connection are; who has another one is another connection."""

    connection: str
    said: ConnectionSettings
    main: str | None
    prefix: str


class SupervisorTables:
    """
    The tables ``[supervisors.<name>]``, and the connections that looking at their queues takes.

    Args:
        modules: what the workers import.
        only: names of tables; empty are all.
        load: reads the settings.

    What was opened for the tables as they were before the last reading stays open until the
    next one, for it may be in use until the new ones are.
    """

    def __init__(
        self,
        modules: Sequence[str] = (),
        only: Sequence[str] = (),
        load: Callable[[], Settings] = load_settings,
    ) -> None:
        self._modules = modules
        self._only = only
        self._load = load
        self._opened: dict[Server, Operations] = {}
        self._before: dict[Server, Operations] = {}

    def read(self) -> list[PoolPlan]:
        """
        Read the settings, all of them, and return what they ask for; blocking.

        Raises:
            ConfigurationError: anything in them is wrong; there is no such table, or none.
            NotConfigured: no server is configured.
        """
        return self.plans(self._load())

    def plans(self, settings: Settings) -> list[PoolPlan]:
        """Return what `settings` ask for; see `read`."""
        chosen = chosen_tables(settings, self._only)
        servers = {name: _server(settings, said.connection) for name, said in chosen.items()}
        known = self._before | self._opened
        opened: dict[Server, Operations] = {}
        try:
            for server in servers.values():
                if server not in opened:
                    opened[server] = known.get(server) or open_operations(
                        settings, server.connection
                    )
        except Exception:
            _close(opened, but=known)
            raise
        _close(self._before, but=self._opened | opened)
        self._before, self._opened = self._opened, opened
        return [
            _plan(name, said, self._modules, opened[servers[name]], servers[name])
            for name, said in chosen.items()
        ]

    def tell(self, status: SupervisorStatus) -> None:
        """Store `status`; see `SupervisorBoard.tell`."""
        RedisSupervisorBoard(next(iter(self._opened.values())).main).tell(status)

    def close(self) -> None:
        """Close what was opened."""
        _close(self._before | self._opened, but={})
        self._before, self._opened = {}, {}


def open_supervisor(
    settings: Settings,
    modules: Sequence[str] = (),
    only: Sequence[str] = (),
    load: Callable[[], Settings] = load_settings,
) -> tuple[Supervisor, SupervisorTables]:
    """
    Return a supervisor, and its tables, to close after use.

    Args:
        modules: what the workers import.
        only: names of tables; empty are all.
        load: reads the settings again.

    Raises:
        ConfigurationError: there is no such table, or none at all.
        NotConfigured: no server is configured.
    """
    tables = SupervisorTables(modules, only, load)
    pools = [Pool(plan) for plan in tables.plans(settings)]
    name = f"{socket.gethostname()}:{os.getpid()}"
    return Supervisor(pools, name, tables.tell, read=tables.read), tables


def chosen_tables(settings: Settings, only: Sequence[str]) -> Mapping[str, SupervisorSettings]:
    """
    Return the tables of `settings`, or those that `only` names.

    Raises:
        ConfigurationError: there is no such table, or none at all.
    """
    environment, known = settings.environment, settings.environments
    if environment and known and environment not in known:
        raise ConfigurationError(
            f"no table in [supervisors] is for the environment {environment!r}"
            f"{did_you_mean(environment, known)}; one without options names it, too: "
            f"[supervisors.main.environments.{environment}]"
        )
    for name in only:
        if name not in settings.supervisors:
            raise ConfigurationError(
                f"there is no [supervisors.{name}]{did_you_mean(name, settings.supervisors)}"
            )
    chosen = {name: said for name, said in settings.supervisors.items() if not only or name in only}
    if not chosen:
        raise ConfigurationError(
            "nothing is to be supervised: add a table such as [supervisors.main] with "
            'queue = ["default"] to broadcaster.toml'
            + (
                f", or say which environment this is, of {', '.join(sorted(known))}"
                if known
                else ""
            )
        )
    return chosen


def supervisors_of(settings: Settings) -> Sequence[SupervisorStatus]:
    """
    Return what the supervisors of all hosts have told lately; blocking.

    Raises:
        NotConfigured: no server is configured.
        DriverUnavailable: it cannot be reached.
    """
    clients = RedisClients(settings.require_redis(), settings.prefix)
    try:
        return RedisSupervisorBoard(clients).read()
    finally:
        clients.close()


def rules_of(said: SupervisorSettings) -> Rules:
    """Return what `said` allows."""
    return Rules(
        balance=said.balance,
        strategy=said.strategy,
        min_processes=said.min_processes,
        max_processes=said.max_processes or said.processes,
        min_slots=said.min_slots,
        slots=said.concurrency,
        clear_within=said.clear_within,
        shift=said.shift,
        cooldown=said.cooldown,
    )


def worker_command(
    name: str, said: SupervisorSettings, modules: Sequence[str], queues: Sequence[str]
) -> list[str]:
    """Return the command line of one worker, all options included."""
    options = [f"--queue={','.join(queues)}", f"--name={name}", "--processes=1"]
    for option in dataclasses.fields(WorkerSettings):
        value = getattr(said, option.name)
        if option.name in _OWN | _NO_FLAG or value in (None, "", ()):
            continue
        flag = "--" + option.name.replace("_", "-")
        if isinstance(value, bool):
            options.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, tuple):
            options.append(f"{flag}={','.join(map(str, value))}")
        else:
            options.append(f"{flag}={value}")
    program = [sys.executable, "-m", "broadcaster", "work", "--tethered"]
    return [*program, *options, *modules]


def _plan(
    name: str,
    said: SupervisorSettings,
    modules: Sequence[str],
    operations: Operations,
    server: Server,
) -> PoolPlan:
    async def start(queues: tuple[str, ...], number: int, slots: int) -> Process:
        label = f"{name}/{queues[0] if len(queues) == 1 else 'all'}-{number}"
        command = worker_command(label, said, modules, queues)
        return await start_worker(command, slots, said.nice)

    names = [queue.partition(":")[0] for queue in said.queue]
    queues = said.queue if said.balance == "off" else tuple(names)
    together = queues if said.balance == "off" else ()  # else each group has one of them
    return PoolPlan(
        name=name,
        queues=queues,
        rules=rules_of(said),
        grace=said.grace,
        start=start,
        look=lambda: operations.backlogs(names),
        workers=(tuple(worker_command(name, said, modules, together)), said.nice, server),
    )


def _server(settings: Settings, connection: str) -> Server:
    name, said = served_connection(connection, settings.queue, settings.queues)
    return Server(name, said, settings.redis_url, settings.prefix)


def _close(opened: Mapping[Server, Operations], *, but: Mapping[Server, Operations]) -> None:
    for server, operations in opened.items():
        if server not in but:
            operations.close()
