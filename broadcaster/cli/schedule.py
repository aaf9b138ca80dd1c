"""``broadcaster schedule``: queue jobs when they are due."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from broadcaster.cli.table import plain

if TYPE_CHECKING:
    from broadcaster.contracts.application import Application
    from broadcaster.scheduling.timetable import Entry

_modules = click.argument("modules", nargs=-1)


@click.group()
def schedule() -> None:
    """Queue jobs when they are due."""


@schedule.command()
@_modules
@click.option("--once", is_flag=True, help="Queue what is due now, and end; for cron.")
def run(modules: tuple[str, ...], *, once: bool) -> None:
    """
    Queue what is due, until TERM or Ctrl-C.

    MODULES are imported first, and those of the `imports` setting; they say what is
    scheduled. Start it on several hosts: one works, and another takes over within 15
    seconds if it dies. What was due meanwhile is made up for, up to a minute late.
    """
    from broadcaster.cli import logs
    from broadcaster.settings import load_settings

    settings = load_settings()
    settings.require_redis()
    logs.configure(settings.gateway.log_format, logs.level_of(settings).upper())
    application, entries = _open(modules)
    asyncio.run(_run(application, entries, once=once))


async def _run(application: Application, entries: list[Entry], *, once: bool) -> None:
    from broadcaster.wiring.schedule import open_schedule

    runner = open_schedule(application, entries)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop)
    try:
        if once:
            await runner.turn()
            runner.stop()
        await runner.run()
    finally:
        await application.aclose()


@schedule.command("list")
@_modules
@click.option("--next", "count", type=click.IntRange(1, 100), default=1, help="Moments to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def list_entries(modules: tuple[str, ...], count: int, *, as_json: bool) -> None:
    """Show what is scheduled, and when it is due next, in UTC."""
    from broadcaster.scheduling.timetable import upcoming

    _, entries = _open(modules)
    now = time.time()
    shown = [
        {
            "name": entry.name,
            "job": entry.job.options.name,
            "times": str(entry.times),
            "queue": entry.job.options.queue,
            "without_overlapping": entry.lock is not None,
            "next": [_iso(moment) for moment in upcoming(entry, now, count)],
        }
        for entry in entries
    ]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    if not shown:
        click.echo("nothing is scheduled: name the modules that say so")
    for entry, line in zip(entries, shown, strict=True):
        moments = "  ".join(_iso(moment) for moment in upcoming(entry, now, count))
        click.echo(plain(f"{line['name']}  {line['times']}  next {moments or 'never'}"))


@schedule.command()
@click.argument("name")
@_modules
def test(name: str, modules: tuple[str, ...]) -> None:
    """
    Queue the scheduled job NAME now.

    As if it were due; it changes nothing else.
    """
    application, entries = _open(modules)
    found = [entry for entry in entries if name in (entry.name, entry.job.options.name)]
    if len(found) != 1:
        problem = "no scheduled job is" if not found else f"{len(found)} scheduled jobs are"
        names = ", ".join(entry.name for entry in found or entries) or "none"
        raise click.ClickException(plain(f"{problem} called {name}; there are: {names}"))
    try:
        job_id = found[0].job.dispatch()
    finally:
        application.close()
    click.echo(f"queued {plain(found[0].name)} as {job_id}" if job_id else "it is queued already")


def _open(modules: tuple[str, ...]) -> tuple[Application, list[Entry]]:
    from broadcaster import current
    from broadcaster.scheduling.entries import the_schedule
    from broadcaster.settings import load_settings
    from broadcaster.wiring.worker import import_jobs

    settings = load_settings()
    import_jobs(tuple(dict.fromkeys((*settings.imports, *modules))))
    return current.configure(settings), the_schedule.entries()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
