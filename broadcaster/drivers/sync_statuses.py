"""Statuses of jobs that run where they are dispatched, without a server."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.job_status import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST = 1_000
"""Statuses that are kept; the one that changed longest ago is forgotten first."""


class SyncJobStatuses:
    """
    Statuses in this process; see `broadcaster.contracts.job_status.JobStatuses`.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._statuses: OrderedDict[str, JobStatus] = OrderedDict()

    def write(
        self, job_id: str, changes: Mapping[str, str | int], *, keep: float, fresh: bool = False
    ) -> JobStatus:
        """See `JobStatuses.write`; only `MOST` bounds how long it is kept."""
        del keep
        with self._lock:
            known = self._statuses.get(job_id)
            if known is not None and (fresh or known.status == "completed"):
                return known
            given: dict[str, Any] = dict(changes)
            made = replace(known or JobStatus(id=job_id), **given, updated_at=self._clock())
            self._statuses[job_id] = made
            self._statuses.move_to_end(job_id)
            if len(self._statuses) > MOST:
                self._statuses.popitem(last=False)
            return made

    async def awrite(
        self, job_id: str, changes: Mapping[str, str | int], *, keep: float, fresh: bool = False
    ) -> JobStatus:
        """See `JobStatuses.awrite`."""
        return self.write(job_id, changes, keep=keep, fresh=fresh)

    def find(self, job_id: str) -> JobStatus | None:
        """See `JobStatuses.find`."""
        return self._statuses.get(job_id)

    async def afind(self, job_id: str) -> JobStatus | None:
        """See `JobStatuses.afind`."""
        return self.find(job_id)
