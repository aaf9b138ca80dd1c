"""The schedule over the queues of the application."""

from __future__ import annotations

import os
import socket
import time
import uuid
from typing import TYPE_CHECKING

from broadcaster.jobs.bus import Sending
from broadcaster.scheduling.runner import LEASE_SECONDS, ScheduleRunner, scheduled_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.application import Application
    from broadcaster.scheduling.timetable import Due, Entry


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
        return bool(await Sending(connection, [new], [each.entry.job.job]).asend())

    return ScheduleRunner(entries, send, application.locks, runner_id, clock=time.time, lease=lease)
