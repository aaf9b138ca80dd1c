"""``broadcaster failed``: jobs that were given up."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from broadcaster.errors import InvalidJob
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Generator

    from broadcaster.contracts.stores import FailedJob, FailedJobs

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@click.group()
def failed() -> None:
    """List and retry failed jobs."""


@failed.command("list")
@click.option("--queue", help="Only this queue. Default: all.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def list_failed(queue: str | None, limit: int, *, as_json: bool) -> None:
    """List failed jobs, the latest first."""
    with _open() as store:
        jobs = store.find(queue=queue, limit=limit)
    if as_json:
        click.echo(json.dumps([summary(job) for job in jobs], indent=2))
        return
    if not jobs:
        click.echo("no failed jobs")
        return
    for job in jobs:
        line = summary(job)
        text = f"{line['failed_at']}  {job.id}  {job.queue}  {line['job']}  {job.reason}"
        click.echo(plain(f"{text}  {job.error}"[:240]))
    click.echo(
        f"{len(jobs)} failed; see one with `broadcaster failed show ID`, "
        "run them again with `broadcaster failed retry ID|all`",
        err=True,
    )


@failed.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def show(job_id: str, *, as_json: bool) -> None:
    """Show one failed job with its data. Exit code 1 if there is none."""
    with _open() as store:
        job = store.get(job_id)
    if job is None:
        raise click.ClickException(f"no failed job has the id {plain(job_id)}")
    details = summary(job) | {"payload": _payload(job)}
    if as_json:
        click.echo(json.dumps(details, indent=2))
        return
    for name, value in details.items():
        text = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{name:<10} {plain(text)}")


@failed.command()
@click.argument("job_ids", metavar="ID|all", nargs=-1, required=True)
@click.option("--queue", help="With `all`: only this queue.")
def retry(job_ids: tuple[str, ...], queue: str | None) -> None:
    """Queue failed jobs again, with all their tries. Exit code 1 if one is not found."""
    with _open() as store:
        if job_ids == ("all",):
            click.echo(f"queued {len(store.retry_all(queue))} jobs again")
            return
        found = len(store.retry(job_ids))
    click.echo(f"queued {found} jobs again")
    if found < len(job_ids):
        raise click.ClickException(
            f"{len(job_ids) - found} of the ids are not failed jobs; "
            "`broadcaster failed list` shows those there are"
        )


def summary(job: FailedJob) -> dict[str, object]:
    """Return what `list` shows of a job; times as ISO 8601 in UTC."""
    try:
        name = decode_payload(job.body).job
    except InvalidJob:
        name = "?"
    return {
        "id": job.id,
        "queue": job.queue,
        "job": name,
        "failed_at": datetime.fromtimestamp(job.failed_at, UTC).isoformat(timespec="seconds"),
        "reason": job.reason,
        "attempts": job.attempts,
        "error": job.error,
    }


def plain(text: str) -> str:
    """Return `text` without characters that a terminal would obey."""
    return _CONTROL.sub("?", text)


def _payload(job: FailedJob) -> object:
    try:
        decode_payload(job.body)
    except InvalidJob:
        return job.body.decode("utf-8", "backslashreplace")
    return json.loads(job.body)


@contextmanager
def _open() -> Generator[FailedJobs, None, None]:
    from broadcaster.settings import load_settings
    from broadcaster.wiring.worker import open_failed_jobs

    store, clients = open_failed_jobs(load_settings())
    try:
        yield store
    finally:
        clients.close()
