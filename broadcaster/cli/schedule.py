"""``broadcaster schedule``: queue jobs when they are due."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from broadcaster.cli.table import Cell, Column, plain, table
from broadcaster.cli.watching import style_of_output
from broadcaster.scheduling.timetable import upcoming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from broadcaster.contracts.application import Application
    from broadcaster.scheduling.timetable import Entry

_STAMP = "%Y-%m-%d %H:%M:%S"
_NOTHING = (
    "nothing is scheduled: name the modules that have @schedule (broadcaster schedule list "
    "shop.jobs), or list them as `imports` in broadcaster.toml"
)
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
    if not entries:
        click.echo(f"note: {_NOTHING}", err=True)
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
@click.option(
    "--next", "count", type=click.IntRange(1, 100), default=1, help="Moments to show. Default: 1."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def list_entries(modules: tuple[str, ...], count: int, *, as_json: bool) -> None:
    """
    Show what is scheduled, and when it is due next.

    In UTC, and in its time zone. MODULES are imported first, and those of the `imports`
    setting.
    """
    _, entries = _open(modules)
    now = time.time()
    if as_json:
        shown = [_entry_json(entry, entries, now, count) for entry in entries]
        click.echo(json.dumps(shown, indent=2))
    elif entries:
        click.echo("\n".join(table(_columns(entries, now, count), style_of_output())))
    else:
        click.echo(_NOTHING)


def _entry_json(
    entry: Entry, entries: Sequence[Entry], now: float, count: int
) -> Mapping[str, object]:
    moments = upcoming(entry, now, count)
    return {
        "name": entry.name,
        "label": _label(entry, entries),
        "job": entry.job.options.name,
        "times": str(entry.times),
        "timezone": str(_zone(entry)),
        "queue": entry.job.options.queue,
        "without_overlapping": entry.lock is not None,
        "next": [_at(moment, UTC).isoformat(timespec="seconds") for moment in moments],
        "next_local": [
            _at(moment, _zone(entry)).isoformat(timespec="seconds") for moment in moments
        ],
    }


def _columns(entries: Sequence[Entry], now: float, count: int) -> list[Column]:
    """Return a row for each moment; what stands in the row above is not said again."""
    names, whens, utc, local = (list[Cell]() for _ in range(4))
    for entry in entries:
        zone = _zone(entry)
        for place, moment in enumerate(upcoming(entry, now, count) or [None]):
            names.append(Cell("" if place else plain(_label(entry, entries))))
            whens.append(Cell("" if place else plain(str(entry.times))))
            utc.append(Cell("never" if moment is None else f"{_at(moment, UTC):{_STAMP}}"))
            elsewhere = moment is not None and str(zone) != "UTC"
            local.append(Cell(f"{_at(moment, zone):{_STAMP} %Z}" if moment and elsewhere else ""))
    there = [Column("in its time zone", local)] if any(cell.text for cell in local) else []
    return [Column("name", names), Column("when", whens), Column("next, UTC", utc), *there]


def _label(entry: Entry, entries: Sequence[Entry]) -> str:
    """Return its job's name if no other entry could be meant, else its own."""
    job = entry.job.options.name
    others = [each for each in entries if each is not entry]
    is_made = entry.name.startswith(f"{job}:")
    taken = any(job in (each.name, each.job.options.name) for each in others)
    return job if is_made and not taken else entry.name


def _zone(entry: Entry) -> tzinfo:
    name = getattr(entry.times, "zone", "UTC")
    return UTC if name == "UTC" else ZoneInfo(name)


def _at(moment: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(moment, zone)


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
    from broadcaster.cli.import_errors import import_users
    from broadcaster.scheduling.entries import the_schedule
    from broadcaster.settings import load_settings

    settings = load_settings()
    import_users(settings, modules)
    return current.configure(settings), the_schedule.entries()
