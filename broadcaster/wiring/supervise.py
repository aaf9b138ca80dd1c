"""From ``[supervisors.<name>]`` to pools of workers that are kept."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from typing import TYPE_CHECKING

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.supervisors import RedisSupervisorBoard
from broadcaster.errors import ConfigurationError
from broadcaster.protocol.suggestion import did_you_mean
from broadcaster.settings_work import WorkerSettings
from broadcaster.supervisor.balance import Rules
from broadcaster.supervisor.children import start_worker
from broadcaster.supervisor.supervisor import Pool, PoolPlan, Supervisor
from broadcaster.wiring.operations import open_operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.supervision import SupervisorStatus
    from broadcaster.settings import Settings
    from broadcaster.settings_supervise import SupervisorSettings
    from broadcaster.supervisor.children import Process
    from broadcaster.wiring.operations import Operations

# What a supervisor decides itself, or what would have its workers end by themselves.
_OWN = frozenset({"queue", "processes", "name", "once", "stop_when_empty", "stop_when_empty_for"})
_NO_FLAG = frozenset({"health_port", "health_socket"})


def open_supervisor(
    settings: Settings, modules: Sequence[str] = (), only: Sequence[str] = ()
) -> tuple[Supervisor, list[Operations]]:
    """
    Return a supervisor, and the connections to close after use.

    Args:
        modules: what the workers import.
        only: names of tables; empty are all.

    Raises:
        ConfigurationError: there is no such table, or none at all.
    """
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
        )
    opened = {
        connection: open_operations(settings, connection)
        for connection in {said.connection for said in chosen.values()}
    }
    pools = [
        Pool(_plan(name, said, modules, opened[said.connection])) for name, said in chosen.items()
    ]
    board = RedisSupervisorBoard(next(iter(opened.values())).main)
    name = f"{socket.gethostname()}:{os.getpid()}"
    return Supervisor(pools, name, board.tell), list(opened.values())


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
    name: str, said: SupervisorSettings, modules: Sequence[str], operations: Operations
) -> PoolPlan:
    async def start(queues: tuple[str, ...], number: int, slots: int) -> Process:
        label = f"{name}/{queues[0] if len(queues) == 1 else 'all'}-{number}"
        command = worker_command(label, said, modules, queues)
        return await start_worker(command, slots, said.nice)

    names = [queue.partition(":")[0] for queue in said.queue]
    return PoolPlan(
        name=name,
        queues=said.queue if said.balance == "off" else tuple(names),
        rules=rules_of(said),
        grace=said.grace,
        start=start,
        look=lambda: operations.backlogs(names),
    )
