"""``broadcaster supervise``: keep as many workers as there is work for."""

from __future__ import annotations

import asyncio
import json
import signal
from functools import partial
from typing import TYPE_CHECKING

import click

from broadcaster.cli.heeding import STOPS, heed_no_more
from broadcaster.cli.queue_screen import shown_seconds
from broadcaster.cli.table import Cell, Column, Style, plain, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broadcaster.contracts.supervision import GroupStatus, PoolStatus, SupervisorStatus
    from broadcaster.supervisor.supervisor import Supervisor


@click.command()
@click.argument("modules", nargs=-1)
@click.option("--only", multiple=True, help="Only [supervisors.NAME]; may be repeated.")
@click.option("--environment", help="Which tables of [supervisors.NAME.environments] count.")
@click.option("--status", is_flag=True, help="Show what all supervisors do, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --status: JSON, for programs.")
def supervise(
    modules: tuple[str, ...],
    only: tuple[str, ...],
    environment: str | None,
    *,
    status: bool,
    as_json: bool,
) -> None:
    """
    Keep the workers of [supervisors.NAME] running, as many as there is work for.

    Workers import MODULES, and those of the `imports` setting. TERM or Ctrl-C lets all of
    them finish; a second one has them hand back what runs. HUP reads the settings again and
    replaces every worker, one per queue at a time, with the code of today; USR1 reads them
    again and touches only what has changed. Settings that are wrong change nothing.
    """
    from broadcaster.cli import logs
    from broadcaster.settings import load_settings
    from broadcaster.wiring.supervise import open_supervisor, supervisors_of

    asked: list[bool] = []  # before there is who can be asked
    if not status:
        _heed_reloads(asked.append)
    load = partial(load_settings, {"environment": environment})
    settings = load()
    settings.require_redis()
    if status:
        _show(supervisors_of(settings), as_json=as_json)
        return
    logs.configure(settings.gateway.log_format, logs.level_of(settings).upper())
    supervisor, tables = open_supervisor(settings, modules, only, load)
    _heed_reloads(lambda renew: supervisor.reload(renew=renew))
    for renew in asked:
        supervisor.reload(renew=renew)
    try:
        asyncio.run(_run(supervisor))
    finally:
        tables.close()
        _heed_reloads(None)  # Python forgets its handlers before the process is gone


async def _run(supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()
    for number in STOPS:
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run()
    heed_no_more()


def _heed_reloads(ask: Callable[[bool], None] | None) -> None:
    """
    Call `ask` with whether to renew, at HUP and USR1, or pay no heed to them.

    Not by the event loop: these signals would end the process before it runs, and when it has
    run. The turns look by themselves whether they were asked.
    """
    for number in (signal.SIGHUP, signal.SIGUSR1):
        heed = signal.SIG_IGN if ask is None else partial(_ask, ask)
        signal.signal(number, heed)


def _ask(ask: Callable[[bool], None], number: int, _frame: object) -> None:
    ask(number == signal.SIGHUP)


def _show(found: Sequence[SupervisorStatus], *, as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    click.echo("\n".join(supervisor_lines(found)) or "no supervisor is running")


def supervisor_lines(found: Sequence[SupervisorStatus]) -> Iterator[str]:
    """Yield a line for each supervisor, and below it one for each queue that it keeps."""
    for supervisor in found:
        yield plain(f"{supervisor.name}  {supervisor.state}")
        if supervisor.refused:
            yield plain(f"  goes on as it was, for its settings are wrong: {supervisor.refused}")
        rows = [(_titled(pool), group) for pool in supervisor.pools for group in pool.groups]
        for line in table(_columns(rows), Style()) if rows else ():
            yield f"  {line}"


def _columns(rows: Sequence[tuple[str, GroupStatus]]) -> list[Column]:
    def numbers(title: str, of: Callable[[GroupStatus], object]) -> Column:
        return Column(title, [Cell(str(of(group))) for _, group in rows], right=True)

    return [
        Column("pool", [Cell(plain(pool)) for pool, _ in rows]),
        Column("queue", [Cell(plain(group.queue)) for _, group in rows]),
        numbers("processes", lambda group: f"{len(group.pids)} of {group.wanted}"),
        numbers("slots each", lambda group: group.slots),
        numbers("ready", lambda group: group.ready),
        numbers("a job takes", lambda group: _takes(group.runtime)),
        numbers("died", lambda group: group.deaths),
    ]


def _titled(pool: PoolStatus) -> str:
    return f"{pool.name} (drains)" if pool.draining else pool.name


def _takes(seconds: float | None) -> str:
    return "-" if seconds is None else shown_seconds(seconds)
