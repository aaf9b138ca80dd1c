"""What a worker is told."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

ASYNC_TIMEOUT = 60.0
LANE_BATCH = 64


class ExitReason(Enum):
    """Why a worker stopped."""

    INTERRUPTED = "interrupted"  # asked to, and everything that ran was finished
    FORCED = "forced"  # asked twice, or the grace was over: what ran was handed back
    EMPTY = "empty"  # nothing was ready
    MAX_JOBS = "max_jobs"  # it ran as many jobs as it should


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
        stop_when_empty: stop when nothing is ready, not even for a retry that waits.
        batch: jobs of a lane reserved at once.
        modules: imported in the processes of sync jobs with a timeout.
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
    stop_when_empty: bool = False
    batch: int = LANE_BATCH
    modules: tuple[str, ...] = ()
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
        return min(2.0, self.lease / 6)
