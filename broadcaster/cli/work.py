"""``broadcaster work``: run queued jobs and broadcasts."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.cli.heeding import EarlyPause
    from broadcaster.cli.lifeline import Tether
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.scheduling.timetable import Entry
    from broadcaster.settings import Settings, WorkerSettings
    from broadcaster.worker.heartbeat import HeldJob
    from broadcaster.worker.options import ExitReason, WorkerOptions
    from broadcaster.worker.worker import Worker

logger = logging.getLogger("broadcaster.worker")


def _switch(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return an option that is on, off, or as the settings say."""
    return click.option(f"--{name}/--no-{name}", default=None, help=text)


_OPTIONS = (
    click.option(
        "--queue",
        help="Queues, comma-separated, the most urgent first: mail,default. With weights, "
        "mail:3,default:1, they share the slots. Default: broadcasts,default.",
    ),
    _switch("weights", "Share the slots among the queues by weight."),
    click.option(
        "--concurrency",
        type=click.IntRange(1, 1_000),
        help="Jobs that run at once in one process. Default: 10.",
    ),
    click.option("--processes", type=click.IntRange(1, 256), help="Processes. Default: 1."),
    click.option(
        "--reserve-ahead",
        type=click.IntRange(0, 1_000),
        help="Short jobs that a process reserves before it has a slot for them. Default: 300.",
    ),
    click.option(
        "--jobs-per-child",
        type=click.IntRange(1, 1_000_000),
        help="Sync jobs with a timeout that run one after another in the same process; 1 gives "
        "each a fresh one. Default: 500.",
    ),
    click.option(
        "--tries",
        type=click.IntRange(min=0),
        help="Tries of a job that does not say; 0 is no limit. Default: 1.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        help="Seconds for one try of a job that does not say; 0 is no limit. "
        "Default: 60 for async jobs. Given here it holds for sync jobs too, each of which then "
        "has a process of its own while it runs.",
    ),
    click.option(
        "--backoff",
        help="Seconds before each retry of a job that does not say, comma-separated; "
        "the last one repeats. Default: 0.",
    ),
    click.option(
        "--grace",
        type=click.FloatRange(min=0),
        help="Seconds that running jobs get to finish at a stop; the rest is handed back. "
        "Default: 20.",
    ),
    click.option("--rest", type=click.FloatRange(min=0), help="Seconds a slot pauses after a job."),
    click.option(
        "--sleep",
        type=click.FloatRange(0.05, 60),
        help="Longest time between two looks at an empty queue; jobs wake it. Default: 2.",
    ),
    click.option(
        "--max-jobs", type=click.IntRange(min=0), help="Stop after this many jobs; 0 is no limit."
    ),
    click.option(
        "--max-time",
        type=click.FloatRange(min=0),
        help="Stop after this many seconds; 0 is no limit.",
    ),
    click.option(
        "--memory",
        type=click.IntRange(min=0),
        help="Stop when it takes more MB of RAM than this; 0 is no limit.",
    ),
    click.option(
        "--max-away",
        type=click.FloatRange(min=0),
        help="Stop when the queue cannot be reached for this many seconds; 0 is never.",
    ),
    _switch("once", "Run one job, if there is one, and stop."),
    _switch("stop-when-empty", "Stop when no job is ready."),
    click.option(
        "--stop-when-empty-for",
        type=click.FloatRange(min=0),
        help="Stop when no job was ready for this many seconds.",
    ),
    _switch("force", "Take jobs of paused queues too."),
    click.option("--name", help="What monitors call it."),
    click.option("--connection", help="Queue connection to serve. Default: that of [queue]."),
    click.option(
        "--health-port",
        type=click.IntRange(0, 65_535),
        help="Port of /healthz and /ready on 127.0.0.1; 0 is none.",
    ),
    click.option("--health-socket", help="Path of a Unix socket for the same."),
    _switch("json", "Log one JSON object per line, as it does anyway if stdout is no terminal."),
)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("modules", nargs=-1)
@_with_options
@click.option("--pool", default="", help="Pool of the settings, [workers.NAME], to belong to.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default=None,
    help="Default: info, and debug with the setting `debug`.",
)
@click.option("--tethered", is_flag=True, hidden=True)
@click.option("--all-queues", is_flag=True, hidden=True)
@click.option("--with-schedule", is_flag=True, hidden=True)
def work(
    modules: tuple[str, ...],
    pool: str,
    log_level: str | None,
    *,
    tethered: bool,
    all_queues: bool,
    with_schedule: bool,
    **said: Any,
) -> None:
    """
    Run queued jobs and broadcasts.

    MODULES are imported first; they define the jobs (shop.jobs shop.events). Those in the
    `imports` setting are imported too. Every option is also a setting: --max-jobs is
    worker.max_jobs.

    TERM, QUIT or Ctrl-C finishes what runs, for up to --grace seconds, and hands the rest
    back; a second one does not wait. USR2 takes no new jobs, CONT goes on. Exit codes: 0
    stopped in good order, 1 handed jobs back or a job hung, 12 over --memory, 69 the queue
    was away for --max-away, 78 bad configuration.
    """
    from broadcaster.cli import logs
    from broadcaster.cli.heeding import EarlyPause
    from broadcaster.cli.lifeline import Tether
    from broadcaster.cli.serve import loop_factory
    from broadcaster.cli.work_processes import run_processes
    from broadcaster.jobs.registry import registry
    from broadcaster.scheduling.entries import the_schedule
    from broadcaster.settings import load_settings
    from broadcaster.wiring.worker import import_jobs
    from broadcaster.wiring.worker_options import with_queues, worker_options

    early = EarlyPause()
    early.heed()
    given = {name: value for name, value in said.items() if value is not None}
    settings = load_settings({f"worker.{name}": value for name, value in given.items()})
    settings.require_redis()
    chosen = chosen_settings(settings, pool, given)
    level = log_level or logs.level_of(settings)
    log_format = "json" if chosen.json else settings.gateway.log_format
    logs.configure(log_format, level.upper())
    logs.warn_of_settings(logger, settings.warnings)
    names = tuple(dict.fromkeys((*settings.imports, *modules)))
    options = worker_options(settings, chosen, pool=pool, modules=names)
    if chosen.processes > 1 and not tethered:
        sys.exit(run_processes(sys.argv[1:], chosen, early))
    tether = Tether() if tethered else None
    if tether is not None:
        tether.start()
    _import(names, import_jobs, by_parent=tethered)
    if all_queues and not chosen.queue:
        options = with_queues(options, registry.queues(options.connection))
    elif settings.debug and not chosen.queue:
        _warn_of_unserved(options)
    entries = the_schedule.entries() if with_schedule else []
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        reason, threads = runner.run(_work(settings, chosen, options, entries, tether, early))
    leave(reason, threads)


