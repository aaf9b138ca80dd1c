"""``broadcaster queue``: see how queues are; pause, resume, clear them, and cancel jobs."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from broadcaster.cli.queue_screen import counted, status_lines, worker_json
from broadcaster.cli.supervise import supervisor_lines
from broadcaster.cli.table import plain
from broadcaster.cli.watching import style_of_output, watched

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from broadcaster.cli.table import Style
    from broadcaster.wiring.operations import Operations

_connection = click.option(
    "--connection", default="", help="Queue connection. Default: that of [queue]."
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")


@click.group()
def queue() -> None:
    """See how queues and workers are; pause, resume and clear queues."""


@queue.command()
@click.argument("names", metavar="[QUEUE]...", nargs=-1)
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3_600), default=2.0, help="Seconds between two looks."
)
@_json
@_connection
def status(
    names: tuple[str, ...], every: float, connection: str, *, watch: bool, as_json: bool
) -> None:
    """
    Show queues and workers.

    Per queue: jobs that are ready, delayed, held by workers and failed, the age of the oldest
    ready one, the wait that a new one would have, and what came and ended per minute. Per
    job class: how long it takes, half of them and 95 of 100. Per worker: its current jobs.
    Per supervisor: how many workers it wants for which queue, and has.
    In a narrow terminal columns are left out; --json has everything.
    """
    with _open(connection) as operations:
        if watch:
            look = _json_line if as_json else _screen
            watched(lambda style: look(operations, names, style), every, lines=as_json)
            return
        if as_json:
            click.echo(json.dumps(_document(operations, names), indent=2))
        else:
            click.echo("\n".join(_screen(operations, names, style_of_output())))


def _screen(operations: Operations, names: tuple[str, ...], style: Style) -> list[str]:
    workers = operations.fleet.workers()
    queues = operations.backlogs(names, workers, archived=True)
    kept = list(supervisor_lines(operations.supervisors()))
    return status_lines(queues, workers, time.time(), style, kept)


def _json_line(operations: Operations, names: tuple[str, ...], style: Style) -> list[str]:
    del style
    return [json.dumps(_document(operations, names))]


def _document(operations: Operations, names: tuple[str, ...]) -> dict[str, object]:
    import msgspec

    from broadcaster.supervisor.backlog import as_json as queue_json

    workers = operations.fleet.workers()
    queues = operations.backlogs(names, workers, archived=True)
    now = time.time()
    return {
        "at": now,
        "queues": [queue_json(each) for each in queues],
        "workers": [worker_json(worker, now) for worker in workers],
        "supervisors": msgspec.to_builtins(operations.supervisors()),
    }


@queue.command()
@click.argument("names", metavar="QUEUE,QUEUE...")
@click.option(
    "--max",
    "most",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    help="Jobs that wait, are delayed, or run, from which on a queue is busy.",
)
@click.option(
    "--max-wait", type=click.FloatRange(min=0), help="Seconds of waiting that are too many."
)
@click.option("--module", "modules", multiple=True, help="Module with listeners of QueueBusy.")
@_json
@_connection
def monitor(
    names: str,
    most: int,
    max_wait: float | None,
    modules: tuple[str, ...],
    connection: str,
    *,
    as_json: bool,
) -> None:
    """
    Exit with 1 if one of these queues is busy.

    Meant for cron. Listeners to QueueBusy are told of each; modules of the `imports` setting
    are imported for them.
    """
    from broadcaster.cli.import_errors import import_users
    from broadcaster.jobs.announcing import announce
    from broadcaster.jobs.lifecycle import QueueBusy
    from broadcaster.settings import load_settings
    from broadcaster.supervisor.backlog import Bounds, problems
    from broadcaster.supervisor.backlog import as_json as queue_json

    wanted = [name for text in names.split(",") if (name := text.strip())]
    if not wanted:
        raise click.UsageError("name at least one queue: mail,default")
    import_users(load_settings(), modules)
    with _open(connection) as operations:
        _note_unused(operations, wanted)
        found = operations.backlogs(wanted)
    busy = {each.queue: problems(each, Bounds(most, max_wait)) for each in found}
    for each in found:
        if busy[each.queue]:
            announce(
                QueueBusy(connection_name=operations.connection, queue=each.queue, size=each.size)
            )
    if as_json:
        shown = [{**queue_json(each), "busy": busy[each.queue]} for each in found]
        click.echo(json.dumps(shown, indent=2))
    else:
        for each in found:
            said = "; ".join(busy[each.queue]) or counted(each.size, "job")
            click.echo(f"{plain(each.queue)}: {'BUSY' if busy[each.queue] else 'ok'}: {said}")
    sys.exit(1 if any(busy.values()) else 0)


@queue.command(short_help="Let the jobs of QUEUE wait.")
@click.argument("name", metavar="QUEUE")
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=1),
    help="Resume by itself after so many seconds.",
)
@click.option("--by", default="", help="Who pauses it, for status. Default: user@host.")
@_connection
def pause(name: str, seconds: float | None, by: str, connection: str) -> None:
    """Let the jobs of QUEUE wait; those that run go on to their end."""
    from broadcaster.jobs.pausing import pause_served

    with _open(connection) as operations:
        _note_unused(operations, [name])
        pause_served(operations.served, name, seconds, by)
    ends = "until `broadcaster queue resume`" if seconds is None else f"for {seconds:g} s"
    click.echo(f"{plain(name)} is paused {ends}")


@queue.command()
@click.argument("name", metavar="QUEUE")
@_connection
def resume(name: str, connection: str) -> None:
    """Let a paused queue go on."""
    from broadcaster.jobs.pausing import resume_served

    with _open(connection) as operations:
        resumed = resume_served(operations.served, name)
    click.echo(f"{plain(name)} goes on" if resumed else f"{plain(name)} was not paused")


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_connection
def clear(name: str, connection: str, *, yes: bool) -> None:
    """
    Forget the jobs of QUEUE that wait.

    Delayed ones too; running and failed ones stay.
    """
    with _open(connection) as operations:
        if not yes:
            sizes = operations.queue.sizes(name)
            waiting = sizes.ready + sizes.delayed
            click.confirm(
                f"forget {counted(waiting, 'job')} of {plain(name)} for good?", abort=True
            )
        count = sum(operations.admin.clear(part) for part in operations.parts(name))
    click.echo(f"forgot {counted(count, 'job')} of {plain(name)}")


@queue.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@_connection
def cancel(job_ids: tuple[str, ...], connection: str) -> None:
    """
    Take jobs back, in whatever queue they wait.

    Those that run end in peace and are not tried again. In its batch such a job has failed, and
    its chain breaks. Exits with 1 if one is not there: it has ended, or failed
    (see `broadcaster failed`).
    """
    with _open(connection) as operations:
        missing = [each for each in job_ids if not operations.admin.cancel(None, [each])]
    for each in missing:
        click.echo(f"no job {plain(each)} waits or runs", err=True)
    click.echo(f"cancelled {counted(len(job_ids) - len(missing), 'job')}")
    sys.exit(1 if missing else 0)


@queue.command()
@_connection
def restart(connection: str) -> None:
    """
    Have all workers finish their jobs and stop.

    What keeps them running starts them again, with the code of today.
    """
    with _open(connection) as operations:
        count = len(operations.fleet.workers())
        operations.fleet.restart()
    whose, whom = ("its", "it") if count == 1 else ("their", "them")
    click.echo(
        f"asked {counted(count, 'worker')} to stop when {whose} jobs are done; "
        f"what keeps {whom} running starts {whom} again"
    )


def _note_unused(operations: Operations, names: Sequence[str]) -> None:
    """Say which of these queues may be misspelt."""
    from broadcaster.protocol.lanes import split_lane
    from broadcaster.protocol.suggestion import did_you_mean

    known = {split_lane(name)[0] for name in operations.queue.queues()}
    for name in sorted({split_lane(name)[0] for name in names} - known):
        hint = did_you_mean(name, known)
        click.echo(f"note: nothing was ever pushed to a queue {plain(name)}{hint}", err=True)


@contextmanager
def _open(connection: str) -> Generator[Operations, None, None]:
    from broadcaster.settings import load_settings
    from broadcaster.wiring.operations import open_operations

    operations = open_operations(load_settings(), connection)
    try:
        yield operations
    finally:
        operations.close()
