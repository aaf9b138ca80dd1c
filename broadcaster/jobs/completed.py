"""
A log of the jobs that were done: a listener that you may add.

::

    CompletedJobLog(max=10_000, ttl=hours(24)).listen()    # in a module that the worker imports
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.contracts.completed import CompletedJob
from broadcaster.errors import BroadcasterError
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.delay import as_seconds
from broadcaster.jobs.lifecycle import JobProcessed, WorkerStopping
from broadcaster.jobs.telling import INLINE
from broadcaster.protocol.fact_jobs import EVENT_JOB
from broadcaster.protocol.payload import BATCH_JOB, BROADCAST_JOB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.completed import CompletedJobs
    from broadcaster.jobs.delay import Duration

_log = logging.getLogger("broadcaster.worker")

_OWN = frozenset({BROADCAST_JOB, EVENT_JOB, BATCH_JOB})
BUFFER = 10_000
PAGE = 500
WRITE_SECONDS = 1.0
STOP_SECONDS = 5.0


class CompletedJobLog:
    """
    Writes down which jobs workers have done, in a thread of its own, about once a second.

    Between two writes the latest 10,000 are held; of more than that, or of a worker that is
    killed, the rest is missing in the log. A stopping worker writes what is held.

    Args:
        max: jobs kept.
        ttl: age of the oldest job kept.
        store: where; default: the store of the current application.
    """

    def __init__(
        self,
        *,
        max: int = 10_000,  # noqa: A002 - what it is called elsewhere
        ttl: Duration = 7 * 86_400.0,
        store: CompletedJobs | None = None,
    ) -> None:
        if max < 1:
            raise ValueError(f"max must be 1 or more, not {max}")
        self._most = max
        self._seconds = as_seconds(ttl, "ttl")
        if self._seconds <= 0:
            raise ValueError(f"ttl must be more than 0 seconds, not {ttl!r}")
        self._store = store
        self._held: deque[CompletedJob] = deque(maxlen=BUFFER)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed = False

    def listen(self) -> CompletedJobLog:
        """Begin to listen in this process; a second log replaces the first."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        lifecycle_listeners.add(JobProcessed, self.note, name=name)
        lifecycle_listeners.add(WorkerStopping, self.stop, name=name)
        return self

    def note(self, event: JobProcessed) -> None:
        """Hold a job of a worker until the next write; broadcasts and facts are no such thing."""
        job = event.job
        if job.name in _OWN or event.connection_name == INLINE:
            return
        self._held.append(
            CompletedJob(
                id=job.id,
                job=job.name,
                queue=job.queue,
                connection_name=event.connection_name,
                attempts=job.attempts,
                seconds=event.seconds,
            )
        )
        if self._thread is None:
            self._start()

    def stop(self, event: WorkerStopping | None = None) -> None:
        """Write what is held, and end the thread; takes at most some seconds."""
        del event
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping.set()  # that of this thread: the next one gets its own
        if thread is not None:
            thread.join(STOP_SECONDS)

    def latest(self, limit: int = 100) -> Sequence[CompletedJob]:
        """
        Return the jobs that were done last, newest first.

        Raises:
            DriverUnavailable: the store cannot be reached.
        """
        return self._jobs.find(limit=limit)

    @property
    def _jobs(self) -> CompletedJobs:
        return current.application().completed_jobs if self._store is None else self._store

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._stopping = threading.Event()
                self._thread = threading.Thread(
                    target=self._write_on,
                    args=(self._stopping,),
                    name="completed jobs",
                    daemon=True,
                )
                self._thread.start()

    def _write_on(self, stopping: threading.Event) -> None:
        while not stopping.wait(WRITE_SECONDS):
            with self._writing:  # one that was stopped may be slower than the next one
                self._write()
        with self._writing:
            self._write()

    def _write(self) -> None:
        """Write what is held; what cannot be written is held on, as far as there is room."""
        while self._held:
            page = [self._held.popleft() for _ in range(min(PAGE, len(self._held)))]
            try:
                self._jobs.add(page, most=self._most, seconds=self._seconds)
            except BroadcasterError as error:
                room = BUFFER - len(self._held)
                self._held.extendleft(reversed(page[-room:] if room else []))
                if not self._failed:
                    fields = {"event": "completed_unwritten", "count": len(page)}
                    _log.warning("done jobs could not be written down: %s", error, extra=fields)
                self._failed = True
                return
            self._failed = False
