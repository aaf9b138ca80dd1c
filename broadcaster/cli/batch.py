"""``broadcaster batch``: see how far batches are; cancel, retry and delete them."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from broadcaster.cli.batch_details import detail_lines, details, list_lines, summary
from broadcaster.cli.queue_screen import counted
from broadcaster.cli.table import plain
from broadcaster.cli.watching import style_of_output

if TYPE_CHECKING:
    from collections.abc import Generator

    from broadcaster.contracts.application import Application
    from broadcaster.jobs.batch import Batch

_json = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")


@click.group("batch")
def batch_group() -> None:
    """List, show, cancel, retry and delete batches."""


@batch_group.command("list")
@click.option("--open", "only_open", is_flag=True, help="Leave out finished and cancelled ones.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="Show at most so many.",
)
@_json
def list_batches(limit: int, *, only_open: bool, as_json: bool) -> None:
    """List batches, the latest first."""
    with _application() as application:
        # Open ones may lie behind any number of others.
        found = application.batches.newest(100_000 if only_open else limit)
    if only_open:
        found = [each for each in found if not (each.finished or each.cancelled)][:limit]
    if as_json:
        click.echo(json.dumps([summary(each) for each in found], indent=2))
        return
    if not found:
        click.echo("no batches")
        return
    click.echo("\n".join(list_lines(found, style_of_output())))
    more = "; there may be more: --limit shows them" if len(found) == limit else ""
    count = "1 batch" if len(found) == 1 else f"{len(found):,} batches"
    click.echo(f"{count}{more}; see one with `broadcaster batch show ID`", err=True)


@batch_group.command()
@click.argument("batch_id", metavar="ID")
@click.option("--secrets", is_flag=True, help="Show the options as they are.")
@_json
def show(batch_id: str, *, secrets: bool, as_json: bool) -> None:
    """
    Show one batch. Exit code 1 if there is none.

    Callbacks are those that were not queued yet. Options whose names sound like secrets
    (password, token, card, ...) are hidden.
    """
    with _application() as application:
        record = _found(batch_id).record
        told = details(record, application.batches.callbacks(batch_id), secrets=secrets)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    click.echo("\n".join(detail_lines(record, told, style_of_output())))


@batch_group.command()
@click.argument("batch_ids", metavar="ID...", nargs=-1, required=True)
def cancel(batch_ids: tuple[str, ...]) -> None:
    """
    Skip the jobs of batches that have not started.

    Exit code 1 if one of them does not exist, is finished, or was cancelled.
    """
    with _application():
        refused = [each for each in batch_ids if not _cancelled(each)]
    for each in refused:
        click.echo(f"no batch {plain(each)} runs", err=True)
    count = len(batch_ids) - len(refused)
    click.echo(f"cancelled {count} of {len(batch_ids)}")
    sys.exit(1 if refused else 0)


@batch_group.command(short_help="Queue the failed jobs of a batch again.")
@click.argument("batch_id", metavar="ID")
@click.option("--module", "modules", multiple=True, help="With listeners of JobRetryRequested.")
def retry(batch_id: str, modules: tuple[str, ...]) -> None:
    """
    Take back the cancellation of a batch, and queue its failed jobs again.

    Exit code 1 if there is no such batch, or some of its failed jobs are kept no longer.
    """
    from broadcaster.cli.import_errors import import_users
    from broadcaster.settings import load_settings

    import_users(load_settings(), modules)
    with _application():
        found = _found(batch_id)
        count = found.retry_failed()
    click.echo(f"queued {counted(count, 'job')} again")
    if count < found.failed_jobs:
        raise click.ClickException(
            f"{counted(found.failed_jobs - count, 'failed job')} of the batch: retried before, or "
            "kept no longer; see `broadcaster failed list`"
        )


@batch_group.command()
@click.option(
    "--hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Delete those that finished longer ago.",
)
@click.option(
    "--unfinished",
    type=click.FloatRange(min=0),
    help="And those that began so many hours ago, whatever became of them.",
)
def prune(hours: float, unfinished: float | None) -> None:
    """
    Delete old batches; meant for cron.

    They go by themselves a week after they finished, or 30 days after their last change.
    """
    with _application() as application:
        count = application.batches.prune(hours * 3_600)
        if unfinished is not None:
            count += application.batches.prune(unfinished * 3_600, unfinished=True)
    click.echo(f"deleted {count:,} {'batch' if count == 1 else 'batches'}")


def _found(batch_id: str) -> Batch:
    from broadcaster.jobs.batch import find_batch

    found = find_batch(batch_id)
    if found is None:
        raise click.ClickException(f"no batch has the id {plain(batch_id)}")
    return found


def _cancelled(batch_id: str) -> bool:
    from broadcaster.jobs.batch import find_batch

    found = find_batch(batch_id)
    return found is not None and found.cancel()


@contextmanager
def _application() -> Generator[Application, None, None]:
    """Yield an application that is the current one meanwhile; its batches are on a server."""
    from broadcaster import current
    from broadcaster.drivers.sync_batches import SyncBatches
    from broadcaster.errors import ConfigurationError
    from broadcaster.wiring.backend import open_backend

    application = open_backend()
    try:
        if isinstance(application.batches, SyncBatches):
            raise ConfigurationError(
                'queue.driver is "sync" or "null": batches are counted within the process that '
                "dispatches them, and no other sees them; set queue.driver to redis"
            )
        with current.replaced(application):
            yield application
    finally:
        application.close()
