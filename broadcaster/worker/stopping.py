"""When a worker stops by itself, and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broadcaster.worker.options import ExitReason

if TYPE_CHECKING:
    from broadcaster.worker.options import WorkerOptions


class Situation(NamedTuple):
    """
    How a worker is.

    Attributes:
        asked: it was asked to stop.
        hung: a job goes on after its timeout, and cannot be stopped.
        away: seconds for which its queue could not be reached; 0 if it can.
        memory: bytes of RAM that its process takes.
        restart: all workers were asked to restart since it started.
        started: jobs that it has started.
        empty: seconds for which nothing was ready and nothing ran, or None.
        age: seconds since it started.
    """

    asked: bool = False
    hung: bool = False
    away: float = 0.0
    memory: int = 0
    restart: bool = False
    started: int = 0
    empty: float | None = None
    age: float = 0.0


def reason_to_stop(options: WorkerOptions, now: Situation) -> ExitReason | None:
    """
    Return why the worker stops now, or None; the first reason that holds.

    Source: Laravel, ``Worker::stopIfNecessary``.
    """
    held = (
        (now.asked, ExitReason.INTERRUPTED),
        (now.hung, ExitReason.TIMED_OUT),
        (_over(now.away, options.max_away), ExitReason.LOST_CONNECTION),
        (options.memory is not None and now.memory > options.memory, ExitReason.MEMORY),
        (now.restart, ExitReason.RESTART_SIGNAL),
        (_over(now.started, options.max_jobs), ExitReason.MAX_JOBS),
        (_is_empty(options, now.empty), ExitReason.EMPTY),
        (_over(now.age, options.max_time), ExitReason.MAX_TIME),
    )
    return next((reason for holds, reason in held if holds), None)


def _over(value: float, limit: float | None) -> bool:
    return limit is not None and value >= limit


def _is_empty(options: WorkerOptions, empty: float | None) -> bool:
    if empty is None:
        return False
    return options.stop_when_empty or _over(empty, options.stop_when_empty_for)