def chosen_settings(settings: Settings, pool: str, given: dict[str, Any]) -> WorkerSettings:
    """
    Return what holds for this worker: the command line, then its pool, then ``[worker]``.

    Args:
        settings: loaded with the command line.
        given: what the command line said, by name.

    Raises:
        ConfigurationError: there is no such pool.
    """
    from broadcaster.wiring.worker_options import find_pool

    line = {name: getattr(settings.worker, name) for name in given}
    return dataclasses.replace(find_pool(settings, pool), **line)


def _import(
    names: Sequence[str], import_jobs: Callable[[Sequence[str]], None], *, by_parent: bool
) -> None:
    """
    Import the modules called `names`.

    Args:
        by_parent: others like this process start beside it, and all say what is wrong: each
            in one record, because tracebacks of several processes come line by line.
    """
    from broadcaster.cli.import_errors import explain, users_part
    from broadcaster.errors import BroadcasterError

    try:
        import_jobs(names)
    except BroadcasterError:
        raise
    except Exception as error:
        if not by_parent:
            raise
        trace = users_part(error.__traceback__)
        logger.critical(
            "the jobs cannot be imported: %s",
            explain(error),
            exc_info=(type(error), error, trace),
            extra={"event": "import_failed"},
        )
        sys.exit(1)


