"""The schedule over the queues of the application."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from broadcaster.jobs.bus import Sending
from broadcaster.scheduling.runner import LEASE_SECONDS, ScheduleRunner, scheduled_job

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from broadcaster.contracts.application import Application
    from broadcaster.scheduling.timetable import Due, Entry

_log = logging.getLogger("broadcaster.schedule")

STOP_SECONDS = 2.0
"""For which a runner that was stopped may give its lock back."""


def open_schedule(
    application: Application, entries: Sequence[Entry], *, lease: float = LEASE_SECONDS
) -> ScheduleRunner:
    """
    Return a runner of `entries` that queues into the connections of `application`.

    Args:
        lease: seconds after which another one takes over from one that died.
    """
    runner_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    async def send(each: Due) -> bool:
        connection = application.connection(each.entry.job.options.connection)
        new = scheduled_job(
            each.entry,
            each.moment,
            now=time.time(),
            default_queue=connection.default_queue,
            lanes=connection.lanes,
        )
        sending = Sending(connection, [new], [each.entry.job.job])
        return bool(await sending.asend()) and new.id not in sending.known

    return ScheduleRunner(
        entries,
        send,
        application.locks,
        runner_id,
        clock=time.time,
        lease=lease,
        store_clock=application.locks.atime,
    )


@asynccontextmanager
async def running_schedule(
    application: Application, entries: Sequence[Entry]
) -> AsyncGenerator[None]:
    """Queue what is due for the length of a block; without `entries`, do nothing."""
    if not entries:
        yield
        return
    count = len(entries)
    words = "1 scheduled job is" if count == 1 else f"{count} scheduled jobs are"
    _log.info("%s queued when due", words, extra={"event": "schedule_on", "count": count})
    runner = open_schedule(application, entries)
    task = asyncio.create_task(runner.run(), name="schedule")
    task.add_done_callback(_ended)
    try:
        yield
    finally:
        runner.stop()
        await asyncio.wait([task], timeout=STOP_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        fields = {"event": "schedule_failed"}
        _log.error("nothing is queued when due any more", exc_info=error, extra=fields)
