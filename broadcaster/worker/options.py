"""What a worker is told."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from broadcaster.protocol.lanes import LANES

if TYPE_CHECKING:
    from collections.abc import Mapping

LANE_BATCH = 128


class ExitReason(Enum):
    """Why a worker stopped."""

    INTERRUPTED = "interrupted"  # asked to, and everything that ran was finished
    FORCED = "forced"  # asked twice, or the grace was over: what ran was handed back
    EMPTY = "empty"  # nothing was ready
    MAX_JOBS = "max_jobs"  # it ran as many jobs as it should
    MAX_TIME = "max_time"  # it worked as long as it should
    MEMORY = "memory"  # its process takes too much RAM
    RESTART_SIGNAL = "restart_signal"  # all workers were asked to restart
    TIMED_OUT = "timed_out"  # a job went on after its timeout, and cannot be stopped
    LOST_CONNECTION = "lost_connection"  # the queue could not be reached for too long

    @property
    def exit_code(self) -> int:
        """
        What its process exits with: 0 is good order.

        Source: Laravel's worker has 12 for memory; 69 is EX_UNAVAILABLE of ``sysexits.h``.
        """
        return _EXIT_CODES.get(self, 0)


_EXIT_CODES = {
    ExitReason.FORCED: 1,
    ExitReason.TIMED_OUT: 1,
    ExitReason.MEMORY: 12,
    ExitReason.LOST_CONNECTION: 69,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """
    How a worker takes and runs jobs.

    Attributes:
        queues: names, the most urgent first; a later one is served when the earlier are empty.
        ordered: which of them are ordered lanes.
        concurrency: jobs that run at once, each lane beside them.
        tries: tries of a job that does not say; 0 is no limit.
        backoff: seconds before each retry of a job that does not say.
        timeout: seconds for one try of a job that does not say; 0 is no limit. None gives
            async jobs 60 s and sync ones no limit, since those would each need a process
            of their own.
        lease: seconds after which jobs of a silent worker go to another.
        max_crashes: times a job may take its worker down, alone, before it fails.
        grace: seconds that running jobs get to finish when the worker is asked to stop.
        max_jobs: stop after starting this many; None is no limit.
        max_time: stop after this many seconds; None is no limit.
        memory: stop when the process takes more bytes of RAM; None is no limit.
        max_away: stop when the queue cannot be reached for this many seconds; None is never.
        stop_when_empty: stop when nothing is ready, not even for a retry that waits.
        stop_when_empty_for: stop when nothing was ready for this many seconds; None is never.
        weights: serve queues in shares of these, by name, instead of strictly in order; one
            that is not named has the weight 1.
        lanes: lanes of each queue; 0 looks at none.
        reserve_ahead: jobs reserved before there is a slot, at most: while jobs are short, as
            many as the slots run in 10 ms.
        rest: seconds that a slot pauses after each job.
        sleep: longest time between two looks at a queue, in seconds.
        linger: seconds that an async job gets to end after its timeout cancelled it.
        force: take jobs of paused queues too.
        label: what monitors call it.
        pool: the pool that it belongs to.
        connection: name of the queue connection that it serves.
        batch: jobs of a lane reserved at once.
        modules: imported in the processes of sync jobs with a timeout.
        jobs_per_child: how many jobs such a process runs, one after another, before another
            takes its place; 1 gives each a fresh one.
        hard_timeouts: sync jobs with a timeout get such a process, which is killed in time;
            else a thread, in which their timeout means nothing, as tests want it.
        trusted: what it runs is broadcaster's own code, which takes no worker down: what a
            killed one held runs again beside everything else, not alone.
    """

    queues: tuple[str, ...] = ("broadcasts", "default")
    ordered: frozenset[str] = frozenset({"broadcasts"})
    concurrency: int = 10
    tries: int = 1
    backoff: tuple[float, ...] = ()
    timeout: float | None = None
    lease: float = 30.0
    max_crashes: int = 3
    grace: float = 20.0
    max_jobs: int | None = None
    max_time: float | None = None
    memory: int | None = None
    max_away: float | None = None
    stop_when_empty: bool = False
    stop_when_empty_for: float | None = None
    weights: Mapping[str, int] | None = None
    lanes: int = LANES
    reserve_ahead: int = 300
    rest: float = 0.0
    sleep: float = 2.0
    linger: float = 5.0
    force: bool = False
    label: str = ""
    pool: str = ""
    connection: str = "default"
    batch: int = LANE_BATCH
    modules: tuple[str, ...] = ()
    jobs_per_child: int = 500
    hard_timeouts: bool = True
    trusted: bool = False

    @property
    def level(self) -> int:
        """How loudly it comes and goes: part of a gateway, it is of no interest by itself."""
        return logging.DEBUG if self.trusted else logging.INFO

    @property
    def tick(self) -> float:
        """
        Longest time between two looks at a queue, in seconds.

        Well under a third of the lease: a longer silence counts as an outage.
        """
        return min(self.sleep, self.lease / 6)
