"""
Renewing the leases of held jobs, whatever the event loop is doing.

The heartbeat has a thread and connections of its own, so a handler that blocks the loop
does not lose its lease to another worker. It stops renewing at a job's deadline: a job
that hangs past it, out of reach of every timeout, lapses and becomes a suspect.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue import Hold
from broadcaster.errors import DriverRefused, DriverUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from broadcaster.contracts.limits import LockOwner, Locks
    from broadcaster.contracts.queue import Queue, Settlement

logger = logging.getLogger("broadcaster.worker")

RETRY_SECONDS = 0.5
STUCK_SECONDS = 5.0


class HeldJob:
    """
    A job that this worker holds.

    Attributes:
        queue: where it came from.
        id: as pushed.
        key: both.
        token: of this reservation.
        body: as pushed.
        job: registered name of its class, once that is known.
        started: monotonic time at which it began, or 0.
        deadline: monotonic time up to which it is renewed, or None.
        outcome: what became of it, while others of its batch still run; or None.
        overdue: returns what becomes of it when it runs past its deadline, or None.
        settled: called when the queue has taken its settlement, or None.
        locks: what its middleware has locked, by key; renewed with it.
        until: monotonic time up to which it is surely held; past it, somebody else may have it.
        lost: somebody else holds it now.
        stopped: the worker has cancelled its task, or it is not to begin; other cancellations
            are the job's own.
        on_lost: called in the heartbeat's thread when that is found out.
    """

    __slots__ = (
        "body",
        "deadline",
        "id",
        "job",
        "key",
        "locks",
        "lost",
        "on_lost",
        "outcome",
        "overdue",
        "queue",
        "settled",
        "started",
        "stopped",
        "token",
        "until",
    )

    def __init__(
        self,
        queue: str,
        job_id: str,
        token: int,
        until: float = float("inf"),
        body: bytes = b"",
    ) -> None:
        self.key = (queue, job_id)
        self.queue = queue
        self.until = until
        self.id = job_id
        self.token = token
        self.body = body
        self.job = ""
        self.started = 0.0
        self.deadline: float | None = None
        self.outcome: Settlement | None = None
        self.overdue: Callable[[], Settlement] | None = None
        self.settled: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.locks: dict[str, LockOwner] = {}
        self.lost = self.stopped = False
        self.on_lost: Callable[[], object] = lambda: None


class Heartbeat:
    """
    Renews leases every third of their length.

    Args:
        queue: with connections that nobody else uses.
        lease: seconds.
        locks: those of jobs, with connections that nobody else uses.
        stuck: called once, in the heartbeat's thread, when a job was left to itself for
            `STUCK_SECONDS` after its deadline: the event loop does not run.
    """

    def __init__(
        self,
        queue: Queue,
        lease: float,
        stuck: Callable[[HeldJob], object] | None = None,
        *,
        locks: Locks | None = None,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._locks = locks
        self._stuck = stuck
        self._held: dict[tuple[str, str], HeldJob] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._away = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing; waits for a call in progress, at most 2 s."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.5)

    def add(self, *jobs: HeldJob) -> None:
        """Renew `jobs` from now on."""
        with self._lock:
            for job in jobs:
                self._held[job.key] = job

    def drop(self, *jobs: HeldJob) -> None:
        """Renew `jobs` no longer."""
        with self._lock:
            for job in jobs:
                if self._held.get(job.key) is job:
                    del self._held[job.key]

    def beat(self, now: float) -> bool:
        """
        Renew everything once.

        Args:
            now: monotonic seconds.

        Returns:
            False when a queue or the locks could not be reached, or something was refused.
        """
        self._report_stuck(now)
        reached, kept = True, list[HeldJob]()
        for queue, jobs in self._due(now).items():
            try:
                answers = self._queue.extend(
                    queue, {job.id: job.token for job in jobs}, self._lease
                )
            except DriverUnavailable as error:
                self._note_away(error)
                return False
            except DriverRefused as error:  # of this queue; others are renewed
                self._note_away(error)
                reached = False
                continue
            for job in jobs:
                self._answered(job, answers[job.id], now + self._lease)
            kept += [job for job in jobs if answers[job.id] is Hold.KEPT]
        reached = self._renew_locks(kept) and reached
        self._away = not reached
        return reached

    def _renew_locks(self, jobs: Sequence[HeldJob]) -> bool:
        """Renew locks, which may be on another server: that keeps no lease from being renewed."""
        # A copy: middleware frees its locks in another thread.
        held = {key: owner for job in jobs for key, owner in job.locks.copy().items()}
        if not held or self._locks is None:
            return True
        try:
            self._locks.renew(held, self._lease)
        except (DriverUnavailable, DriverRefused) as error:
            self._note_away(error)
            return False
        return True

    def _run(self) -> None:
        interval = self._lease / 3
        wait = interval
        while not self._stop.wait(wait):
            try:
                reached = self.beat(time.monotonic())
            except Exception:
                logger.exception("the heartbeat failed; it goes on")
                reached = False
            wait = interval if reached else min(RETRY_SECONDS, interval)

    def _report_stuck(self, now: float) -> None:
        if self._stuck is None:
            return
        with self._lock:
            stuck = [
                job
                for job in self._held.values()
                if job.deadline is not None and now > job.deadline + STUCK_SECONDS
            ]
        if stuck:
            report, self._stuck = self._stuck, None
            report(stuck[0])

    def _due(self, now: float) -> dict[str, list[HeldJob]]:
        due: defaultdict[str, list[HeldJob]] = defaultdict(list)
        with self._lock:
            for job in self._held.values():
                if not job.lost and (job.deadline is None or now < job.deadline):
                    due[job.queue].append(job)
        return due

    def _answered(self, job: HeldJob, answer: Hold, until: float) -> None:
        if answer is Hold.KEPT:
            job.until = until
            return
        with self._lock:
            current = self._held.get(job.key) is job
        if not current:
            return  # settled while the call was on its way
        if answer is Hold.GONE:
            self.drop(job)
            return
        job.lost = True
        job.on_lost()

    def _note_away(self, error: DriverUnavailable | DriverRefused) -> None:
        if not self._away:
            logger.warning("leases cannot be renewed: %s", error, extra={"event": "queue_away"})
        self._away = True
