"""``broadcaster work``: run queued jobs and broadcasts."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from broadcaster.protocol.fact_jobs import WEBHOOK_QUEUE
from broadcaster.protocol.facts import FACT_QUEUE
from broadcaster.worker.options import ExitReason, WorkerOptions

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.settings import Settings

logger = logging.getLogger("broadcaster.worker")

FORCED_EXIT = 1


@click.command()
@click.argument("modules", nargs=-1)
@click.option(
    "--queue",
    "queues",
    help="Queues, comma-separated, the most urgent first. Default: broadcasts,default.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1_000),
    default=10,
    show_default=True,
    help="Jobs that run at once in this process.",
)
@click.option(
    "--tries",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Tries of a job that does not say; 0 is no limit.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    help="Seconds for one try of a job that does not say; 0 is no limit. "
    "Default: 60 for async jobs. Given here it holds for sync jobs too, each of which then "
    "gets a process of its own.",
)
@click.option(
    "--backoff",
    help="Seconds before each retry of a job that does not say, comma-separated; "
    "the last one repeats. Default: 0.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="Seconds that running jobs get to finish at a stop; the rest is handed back.",
)
@click.option("--once", is_flag=True, help="Run one job, if there is one, and stop.")
@click.option("--stop-when-empty", is_flag=True, help="Stop when no job is ready.")
@click.option("--max-jobs", type=click.IntRange(min=1), help="Stop after this many jobs.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default=None)
def work(
    modules: tuple[str, ...],
    queues: str | None,
    concurrency: int,
    tries: int,
    timeout: float | None,
    backoff: str | None,
    grace: float,
    max_jobs: int | None,
    log_level: str | None,
    *,
    once: bool,
    stop_when_empty: bool,
) -> None:
    """
    Run queued jobs and broadcasts.

    MODULES are imported first; they define the jobs (shop.jobs shop.events). Those in the
    `imports` setting are imported too.

    TERM or Ctrl-C finishes what runs, for up to --grace seconds, and hands the rest back;
    a second one does not wait. Exit codes: 0 stopped in good order, 1 handed jobs back,
    78 bad configuration.
    """
    from broadcaster.cli import logs
    from broadcaster.cli.serve import loop_factory
    from broadcaster.settings import load_settings
    from broadcaster.wiring.worker import import_jobs

    settings = load_settings()
    settings.require_redis()
    level = log_level or ("debug" if settings.debug else "info")
    logs.configure(settings.gateway.log_format, level.upper())
    logs.warn_of_settings(logger, settings.warnings)
    names = tuple(dict.fromkeys((*settings.imports, *modules)))
    import_jobs(names)
    options = WorkerOptions(
        queues=queue_names(queues, settings),
        ordered=frozenset({settings.broadcast.queue}),
        concurrency=concurrency,
        tries=tries,
        timeout=timeout,
        backoff=backoff_steps(backoff),
        lease=settings.queue.lease,
        max_crashes=settings.queue.max_crashes,
        grace=grace,
        max_jobs=1 if once else max_jobs,
        stop_when_empty=once or stop_when_empty,
        modules=names,
    )
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        reason, threads = runner.run(_work(settings, options))
    leave(reason, threads)


def leave(reason: ExitReason, threads: int) -> NoReturn:
    """Exit with the code that `reason` stands for, without waiting for `threads`."""
    code = FORCED_EXIT if reason is ExitReason.FORCED else 0
    if threads:
        logger.warning(
            "%d sync jobs were still running in threads and are cut off; they run again elsewhere",
            threads,
            extra={"event": "cut_off", "count": threads},
        )
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)  # a normal exit would wait for the threads
    sys.exit(code)


def queue_names(queues: str | None, settings: Settings) -> tuple[str, ...]:
    """
    Return the names in ``--queue``, or the two that every application has.

    Raises:
        click.BadParameter: an empty name, or a queue of gateways.
    """
    if queues is None:
        return tuple(dict.fromkeys((settings.broadcast.queue, settings.queue.default)))
    names = [name.strip() for name in queues.split(",")]
    if not all(names):
        raise click.BadParameter(f"{queues!r} has an empty name", param_hint="--queue")
    for name in (FACT_QUEUE, WEBHOOK_QUEUE):
        if name in names:
            raise click.BadParameter(
                f"{name} is for gateways (broadcaster serve), which have the secrets that sign "
                "webhooks",
                param_hint="--queue",
            )
    return tuple(dict.fromkeys(names))


def backoff_steps(backoff: str | None) -> tuple[float, ...]:
    """
    Return the seconds in ``--backoff``.

    Raises:
        click.BadParameter: not numbers, or out of range.
    """
    from broadcaster.jobs.backoff import as_backoff

    try:
        return as_backoff([float(step) for step in backoff.split(",")]) if backoff else ()
    except ValueError as error:
        raise click.BadParameter(
            f"{backoff!r} is not seconds, comma-separated ({error})", param_hint="--backoff"
        ) from None


async def _work(settings: Settings, options: WorkerOptions) -> tuple[ExitReason, int]:
    from broadcaster.wiring.worker import open_worker
    from broadcaster.worker.signals import stopping_on_signals

    opened = open_worker(settings, options)
    try:
        await _check(opened.clients)
        with stopping_on_signals(opened.worker.stop):
            reason = await opened.worker.run()
        return reason, opened.runner.busy_threads
    finally:
        await opened.aclose()


async def _check(clients: RedisClients) -> None:
    """Refuse a server that would lose jobs; one that is away is waited for by the worker."""
    from broadcaster.drivers.redis.client import check_server
    from broadcaster.errors import DriverUnavailable

    try:
        await check_server(clients)
    except DriverUnavailable as error:
        logger.warning("waiting for the queue: %s", error, extra={"event": "waiting"})
