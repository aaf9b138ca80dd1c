"""What becomes of jobs whose task did not end by itself: it was cancelled, or has a bug."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue import Fail, Release, Retry
from broadcaster.jobs.outcome import GiveUp, described
from broadcaster.jobs.sequels import sequels_of_body

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Settlement
    from broadcaster.worker.heartbeat import HeldJob

logger = logging.getLogger("broadcaster.worker")

CANCELLED_PAUSE = 1.0
"""Seconds before the next try of a job that was cancelled."""


def broken(task: asyncio.Task[Any], holds: Sequence[HeldJob]) -> Settlement | None:
    """Return what becomes of the first of `holds` after `task`; None if another worker has it."""
    first = holds[0]
    fields = {"job_id": first.id, "queue": first.queue}
    if not task.cancelled():
        fields["event"] = "job_failed"
        error = task.exception()
        logger.error("job %s could not be run", first.id, exc_info=error, extra=fields)
        bug = GiveUp("internal", "" if error is None else described(error))
        effects = sequels_of_body(first.body, bug, job_id=first.id, now=time.time())
        return Fail(first.id, first.token, *bug, effects=effects)
    if any(hold.lost for hold in holds):
        fields["event"] = "job_lost"
        text = "job %s was stopped: its lease ran out and another worker has it"
        logger.warning(text, first.id, extra=fields)
        return None
    if first.stopped:
        return Release(first.id, first.token)
    fields["event"] = "job_cancelled"
    text = "job %s was cancelled by code of a job; that uses up a try"
    logger.warning(text, first.id, extra=fields)
    return Retry(first.id, first.token, CANCELLED_PAUSE, exception=True)
