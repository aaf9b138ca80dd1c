"""What ``broadcaster batch`` shows: values to lines of text and JSON, without I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from broadcaster.cli.failed_details import iso, presentable
from broadcaster.cli.table import Cell, Column, cut, plain, table
from broadcaster.errors import InvalidJob
from broadcaster.jobs.batch import CONNECTION, QUEUE, Batch
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.cli.table import Style
    from broadcaster.contracts.batches import BatchRecord, Moment
    from broadcaster.contracts.settlements import NewJob

_NAME, _LABEL, _BAR, _LONG_BAR = 40, 12, 10, 40
_SHOWN = ("id", "name", "queue", "connection", "created_at", "cancelled_at", "finished_at")
_COLOURS = {"running": "cyan", "finished": "green", "cancelled": "yellow"}


def state_of(record: BatchRecord) -> str:
    """Return ``running``, ``cancelled`` or ``finished``: every job has run, failed ones too."""
    return "cancelled" if record.cancelled else "finished" if record.finished else "running"


def summary(record: BatchRecord) -> dict[str, Any]:
    """Return what `list` shows of a batch; times as ISO 8601 in UTC."""
    ended = (record.cancelled_at, record.finished_at)
    cancelled, finished = (None if each is None else iso(each) for each in ended)
    return {
        "id": record.id,
        "name": record.name,
        "state": state_of(record),
        "progress": record.progress,
        "total": record.total,
        "done": record.processed,
        "pending": record.pending,
        "failed": record.failed,
        "allow_failures": record.allow_failures,
        "queue": record.options.get(QUEUE),
        "connection": record.options.get(CONNECTION),
        "created_at": iso(record.created_at),
        "cancelled_at": cancelled,
        "finished_at": finished,
    }


def details(
    record: BatchRecord, callbacks: Mapping[Moment, Sequence[NewJob]], *, secrets: bool
) -> dict[str, Any]:
    """
    Return what `show` shows of a batch.

    Args:
        callbacks: those that were not queued yet.
        secrets: show options whose names sound like secrets.
    """
    waiting = {moment: [_job_name(job) for job in jobs] for moment, jobs in callbacks.items()}
    options = presentable(dict(Batch(record).options), secrets=secrets)
    return summary(record) | {"callbacks": waiting, "options": options}


def list_lines(records: Sequence[BatchRecord], style: Style) -> list[str]:
    """Return a table of batches; moments in UTC."""
    done = [f"{each.processed:,}/{each.total:,}" for each in records]
    failed = [Cell(f"{each.failed:,}", "red" if each.failed else "dim") for each in records]
    states = [state_of(each) for each in records]
    columns = [
        Column("begun at (UTC)", [Cell(iso(each.created_at)[:19]) for each in records], 5),
        Column("id", [Cell(each.id) for each in records]),
        Column("name", [Cell(cut(plain(each.name), _NAME)) for each in records], 8),
        Column("progress", [Cell(progress_bar(each, _BAR, style)) for each in records], 6),
        Column("done", [Cell(each) for each in done], 7, right=True),
        Column("failed", failed, 7, right=True),
        Column("state", [Cell(each, _COLOURS[each]) for each in states]),
    ]
    return table(columns, style)


def detail_lines(record: BatchRecord, told: Mapping[str, Any], style: Style) -> list[str]:
    """Return what `show` shows: a line of progress, then names and values."""
    bar, state = progress_bar(record, _LONG_BAR, style), state_of(record)
    counts = f"{record.processed:,} of {record.total:,} done, {record.failed:,} failed"
    shown = [(name, str(told[name])) for name in _SHOWN if told[name]]
    shown.append(("failures", "allowed" if record.allow_failures else "cancel it"))
    shown += [
        ("callbacks", f"{moment}: {', '.join(jobs)}") for moment, jobs in _of(told, "callbacks")
    ]
    for name, value in _of(told, "options"):
        text = value if isinstance(value, str) else json.dumps(value)
        shown.append(("options", f"{name}: {text}"))
    lines = [f"{name:<{_LABEL}} {plain(value)}" for name, value in shown]
    return [f"{bar} {counts}, {style.paint(state, _COLOURS[state])}", "", *lines]


def progress_bar(record: BatchRecord, width: int, style: Style) -> str:
    """Return how much is done, as a bar and in per cent; full only when all is done."""
    full = record.processed * width // record.total if record.total else 0
    on, off = ("\N{FULL BLOCK}", "\N{LIGHT SHADE}") if style.symbols else ("#", ".")
    return f"{on * full}{off * (width - full)} {record.progress:3d}%"


def _of(told: Mapping[str, Any], kind: str) -> list[tuple[str, Any]]:
    return list(told[kind].items())


def _job_name(job: NewJob) -> str:
    try:
        return decode_payload(job.body).job
    except InvalidJob:
        return "?"
