"""
How far behind queues are, and whether somebody should look: pure functions.

A queue with lanes is shown as one queue.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.contracts.queue_admin import Pause, Rate, Runtime
from broadcaster.protocol.lanes import split_lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broadcaster.contracts.fleet import WorkerRecord
    from broadcaster.contracts.queue import QueueSizes
    from broadcaster.contracts.queue_admin import QueueStats


class Reading(NamedTuple):
    """What the store says of one queue or lane."""

    name: str
    sizes: QueueSizes
    stats: QueueStats
    pause: Pause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """
    One queue with all its lanes.

    Attributes:
        queue: its name.
        ready: jobs that could start.
        delayed: jobs that may not start yet.
        held: jobs that workers have.
        running: those of them that run, so far as workers tell.
        failed: failed jobs that nobody put back.
        oldest: seconds for which the next ready job has been ready, or None.
        wait: seconds until a job that came now would start, or None if nothing is known.
        slots: jobs of it that all workers together can run at once.
        workers: how many serve it.
        rates: over the last 1, 5 and 15 minutes.
        runtimes: per job class, the most frequent first.
        pause: since when, until when, by whom; None: it is not paused.
        paused_lanes: lanes that are paused.
    """

    queue: str
    ready: int = 0
    delayed: int = 0
    held: int = 0
    running: int = 0
    failed: int = 0
    oldest: float | None = None
    wait: float | None = None
    slots: int = 0
    workers: int = 0
    rates: Sequence[Rate] = ()
    runtimes: Sequence[Runtime] = ()
    pause: Pause | None = None
    paused_lanes: int = 0

    @property
    def size(self) -> int:
        """Jobs that wait, are delayed, or run."""
        return self.ready + self.delayed + self.held


class Bounds(NamedTuple):
    """
    From where on a queue is busy.

    Attributes:
        size: jobs that wait, are delayed, or run; None is no bound.
        wait: seconds that a job waits; None is no bound.
    """

    size: int | None = None
    wait: float | None = None


def backlogs(readings: Iterable[Reading], workers: Sequence[WorkerRecord]) -> list[Backlog]:
    """Return one value per queue, by name; lanes count for their queue."""
    parts: defaultdict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        parts[split_lane(reading.name)[0]].append(reading)
    return [backlog(queue, parts[queue], workers) for queue in sorted(parts)]


def backlog(queue: str, parts: Sequence[Reading], workers: Sequence[WorkerRecord]) -> Backlog:
    """Return what the `parts` of one queue, itself and its lanes, come to."""
    serving = [worker for worker in workers if queue in worker.queues]
    slots = sum(worker.slots for worker in serving if worker.state == "running")
    lanes = sum(split_lane(part.name)[1] is not None for part in parts)
    if slots and lanes:
        slots = lanes  # one job of each lane at a time, whoever has it
    rates = _added([part.stats.rates for part in parts])
    runtimes = _joined([part.stats.runtimes for part in parts])
    ready = sum(part.sizes.ready for part in parts)
    ages = [part.sizes.oldest for part in parts if part.sizes.oldest is not None]
    return Backlog(
        queue=queue,
        ready=ready,
        delayed=sum(part.sizes.delayed for part in parts),
        held=sum(part.sizes.held for part in parts),
        running=sum(_running(worker, queue) for worker in serving),
        failed=sum(part.sizes.failed for part in parts),
        oldest=max(ages, default=None),
        wait=expected_wait(ready, mean_runtime(runtimes), slots, rates),
        slots=slots,
        workers=len(serving),
        rates=rates,
        runtimes=runtimes,
        pause=next((part.pause for part in parts if part.name == queue), None),
        paused_lanes=sum(part.pause is not None for part in parts if part.name != queue),
    )


def _running(worker: WorkerRecord, queue: str) -> int:
    if len(worker.queues) == 1:
        return worker.running
    return sum(split_lane(job.queue)[0] == queue for job in worker.current)


def mean_runtime(runtimes: Sequence[Runtime]) -> float | None:
    """Return the seconds that a job typically takes, each class by its number; None: unknown."""
    ended = sum(runtime.ended for runtime in runtimes)
    if not ended:
        return None
    return sum(runtime.p50 * runtime.ended for runtime in runtimes) / ended


def expected_wait(
    ready: int, runtime: float | None, slots: int, rates: Sequence[Rate]
) -> float | None:
    """
    Return the seconds until a job that comes now starts; None if nothing tells.

    By what jobs take and how many run at once; where that is unknown, by how many ended per
    minute lately. Workers that serve other queues too make it longer than it says.

    Args:
        ready: jobs before it.
        runtime: seconds that one takes, or None.
        slots: jobs that run at once.
        rates: how many ended.
    """
    if not ready:
        return 0.0
    if not slots:
        return None
    if runtime is not None:
        return ready * runtime / slots
    ended = next((rate.done + rate.failed for rate in rates if rate.done + rate.failed), 0.0)
    return ready * 60 / ended if ended else None


def problems(queue: Backlog, bounds: Bounds) -> list[str]:
    """
    Return why `queue` is busy, a sentence each; nothing if it is not.

    It is busy when it reaches the size, or when a job waits longer than the bound: the
    oldest one has, or one that came now would. Jobs without a worker are told by their age.
    """
    found: list[str] = []
    if bounds.size is not None and queue.size >= bounds.size:
        found.append(f"{queue.size} jobs, at most {bounds.size} are expected")
    if bounds.wait is None:
        return found
    if queue.oldest is not None and queue.oldest > bounds.wait:
        found.append(f"the oldest job has waited {queue.oldest:.0f} s")
    if queue.wait is not None and queue.wait > bounds.wait:
        found.append(f"a new job would wait {queue.wait:.0f} s")
    return found


def _added(parts: Iterable[Sequence[Rate]]) -> list[Rate]:
    sums: dict[int, Rate] = {}
    for rates in parts:
        for rate in rates:
            before = sums.get(rate.seconds, Rate(rate.seconds, 0.0, 0.0, 0.0))
            sums[rate.seconds] = Rate(
                rate.seconds,
                before.arrived + rate.arrived,
                before.done + rate.done,
                before.failed + rate.failed,
            )
    return [sums[seconds] for seconds in sorted(sums)]


def _joined(parts: Iterable[Sequence[Runtime]]) -> list[Runtime]:
    """Quantiles of several lanes are weighted by what ended in them."""
    by_class: defaultdict[str, list[Runtime]] = defaultdict(list)
    for runtimes in parts:
        for runtime in runtimes:
            by_class[runtime.job].append(runtime)
    found = [_one(job, mine) for job, mine in by_class.items()]
    return sorted(found, key=lambda runtime: -runtime.ended)


def _one(job: str, mine: Sequence[Runtime]) -> Runtime:
    ended = sum(runtime.ended for runtime in mine)
    if not ended:
        return Runtime(job, 0, 0.0, 0.0)
    p50 = sum(runtime.p50 * runtime.ended for runtime in mine) / ended
    p95 = sum(runtime.p95 * runtime.ended for runtime in mine) / ended
    return Runtime(job, ended, p50, p95)


def as_json(queue: Backlog) -> Mapping[str, object]:
    """Return `queue` for programs: seconds, jobs per minute, Unix seconds."""
    pause = queue.pause
    return {
        "queue": queue.queue,
        "ready": queue.ready,
        "delayed": queue.delayed,
        "held": queue.held,
        "running": queue.running,
        "failed": queue.failed,
        "oldest": queue.oldest,
        "expected_wait": queue.wait,
        "slots": queue.slots,
        "workers": queue.workers,
        "rates": [rate._asdict() for rate in queue.rates],
        "runtimes": [runtime._asdict() for runtime in queue.runtimes],
        "paused_lanes": queue.paused_lanes,
        "paused": None
        if pause is None
        else {"since": pause.since, "until": pause.until, "by": pause.by},
    }
