"""``broadcaster failed``: jobs that were given up."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.failed_details import (
    detail_lines,
    list_lines,
    payload_of,
    read_moment,
    summary,
)
from broadcaster.cli.queue_screen import counted
from broadcaster.cli.table import plain
from broadcaster.cli.watching import style_of_output
from broadcaster.contracts.stores import FailedFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from broadcaster.contracts.stores import FailedJobs

_FILTERS = (
    click.option("--connection", help="Only of this queue connection."),
    click.option("--queue", help="Only of this queue."),
    click.option("--class", "job", help="Only of this class, by its registered name."),
    click.option("--exception", help="Only with this type of exception, or this reason."),
    click.option("--since", help="Only failed since: 2h, 1d, 2026-11-20, 2026-11-20T14:00Z."),
    click.option("--until", help="Only failed before."),
    click.option("--search", help="Only with this text in class, exception or error."),
)


def _with_filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group()
def failed() -> None:
    """List, show, retry and delete failed jobs."""


@failed.command("list")
@_with_filters
@click.option("--open", "only_open", is_flag=True, help="Leave out those that were retried.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="Show at most so many.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def list_failed(limit: int, *, only_open: bool, as_json: bool, **said: str | None) -> None:
    """List failed jobs, the latest first."""
    from broadcaster.jobs.failures import find_failed

    where = _where(said, retried=False if only_open else None)
    with _open() as store:
        jobs = find_failed(store, where, said["search"] or "", limit)
    if as_json:
        click.echo(json.dumps([summary(job) for job in jobs], indent=2))
        return
    if not jobs:
        click.echo("no failed jobs")
        return
    click.echo("\n".join(list_lines(jobs, style_of_output())))
    more = ", or more: --limit shows them" if len(jobs) == limit else ""
    click.echo(
        f"{counted(len(jobs), 'failed job')}{more}; see one with `broadcaster failed show ID`, "
        "run them again with `broadcaster failed retry ID|--all`",
        err=True,
    )


@failed.command()
@click.argument("job_id", metavar="ID")
@click.option("--secrets", is_flag=True, help="Show the payload as it is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def show(job_id: str, *, secrets: bool, as_json: bool) -> None:
    """
    Show one failed job with its traceback and payload. Exit code 1 if there is none.

    Values whose names sound like secrets (password, token, card, ...) are hidden. Names are
    all that is looked at: other fields, and the text of the error, are shown as they are.
    """
    with _open() as store:
        job = store.get(job_id)
    if job is None:
        raise click.ClickException(f"no failed job has the id {plain(job_id)}")
    details: dict[str, object] = summary(job) | {
        "payload": payload_of(job, secrets=secrets),
        "traceback": job.traceback,
    }
    if as_json:
        click.echo(json.dumps(details, indent=2))
        return
    click.echo("\n".join(detail_lines(details)))


@failed.command()
@click.argument("job_ids", metavar="[ID|all]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were not retried yet.")
@click.option("--range", "between", metavar="SINCE..UNTIL", help="Both at once: 2h..30m.")
@_with_filters
@click.option("--module", "modules", multiple=True, help="With listeners of JobRetryRequested.")
def retry(
    job_ids: tuple[str, ...],
    between: str | None,
    modules: tuple[str, ...],
    *,
    everything: bool,
    **said: str | None,
) -> None:
    """
    Queue failed jobs again, with all their tries.

    Say ids, or which: --all, --queue, --class, --exception, --since, --until, --range,
    --search, --connection. Those that were retried before are left out. Exit code 1 if an id is not found.
    """
    from broadcaster.cli.import_errors import import_users
    from broadcaster.jobs.failures import retry_failed, retry_found
    from broadcaster.settings import load_settings

    if between is not None:
        said["since"], _, said["until"] = between.partition("..")
    everything = everything or job_ids == ("all",)
    ids = () if job_ids == ("all",) else job_ids
    filtered = any(said.values())
    if bool(ids) == (everything or filtered):
        raise click.UsageError("say ids, or --all, or which: --queue, --class, --range, --search")
    where = _where(said, retried=False)
    import_users(load_settings(), modules)
    with _open() as store:
        search = said["search"] or ""
        count = retry_failed(store, ids) if ids else retry_found(store, where, search)
    click.echo(f"queued {counted(count, 'job')} again")
    if count < len(ids):
        which = _missing(len(ids) - count)
        raise click.ClickException(
            f"{which}, or retried before; `broadcaster failed list --open` shows those there are"
        )


@failed.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
def forget(job_ids: tuple[str, ...]) -> None:
    """Delete failed jobs. Exit code 1 if one is not found."""
    with _open() as store:
        count = store.forget(job_ids)
    click.echo(f"deleted {counted(count, 'failed job')}")
    if count < len(job_ids):
        raise click.ClickException(_missing(len(job_ids) - count))


@failed.command()
@_with_filters
@click.option("--yes", is_flag=True, help="Do not ask.")
def flush(*, yes: bool, **said: str | None) -> None:
    """Delete all failed jobs, or those that are meant."""
    from broadcaster.jobs.failures import find_failed

    where, search = _where(said), said["search"] or ""
    with _open() as store:
        if not yes:
            which = "these" if any(said.values()) else "all"
            click.confirm(f"delete {which} failed jobs for good?", abort=True)
        if search:
            count = store.forget([job.id for job in find_failed(store, where, search)])
        else:
            count = store.flush(where=where)
    click.echo(f"deleted {counted(count, 'failed job')}")


@failed.command()
@click.option(
    "--hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Delete those that failed longer ago.",
)
def prune(hours: float) -> None:
    """Delete old failed jobs; meant for cron. The store keeps them for a week at most."""
    with _open() as store:
        count = store.prune(hours * 3_600)
    click.echo(f"deleted {counted(count, 'failed job')}")


def _missing(count: int) -> str:
    verb = "is no failed job" if count == 1 else "are no failed jobs"
    return f"{count} of the ids {verb}"


def _where(said: dict[str, Any], *, retried: bool | None = None) -> FailedFilter:
    now = time.time()
    moments: dict[str, float | None] = {}
    for name in ("since", "until"):
        try:
            moments[name] = read_moment(said[name], now) if said[name] else None
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    return FailedFilter(
        connection=said["connection"],
        queue=said["queue"],
        job=said["job"],
        exception=said["exception"],
        since=moments["since"],
        until=moments["until"],
        retried=retried,
    )


@contextmanager
def _open() -> Generator[FailedJobs, None, None]:
    from broadcaster.settings import load_settings
    from broadcaster.wiring.failed_stores import open_failed_jobs

    with open_failed_jobs(load_settings()) as store:
        yield store