def _warn_of_unserved(options: WorkerOptions) -> None:
    """Say in development which queues nobody listed; their jobs would wait in silence."""
    from broadcaster.jobs.registry import registry

    unserved = [one for one in registry.queues(options.connection) if one not in options.queues]
    if unserved:
        shown = ", ".join(unserved)
        logger.warning(
            "jobs here go to queues that this worker does not serve: %s; list them all as `queue` "
            "under [worker] in broadcaster.toml, or start: broadcaster work --queue %s",
            shown,
            ",".join(unserved),
            extra={"event": "unserved"},
        )


def leave(reason: ExitReason, threads: int) -> NoReturn:
    """Exit with the code that `reason` stands for, without waiting for `threads`."""
    if threads:
        logger.warning(
            "%d sync jobs were still running in threads and are cut off; they run again elsewhere",
            threads,
            extra={"event": "cut_off", "count": threads},
        )
        logging.shutdown()
        sys.stdout.flush()
        os._exit(reason.exit_code)  # a normal exit would wait for the threads
    sys.exit(reason.exit_code)


async def _work(
    settings: Settings,
    chosen: WorkerSettings,
    options: WorkerOptions,
    entries: Sequence[Entry],
    tether: Tether | None,
    early: EarlyPause,
) -> tuple[ExitReason, int]:
    from broadcaster import current
    from broadcaster.cli.heeding import heed_no_more
    from broadcaster.wiring.schedule import running_schedule
    from broadcaster.wiring.worker import open_worker
    from broadcaster.worker.health import serving_health
    from broadcaster.worker.memory import collect_seldom
    from broadcaster.worker.signals import obeying_signals

    opened = open_worker(settings, options, _end_stuck)
    worker = opened.worker
    if tether is not None:
        _attach(tether, worker)
    try:
        await _check(opened.clients)
        collect_seldom()
        address = (chosen.health_port, chosen.health_socket)
        async with serving_health(worker, *address):
            with obeying_signals(worker):
                if early.wanted:
                    worker.pause()
                async with opened.beside(), running_schedule(current.application(), entries):
                    reason = await worker.run()
        heed_no_more()
        return reason, opened.runner.busy_threads
    finally:
        await opened.aclose()


def _attach(tether: Tether, worker: Worker) -> None:
    """Have `worker` do what its parent says."""
    loop = asyncio.get_running_loop()

    def pause(paused: bool) -> None:  # noqa: FBT001 - see `Tether.attach`
        loop.call_soon_threadsafe(worker.pause if paused else worker.resume)

    tether.attach(lambda slots: loop.call_soon_threadsafe(worker.running.resize, slots), pause)


def _end_stuck(job: HeldJob) -> NoReturn:
    """End the process: a job blocks its event loop past every timeout."""
    from broadcaster.worker.options import ExitReason

    logger.critical(
        "job %s blocks the worker past its timeout; the process ends, and what it held comes back",
        job.id,
        extra={"event": "worker_stuck", "job": job.job, "job_id": job.id, "queue": job.queue},
    )
    logging.shutdown()
    os._exit(ExitReason.TIMED_OUT.exit_code)


async def _check(clients: RedisClients) -> None:
    """Refuse a server that would lose jobs; one that is away is waited for by the worker."""
    from broadcaster.drivers.redis.client import check_server
    from broadcaster.errors import DriverUnavailable

    try:
        await check_server(clients)
    except DriverUnavailable as error:
        logger.warning("waiting for the queue: %s", error, extra={"event": "waiting"})
