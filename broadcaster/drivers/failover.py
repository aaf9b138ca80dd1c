"""
The queue ``failover``: several connections, of which the first that can be reached gets the jobs.

Only pushing falls over, and only from a connection that cannot be reached: what it refuses is
refused. Its workers take from the first connection. What was spilled into another waits there
for workers of that one, which are to be running all the time, or be started to drain it
(``broadcaster work --connection spare --stop-when-empty``).

A connection that failed is asked last for `RETRY_SECONDS`, so that not every push waits for
it. What failed may have arrived nevertheless, so a job can be in two queues under one id and
run twice; unique locks and the order of lanes hold within each connection only.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.errors import DriverUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broadcaster.contracts.queue import (
        Hold,
        NewJob,
        Owed,
        Pushed,
        Pushing,
        Queue,
        QueueSizes,
        StepReply,
        StepRequest,
        Survey,
    )

_log = logging.getLogger("broadcaster.queue")

RETRY_SECONDS = 5.0
"""How long a connection that failed is asked after the others."""


class Fallback(NamedTuple):
    """
    One of several connections.

    Attributes:
        name: of the connection.
        open: returns its queue; may raise `DriverUnavailable`.
    """

    name: str
    open: Callable[[], Queue]


class FailoverQueue:
    """
    Pushes to the first connection that can be reached; see `Queue` and the head of this module.

    Args:
        connections: the preferred one first.
        clock: seconds that only rise.
        failed_over: told once when a connection begins to fail: its name, how, and the jobs.
    """

    def __init__(
        self,
        connections: Sequence[Fallback],
        *,
        clock: Callable[[], float],
        failed_over: Callable[[str, DriverUnavailable, Sequence[NewJob]], None],
    ) -> None:
        if not connections:
            raise ValueError("a failover queue needs connections")
        self._connections = tuple(connections)
        self._clock = clock
        self._failed_over = failed_over
        self._lock = threading.Lock()
        self._failing: dict[str, float] = {}

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        """Queue `jobs` in the first connection that can be reached; `DriverUnavailable` if none."""
        failures: list[str] = []
        for each in self._in_order():
            try:
                pushed = each.open().push(jobs)
            except DriverUnavailable as error:
                self._note_failure(each.name, error, jobs, failures)
            else:
                self._note_success(each.name, jobs, failures)
                return pushed
        raise self._unavailable(failures)

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        """Queue `jobs` from a coroutine; see `push`."""
        failures: list[str] = []
        for each in self._in_order():
            try:
                pushed = await each.open().apush(jobs)
            except DriverUnavailable as error:
                self._note_failure(each.name, error, jobs, failures)
            else:
                self._note_success(each.name, jobs, failures)
                return pushed
        raise self._unavailable(failures)

    async def step(self, request: StepRequest) -> StepReply:
        """Step the first connection."""
        return await self._first.step(request)

    async def apply(self, queue: str, owed: Sequence[Owed], push: Pushing | None = None) -> None:
        """Apply what the first connection owes."""
        await self._first.apply(queue, owed, push)

    async def unlock(self, queue: str, key: str, job_id: str) -> bool:
        """Free a lock of the first connection."""
        return await self._first.unlock(queue, key, job_id)

    async def wait(self, queue: str, timeout: float) -> str | None:  # noqa: ASYNC109 - as in the contract
        """Wait for the first connection."""
        return await self._first.wait(queue, timeout)

    async def survey(
        self, queue: str, lanes: Sequence[int], worker: str, *, force: bool = False
    ) -> Survey:
        """Survey the first connection."""
        return await self._first.survey(queue, lanes, worker, force=force)

    def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
        """Extend leases of the first connection."""
        return self._first.extend(queue, holds, lease)

    def sizes(self, queue: str) -> QueueSizes:
        """Count jobs of the first connection."""
        return self._first.sizes(queue)

    async def asizes(self, queue: str) -> QueueSizes:
        """Count jobs of the first connection."""
        return await self._first.asizes(queue)

    def queues(self) -> Sequence[str]:
        """Return queues of the first connection."""
        return self._first.queues()

    @property
    def _first(self) -> Queue:
        return self._connections[0].open()

    def _in_order(self) -> list[Fallback]:
        now = self._clock()
        with self._lock:
            resting = {name for name, until in self._failing.items() if now < until}
        return sorted(self._connections, key=lambda each: each.name in resting)

    def _note_failure(
        self, name: str, error: DriverUnavailable, jobs: Sequence[NewJob], failures: list[str]
    ) -> None:
        failures.append(f"{name}: {error}")
        with self._lock:
            known = name in self._failing
            self._failing[name] = self._clock() + RETRY_SECONDS
        if not known:
            fields = {"event": "queue_failed_over", "connection": name}
            _log.error("queue connection %s cannot be reached: %s", name, error, extra=fields)
            self._failed_over(name, error, jobs)

    def _note_success(self, name: str, jobs: Sequence[NewJob], failures: Sequence[str]) -> None:
        with self._lock:
            recovered = self._failing.pop(name, None) is not None
        if recovered:
            fields = {"event": "queue_recovered", "connection": name}
            _log.warning("queue connection %s is back", name, extra=fields)
        if failures or name != self._connections[0].name:
            for job in jobs:
                where = {"event": "job_spilled", "job_id": job.id, "connection": name}
                _log.info("job %s went to connection %s", job.id, name, extra=where)

    def _unavailable(self, failures: Sequence[str]) -> DriverUnavailable:
        return DriverUnavailable(f"no queue connection can be reached ({'; '.join(failures)})")
