"""From settings and a command line to what a worker is told."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from broadcaster.errors import ConfigurationError
from broadcaster.jobs.backoff import as_backoff
from broadcaster.protocol.channels import shown
from broadcaster.protocol.fact_jobs import WEBHOOK_QUEUE
from broadcaster.protocol.facts import FACT_QUEUE
from broadcaster.protocol.lanes import is_queue
from broadcaster.protocol.suggestion import did_you_mean
from broadcaster.settings_queues import served_connection
from broadcaster.worker.options import WorkerOptions
from broadcaster.worker.shares import parse_queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.settings import Settings, WorkerSettings

MEGABYTE = 1_000_000
OF_GATEWAYS = (FACT_QUEUE, WEBHOOK_QUEUE)


def find_pool(settings: Settings, pool: str) -> WorkerSettings:
    """
    Return what ``[workers.<pool>]`` says, or ``[worker]`` for an empty name.

    Raises:
        ConfigurationError: there is no such pool.
    """
    if not pool:
        return settings.worker
    found = settings.workers.get(pool)
    if found is None:
        hint = did_you_mean(pool, settings.workers)
        raise ConfigurationError(
            f"no pool of workers is called {shown(pool)}{hint}: add [workers.{pool}] to "
            f"broadcaster.toml; there are: {', '.join(sorted(settings.workers)) or 'none'}"
        )
    return found


def worker_options(
    settings: Settings, said: WorkerSettings, *, pool: str = "", modules: Sequence[str] = ()
) -> WorkerOptions:
    """
    Return the options of a worker.

    Args:
        said: of ``[worker]`` or of a pool, and of the command line.
        pool: its name.
        modules: what the processes of its jobs import.

    Raises:
        ConfigurationError: a queue has no name, belongs to gateways, or has a wrong weight; or
            there is no connection of this name to serve.
    """
    name, connection = served_connection(said.connection, settings.queue, settings.queues)
    queues, weights = queue_names(said, settings, default=connection.default)
    return WorkerOptions(
        queues=queues,
        ordered=frozenset({settings.broadcast.queue}),
        concurrency=said.concurrency,
        tries=said.tries,
        timeout=said.timeout,
        backoff=as_backoff(said.backoff),
        lease=connection.lease,
        max_crashes=connection.max_crashes,
        grace=said.grace,
        max_jobs=1 if said.once else said.max_jobs or None,
        max_time=said.max_time or None,
        memory=said.memory * MEGABYTE or None,
        max_away=said.max_away or None,
        stop_when_empty=said.once or said.stop_when_empty,
        stop_when_empty_for=said.stop_when_empty_for or None,
        weights=weights,
        lanes=connection.lanes,
        reserve_ahead=said.reserve_ahead,
        rest=said.rest,
        sleep=said.sleep,
        modules=tuple(modules),
        jobs_per_child=said.jobs_per_child,
        force=said.force,
        label=said.name,
        pool=pool,
        connection=name,
    )


def with_queues(options: WorkerOptions, more: Sequence[str]) -> WorkerOptions:
    """Return `options` with `more` queues behind theirs; those of gateways are left out."""
    added = [name for name in more if name not in (*options.queues, *OF_GATEWAYS)]
    weights = None if options.weights is None else {**dict.fromkeys(added, 1), **options.weights}
    return dataclasses.replace(options, queues=(*options.queues, *added), weights=weights)


def queue_names(
    said: WorkerSettings, settings: Settings, *, default: str | None = None
) -> tuple[tuple[str, ...], dict[str, int] | None]:
    """
    Return the queues to serve, and their weights, or None for strict order.

    Args:
        default: the queue of jobs that name none; None is that of ``[queue]``.

    Raises:
        ConfigurationError: a wrong name or weight, or a queue of gateways.
    """
    if not said.queue:
        names = dict.fromkeys((settings.broadcast.queue, default or settings.queue.default), 1)
    else:
        names = {}
        for text in said.queue:
            try:
                name, weight = parse_queue(text)
            except ValueError as error:
                raise ConfigurationError(f"worker.queue: {error}") from None
            names.setdefault(name, weight)
    for name in names:
        if not is_queue(name):
            raise ConfigurationError(
                f"worker.queue: {shown(name)} is no name of a queue: 1 to 128 of letters, digits "
                "and - _ . @"
            )
    for name in OF_GATEWAYS:
        if name in names:
            raise ConfigurationError(
                f"{name} is for gateways (broadcaster serve), which have the secrets that sign "
                "webhooks: take it out of the queues of the worker"
            )
    weighted = said.weights or any(":" in text for text in said.queue)
    return tuple(names), names if weighted else None
