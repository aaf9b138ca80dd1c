"""What ``broadcaster queue status`` shows: values to lines of text, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.cli.table import Cell, Column, Style, cut, plain, share, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broadcaster.contracts.fleet import WorkerRecord
    from broadcaster.contracts.queue_admin import Rate
    from broadcaster.supervisor.backlog import Backlog

PLAIN = Style()
LATE_SECONDS, VERY_LATE_SECONDS = 30.0, 300.0
"""From when on the oldest job of a queue stands in yellow, and in red."""

_SHOWN_JOBS, _SHOWN_CLASSES, _BAR = 3, 5, 10
_NAME, _WIDE = 40, 120
_MEGABYTE, _MINUTE, _HOUR, _DAY = 1_000_000, 60.0, 3_600.0, 86_400.0


def status_lines(
    queues: Sequence[Backlog],
    workers: Sequence[WorkerRecord],
    now: float,
    style: Style = PLAIN,
    more: Sequence[str] = (),
) -> list[str]:
    """
    Return the whole screen, within the height of `style` if its tables can give way for that.

    Args:
        now: Unix seconds.
        more: lines below the workers.
    """
    summary = [_summary(queues, workers, style)]
    waiting = ["no queues yet: nothing was ever dispatched"]
    if queues:
        waiting = table(_queue_columns(queues, now, style), style)
    classes = table(_class_columns(queues), style) if any(each.runtimes for each in queues) else []
    busy = _worker_lines(workers, now, style)
    parts = [part for part in (summary, waiting, classes, busy, list(more)) if part]
    # What matters least gives way first: classes, what is below, then queues, then workers.
    least = [part for part in (classes, parts[-1] if more else [], waiting, busy) if part]
    order = [next(at for at, each in enumerate(parts) if each is part) for part in least]
    height = max(1, style.height - len(parts) + 1) if style.height else 0
    shown = share(parts, height, order)
    if len(shown[1]) < len(waiting):
        parts[1] = _fullest_first(waiting, queues)
        shown = share(parts, height, order)
    return [line for part in shown for line in ("", *part)][1:]


def _fullest_first(lines: Sequence[str], queues: Sequence[Backlog]) -> list[str]:
    """Return the table of `queues` with those on top in which most is waiting, else running."""
    head, *rows = lines
    pairs = sorted(
        zip(queues, rows, strict=True), key=lambda pair: (pair[0].ready, pair[0].held), reverse=True
    )
    return [head, *(row for _, row in pairs)]


def _worker_lines(workers: Sequence[WorkerRecord], now: float, style: Style) -> list[str]:
    if not workers:
        return [style.paint("no workers: start one with `broadcaster work`", "yellow")]
    head, *rows = table(_worker_columns(workers, now, style), style)
    lines = [head]
    for row, worker in zip(rows, workers, strict=True):
        lines += [row, *_current(worker, style)]
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


def shown_seconds(seconds: float | None) -> str:
    """Return a length of time for a narrow column; ``-`` for an unknown one."""
    if seconds is None:
        return "-"
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.0f}d"
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f}h"
    if seconds >= 10 * _MINUTE:
        return f"{seconds / _MINUTE:.0f}m"
    if round(seconds) >= _MINUTE:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}m{rest:02}s"
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s"
    return f"{seconds * 1000:.0f}ms" if seconds >= 0.001 else "<1ms"  # noqa: PLR2004 - a millisecond


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 job``, ``2 jobs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _summary(queues: Sequence[Backlog], workers: Sequence[WorkerRecord], style: Style) -> str:
    failed = sum(queue.failed for queue in queues)
    busy, slots = (sum(getattr(each, name) for each in workers) for name in ("running", "slots"))
    parts = [
        counted(len(queues), "queue"),
        f"{sum(queue.ready for queue in queues):,} ready",
        f"{sum(queue.delayed for queue in queues):,} delayed",
        f"{sum(queue.held for queue in queues):,} held",
        f"{failed:,} failed",
        counted(len(workers), "worker"),
    ]
    if workers:
        parts.append(f"{busy:,} of {slots:,} slots busy")
    separator = " \N{MIDDLE DOT} " if style.symbols else ", "
    return style.paint(cut(separator.join(parts), style.width), "bold")


def _queue_columns(queues: Sequence[Backlog], now: float, style: Style) -> list[Column]:
    def numbers(title: str, of: Callable[[Backlog], int], keep: int, colour: str = "") -> Column:
        cells = [_number(of(queue), colour) for queue in queues]
        return Column(title, cells, keep, right=True)

    return [
        Column("queue", [_name(queue.queue, style) for queue in queues]),
        numbers("ready", lambda queue: queue.ready, 9),
        numbers("delayed", lambda queue: queue.delayed, 4),
        numbers("held", lambda queue: queue.held, 6),
        numbers("failed", lambda queue: queue.failed, 8, "red"),
        Column("oldest", [_age(queue.oldest) for queue in queues], 7, right=True),
        Column("wait", [_age(queue.wait) for queue in queues], 5, right=True),
        _rates("in/min", queues, lambda rate: rate.arrived, 2, style),
        _rates("done/min", queues, lambda rate: rate.done, 3, style),
        Column("", [_notes(queue, now) for queue in queues], 8),
    ]


def _rates(
    title: str, queues: Sequence[Backlog], of: Callable[[Rate], float], keep: int, style: Style
) -> Column:
    """Return a column of rates: where there is room, over 1, 5 and 15 minutes."""
    count = 1 if 0 < style.width < _WIDE else 3
    cells = [_rate([of(rate) for rate in queue.rates[:count]]) for queue in queues]
    return Column(title if count == 1 else f"{title} 1 5 15", cells, keep, right=True)


def _rate(values: Sequence[float]) -> Cell:
    text = " ".join(f"{value:,.0f}" for value in values)
    return Cell(text or "-", "" if any(round(value) for value in values) else "dim")


def _number(value: int, colour: str = "") -> Cell:
    return Cell(f"{value:,}", colour if value else "dim")


def _age(seconds: float | None) -> Cell:
    if not seconds:
        return Cell(shown_seconds(seconds), "dim")
    late = "yellow" if seconds > LATE_SECONDS else ""
    return Cell(shown_seconds(seconds), "red" if seconds > VERY_LATE_SECONDS else late)


def _name(text: str, style: Style) -> Cell:
    return Cell(cut(plain(text), min(_NAME, max(12, style.width // 3) if style.width else _NAME)))


def _notes(queue: Backlog, now: float) -> Cell:
    if queue.pause is None:
        lanes = f"{counted(queue.paused_lanes, 'lane')} paused" if queue.paused_lanes else ""
        if queue.workers:
            return Cell(lanes, "yellow")
        return Cell("no worker", "red" if queue.ready else "dim")
    until = queue.pause.until
    ends = "" if until is None else f", {shown_seconds(max(0.0, until - now))} left"
    by = f" by {plain(queue.pause.by)}" if queue.pause.by else ""
    return Cell(f"paused{by}{ends}", "yellow")


def _class_columns(queues: Sequence[Backlog]) -> list[Column]:
    found = [(queue, each) for queue in queues for each in queue.runtimes[:_SHOWN_CLASSES]]
    return [
        Column("job", [Cell(plain(each.job)) for _, each in found]),
        Column("queue", [Cell(plain(queue.queue)) for queue, _ in found], 3),
        Column("ended", [_number(each.ended) for _, each in found], 5, right=True),
        Column("p50", [Cell(shown_seconds(each.p50)) for _, each in found], right=True),
        Column("p95", [Cell(shown_seconds(each.p95)) for _, each in found], 8, right=True),
    ]


def _worker_columns(workers: Sequence[WorkerRecord], now: float, style: Style) -> list[Column]:
    def numbers(title: str, of: Callable[[WorkerRecord], int], keep: int, colour: str) -> Column:
        return Column(title, [_number(of(each), colour) for each in workers], keep, right=True)

    silent = [max(0.0, now - each.seen_at) for each in workers]
    memory = [Cell(f"{each.memory / _MEGABYTE:,.0f} MB") for each in workers]
    return [
        Column("worker", [_name(each.name or each.id[:12], style) for each in workers]),
        Column("host", [_name(each.host, style) for each in workers], 4),
        Column("pid", [Cell(str(each.pid)) for each in workers], 6, right=True),
        Column("slots", [_slots(each, style) for each in workers]),
        Column("memory", memory, 7, right=True),
        Column("up", [Cell(shown_seconds(each.uptime)) for each in workers], 2, right=True),
        numbers("done", lambda each: each.done, 5, ""),
        numbers("failed", lambda each: each.failed, 5, "red"),
        numbers("lost", lambda each: each.lost, 3, "red"),
        Column("seen", [Cell(f"{shown_seconds(age)} ago") for age in silent], 1, right=True),
        Column("state", [_state(each) for each in workers], 8),
        Column("queues", [Cell(plain(",".join(each.queues))) for each in workers], 0),
    ]


def _slots(worker: WorkerRecord, style: Style) -> Cell:
    text = f"{worker.running}/{worker.slots}"
    if not style.symbols:
        return Cell(text)
    cells = min(worker.slots, _BAR)
    full = min(cells, -(-worker.running * cells // max(1, worker.slots)))
    bar = "\N{BLACK VERTICAL RECTANGLE}" * full + "\N{WHITE VERTICAL RECTANGLE}" * (cells - full)
    return Cell(f"{bar} {text}", "cyan" if worker.running else "")


def _state(worker: WorkerRecord) -> Cell:
    return Cell(worker.state, "green" if worker.state == "running" else "yellow")


def _current(worker: WorkerRecord, style: Style) -> list[str]:
    shown = worker.current[:_SHOWN_JOBS]
    lines = [
        f"  {plain(job.job or '?')} of {plain(job.queue)} for {shown_seconds(job.age)}  "
        f"{plain(job.id)}"
        for job in shown
    ]
    if worker.running > len(shown):
        lines.append(f"  and {worker.running - len(shown):,} more")
    return [style.paint(cut(line, style.width), "dim") for line in lines]
