"""What a worker says about itself: to the log, and to listeners in its process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broadcaster.jobs.announcing import announce, wanted
from broadcaster.jobs.lifecycle import JobPopping, Looping, WorkerStarting, WorkerStopping

if TYPE_CHECKING:
    from collections.abc import Collection

    from broadcaster.contracts.queue import StepReply
    from broadcaster.worker.options import ExitReason, WorkerOptions

logger = logging.getLogger("broadcaster.worker")


class Reports:
    """
    Tells of one worker.

    Args:
        name: of the worker.
    """

    def __init__(self, name: str, options: WorkerOptions) -> None:
        self._name = name
        self._options = options
        self._queues = ",".join(options.queues)

    def started(self) -> None:
        """It begins to work."""
        queues = ", ".join(self._options.queues)
        self._log("worker_started", "worker started on %s", queues)
        if not self._options.trusted and wanted(WorkerStarting):
            announce(
                WorkerStarting(
                    connection_name=self._options.connection,
                    queue=self._queues,
                    worker_options=self._options,
                    worker=self._name,
                )
            )

    def vetoed(self) -> bool:
        """Ask listeners whether it may look for jobs; True if one of them forbids it."""
        if self._options.trusted or not wanted(Looping):
            return False
        connection = self._options.connection
        return not announce(Looping(connection_name=connection, queue=self._queues))

    def popping(self, queue: str) -> None:
        """It asks `queue` for jobs."""
        if not self._options.trusted and wanted(JobPopping):
            announce(JobPopping(connection_name=self._options.connection, queue=queue))

    def paused(self, *, paused: bool) -> None:
        """It takes no new jobs, or takes them again."""
        if paused:
            self._log("worker_paused", "worker takes no new jobs: %s", "paused")
        else:
            self._log("worker_resumed", "worker takes jobs again: %s", "resumed")

    def stopping(self) -> None:
        """It was asked to stop while jobs run."""
        text = "worker is stopping; what runs gets %s s to finish"
        self._log("worker_stopping", text, f"{self._options.grace:g}")

    def stopped(self, reason: ExitReason) -> None:
        """It has stopped."""
        self._log("worker_stopped", "worker stopped: %s", reason.value, cause=reason.value)
        if not self._options.trusted and wanted(WorkerStopping):
            announce(
                WorkerStopping(
                    status=reason.exit_code,
                    worker_options=self._options,
                    reason=reason.value,
                    worker=self._name,
                )
            )

    def _log(self, event: str, text: str, value: str, **more: object) -> None:
        fields = {"event": event, "node": self._name, **more}
        logger.log(self._options.level, text, value, extra=fields)


def log_answer(queue: str, reply: StepReply, unsure: Collection[str]) -> None:
    """
    Log what a step says about jobs that did not go as they should.

    Args:
        unsure: jobs whose settlement was sent before, and the answer never came. That they are
            refused now mostly means that they were settled then.
    """
    for job_id in reply.refused:
        level = logging.DEBUG if job_id in unsure else logging.WARNING
        fields = {"event": "job_stale", "job_id": job_id, "queue": queue}
        text = "job %s was settled too late: its lease had run out, or Redis has lost it"
        logger.log(level, text, job_id, extra=fields)
    for job_id in reply.crashed:
        fields = {"event": "job_failed", "job_id": job_id, "queue": queue}
        logger.error("job %s failed: it took its worker down too often", job_id, extra=fields)
    if reply.lapsed:
        more = {"event": "lapsed", "queue": queue, "count": reply.lapsed}
        logger.warning("%d jobs of silent workers came back", reply.lapsed, extra=more)
