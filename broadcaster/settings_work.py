"""
What workers are told by settings: queues, ``[worker]``, and the pools of ``[workers.<name>]``.

A pool is a named group of queues with options of its own, for ``broadcaster work --pool
emails``; what it does not say is as in ``[worker]``::

    [worker]
    grace = 60

    [workers.emails]
    queue = ["transactional", "marketing"]
    concurrency = 50
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from broadcaster.protocol.lanes import LANES
from broadcaster.settings_sources import Found
from broadcaster.settings_tables import NamedTable, read_tables
from broadcaster.settings_values import convert

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_POOLS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """
    How jobs wait and are taken.

    Attributes:
        driver: ``sync`` runs jobs at once in the calling process, without Redis; ``null``
            forgets them; ``failover`` puts them into the first of `connections` that can be
            reached; ``celery`` hands them to Celery.
        default: queue of a job that names none.
        lease: seconds after which a silent worker's job is given to another.
        max_crashes: lapsed leases after which a job counts as failed.
        lanes: lanes of each queue, by which broadcasts keep their order per channel.
        after_commit: what is dispatched in a database transaction waits for its commit.
        replicas: of ``redis``, how many replicas must have a job before dispatching it ends.
        connections: of ``failover``, the names of others, the preferred one first.
        celery_app: of ``celery``, where the application is: ``shop.celery:app``.
    """

    driver: Literal["redis", "sync", "null", "failover", "celery"] = "redis"
    default: str = "default"
    lease: float = 30.0
    max_crashes: int = 3
    lanes: int = LANES
    after_commit: bool = False
    replicas: int = 0
    connections: tuple[str, ...] = ()
    celery_app: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSettings:
    """
    Where failed jobs are kept.

    Attributes:
        driver: ``redis`` keeps them beside their queues, 10,000 each and for a week; ``sql``
            has the workers carry them over into a table, where they stay until they are pruned.
        url: of ``sql``, the database, as SQLAlchemy writes it.
        table: of ``sql``, its name.
    """

    driver: Literal["redis", "sql"] = "redis"
    url: str = ""
    table: str = "broadcaster_failed_jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """
    What ``work`` does, unless its command line says otherwise; the names are the same.

    Attributes:
        queue: queues, the most urgent first; ``mail:3`` has the weight 3. Empty are the one of
            broadcasts and the default one.
        weights: serve queues by weight instead of strictly in order.
        concurrency: jobs that run at once in one process.
        processes: worker processes.
        reserve_ahead: short jobs reserved before there is a slot for them, per process: as many
            as its slots run in 10 ms, and at most so many.
        jobs_per_child: jobs that run one after another in the same process, of sync jobs with
            a timeout; 1 gives each a fresh one.
        tries: tries of a job that does not say; 0 is no limit.
        timeout: seconds for one try of a job that does not say; 0 is no limit.
        backoff: seconds before each retry of a job that does not say.
        grace: seconds that running jobs get to finish at a stop.
        rest: seconds that a slot pauses after each job.
        sleep: longest time between two looks at an empty queue.
        max_jobs: stop after this many jobs; 0 is no limit.
        max_time: stop after this many seconds; 0 is no limit.
        memory: stop when the process takes more MB of RAM; 0 is no limit.
        max_away: stop when the queue cannot be reached for this many seconds; 0 is never.
        stop_when_empty: stop when no job is ready.
        stop_when_empty_for: stop when no job was ready for this many seconds; 0 is never.
        once: run one job, if there is one, and stop.
        force: take jobs of paused queues too.
        name: what monitors call it.
        connection: name of the connection whose queues it serves; empty is the default one.
        health_port: port of the health endpoint on 127.0.0.1; 0 is none.
        health_socket: path of a Unix socket for it; empty is none.
        json: log one JSON object per line.
    """

    queue: tuple[str, ...] = ()
    weights: bool = False
    concurrency: int = 10
    processes: int = 1
    reserve_ahead: int = 300
    jobs_per_child: int = 500
    tries: int = 1
    timeout: float | None = None
    backoff: tuple[float, ...] = ()
    grace: float = 20.0
    rest: float = 0.0
    sleep: float = 2.0
    max_jobs: int = 0
    max_time: float = 0.0
    memory: int = 0
    max_away: float = 0.0
    stop_when_empty: bool = False
    stop_when_empty_for: float = 0.0
    once: bool = False
    force: bool = False
    name: str = ""
    connection: str = ""
    health_port: int = 0
    health_socket: str = ""
    json: bool = False


def read_pools(found: Found | None, base: WorkerSettings) -> Mapping[str, WorkerSettings]:
    """
    Return the pools of ``[workers.<name>]`` by name.

    Args:
        found: the table of tables, as TOML has it, or as JSON.
        base: what a pool does not say.

    Raises:
        ConfigurationError: it names the source, the pool and the option.
    """
    tables = read_tables(found, "workers", "pools", MAX_POOLS)
    return {table.name: _pool(table, base) for table in tables}


def _pool(table: NamedTable, base: WorkerSettings) -> WorkerSettings:
    hints = get_type_hints(WorkerSettings)
    said: dict[str, Any] = {}
    for option, value in table.options.items():
        table.check_option(option, hints)
        said[option] = convert(f"worker.{option}", Found(value, table.where), hints[option])
    return dataclasses.replace(base, **said)
