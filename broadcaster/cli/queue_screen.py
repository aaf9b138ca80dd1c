"""What ``broadcaster queue status`` shows: values to lines of text, without I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.fleet import WorkerRecord
    from broadcaster.supervisor.backlog import Backlog

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SHOWN_JOBS, _SHOWN_CLASSES = 3, 5
_MEGABYTE, _MINUTE, _HOUR = 1_000_000, 60.0, 3_600.0


def status_lines(
    queues: Sequence[Backlog], workers: Sequence[WorkerRecord], now: float
) -> list[str]:
    """
    Return the whole screen.

    Args:
        now: Unix seconds.
    """
    lines = _table(
        ["queue", "ready", "delayed", "held", "failed", "oldest", "wait", "in/min", "done/min", ""],
        [_queue_row(queue, now) for queue in queues],
    )
    if not queues:
        lines = ["no queues yet: nothing was ever dispatched"]
    classes = [_class_row(queue, n) for queue in queues for n in range(len(queue.runtimes))]
    if classes:
        lines += ["", *_table(["job", "queue", "ended", "p50", "p95"], [r for r in classes if r])]
    lines.append("")
    if not workers:
        return [*lines, "no workers: start one with `broadcaster work`"]
    header = ["worker", "host", "pid", "slots", "memory", "seen", "state", "queues"]
    body = _table(header, [_worker_row(worker, now) for worker in workers])
    lines.append(body[0])
    for line, worker in zip(body[1:], workers, strict=True):
        lines += [line, *_current(worker)]
    return lines


def worker_json(worker: WorkerRecord, now: float) -> Mapping[str, object]:
    """Return a worker for programs; `seen` is the age of its last word in seconds."""
    return {
        "id": worker.id,
        "name": worker.name,
        "pool": worker.pool,
        "host": worker.host,
        "pid": worker.pid,
        "queues": list(worker.queues),
        "slots": worker.slots,
        "running": worker.running,
        "held": worker.held,
        "memory": worker.memory,
        "uptime": worker.uptime,
        "done": worker.done,
        "failed": worker.failed,
        "lost": worker.lost,
        "forgotten": worker.forgotten,
        "server_changes": worker.server_changes,
        "state": worker.state,
        "seen": max(0.0, now - worker.seen_at),
        "current": [job._asdict() for job in worker.current],
    }


def plain(text: str) -> str:
    """Return `text` without characters that a terminal would obey."""
    return _CONTROL.sub("?", text)


def shown_seconds(seconds: float | None) -> str:
    """Return a length of time for a narrow column; ``-`` for an unknown one."""
    if seconds is None:
        return "-"
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f}h"
    if seconds >= 10 * _MINUTE:
        return f"{seconds / _MINUTE:.0f}m"
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s"
    return f"{seconds * 1000:.0f}ms"


def _queue_row(queue: Backlog, now: float) -> list[str]:
    rate = queue.rates[0] if queue.rates else None
    return [
        plain(queue.queue),
        str(queue.ready),
        str(queue.delayed),
        str(queue.held),
        str(queue.failed),
        shown_seconds(queue.oldest),
        shown_seconds(queue.wait),
        "-" if rate is None else f"{rate.arrived:.0f}",
        "-" if rate is None else f"{rate.done:.0f}",
        _notes(queue, now),
    ]


def _notes(queue: Backlog, now: float) -> str:
    if queue.pause is None:
        return "" if queue.workers else "no worker"
    until = queue.pause.until
    ends = "" if until is None else f", {shown_seconds(max(0.0, until - now))} left"
    by = f" by {plain(queue.pause.by)}" if queue.pause.by else ""
    return f"paused{by}{ends}"


def _class_row(queue: Backlog, number: int) -> list[str]:
    if number >= _SHOWN_CLASSES:
        return []
    found = queue.runtimes[number]
    times = (shown_seconds(found.p50), shown_seconds(found.p95))
    return [plain(found.job), plain(queue.queue), str(found.ended), *times]


def _worker_row(worker: WorkerRecord, now: float) -> list[str]:
    return [
        plain(worker.name or worker.id[:12]),
        plain(worker.host),
        str(worker.pid),
        f"{worker.running}/{worker.slots}",
        f"{worker.memory / _MEGABYTE:.0f}MB",
        f"{shown_seconds(max(0.0, now - worker.seen_at))} ago",
        worker.state,
        plain(",".join(worker.queues)),
    ]


def _current(worker: WorkerRecord) -> list[str]:
    shown = worker.current[:_SHOWN_JOBS]
    lines = [
        f"    {plain(job.job or '?')} of {plain(job.queue)} for {shown_seconds(job.age)}  "
        f"{plain(job.id)}"
        for job in shown
    ]
    if worker.running > len(shown):
        lines.append(f"    and {worker.running - len(shown)} more")
    return lines


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
