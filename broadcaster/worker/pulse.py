"""A worker's sign of life: what it does, for monitors; and whether it is to restart."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

from broadcaster.contracts.fleet import BEAT_SECONDS, WorkerRecord
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.worker.memory import resident_bytes
from broadcaster.worker.repeating import Repeating

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.fleet import Fleet
    from broadcaster.worker.runtimes import Runtimes
    from broadcaster.worker.worker import Worker

logger = logging.getLogger("broadcaster.worker")

LEAVE_SECONDS = 2.0


class Pulse:
    """
    Describes a worker every few seconds.

    Args:
        fleet: who is told.
        describe: returns how the worker is.
        restart: called when all workers have been asked to restart.
        seconds: between two descriptions.
        runtimes: told along with it.
    """

    def __init__(
        self,
        fleet: Fleet,
        describe: Callable[[], WorkerRecord],
        restart: Callable[[], None],
        seconds: float = BEAT_SECONDS,
        runtimes: Runtimes | None = None,
    ) -> None:
        self._fleet = fleet
        self._describe = describe
        self._restart = restart
        self._runtimes = runtimes
        self._known: float | None = None
        self._repeating = Repeating(self._once, seconds, name="pulse")

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    async def stop(self) -> None:
        """Stop, and have the worker forgotten."""
        if not await self._repeating.stop():
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                if self._runtimes is not None:
                    await self._runtimes.tell()
                await self._fleet.leave(self._describe().id)
        except (DriverUnavailable, DriverRefused, TimeoutError) as error:
            logger.debug("not forgotten: %s", error, extra={"event": "not_forgotten"})

    async def beat(self) -> None:
        """Describe it once; what cannot be told now is told the next time."""
        try:
            asked = await self._fleet.beat(self._describe())
        except (DriverUnavailable, DriverRefused) as error:
            logger.debug("no pulse: %s", error, extra={"event": "no_pulse"})
            return
        if self._known is not None and asked > self._known:
            self._restart()
        self._known = asked

    async def _once(self) -> None:
        await self.beat()
        if self._runtimes is not None:
            await self._runtimes.tell()


def described(worker: Worker, now: float) -> WorkerRecord:
    """
    Return how `worker` is at `now`, monotonic seconds.

    Its memory is measured here.
    """
    running, options = worker.running, worker.options
    current = running.current(now)
    return WorkerRecord(
        id=worker.name,
        name=options.label,
        pool=options.pool,
        host=socket.gethostname(),
        pid=os.getpid(),
        queues=options.queues,
        slots=running.slots,
        running=len(running.plain) + len(running.lanes),
        current=tuple(current),
        held=len(running.ahead),
        memory=resident_bytes(),
        uptime=round(worker.age(now), 3),
        done=running.done,
        failed=running.failed,
        lost=running.lost,
        forgotten=worker.losses.forgotten,
        server_changes=worker.losses.servers,
        state=worker.state,
    )
