"""
Queues what is due: one runner of all that are started does, the others wait.

The runner that has the lock works; it renews the lock as long as it lives, and the next one
takes over when it lapses. One whose clock is not that of the store does not work: what it
queues would be of another time. Nothing depends on there being only one: the id of a scheduled job
is made of its name and the moment, and queues take it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broadcaster.contracts.limits import LockOwner
from broadcaster.contracts.settlements import Link, Unique
from broadcaster.errors import DriverError, NotReplicated
from broadcaster.jobs.bus import job_with_id
from broadcaster.protocol.ids import derived_id
from broadcaster.protocol.lanes import LANES
from broadcaster.scheduling.timetable import CLOCK_SECONDS, due, next_due

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.contracts.limits import Locks
    from broadcaster.contracts.settlements import NewJob
    from broadcaster.scheduling.timetable import Due, Entry

_log = logging.getLogger("broadcaster.schedule")

LOCK = "schedule"
LEASE_SECONDS = 15.0
RETRY_SECONDS = 1.0
SHORTEST_WAIT = 0.05
"""Seconds from one look at a lock that another one has to the next."""
_WAITS = "another runner queues what is due; this one takes over when that one ends"
_QUEUED = "queued %s, due at %s"
_LEFT_OUT = "left out %s, due at %s: it was queued before, or an earlier one waits or runs"


def scheduled_job(
    entry: Entry, moment: float, *, now: float, default_queue: str, lanes: int = LANES
) -> NewJob:
    """
    Return the job of `entry` that is due at `moment`; the same one whoever makes it.

    Args:
        moment: Unix seconds.
        now: Unix seconds, for `retry_until`.
        default_queue: for a class that names no queue.
        lanes: of each queue, for jobs with an order.
    """
    row = f"schedule:{derived_id(entry.name)}"
    new = job_with_id(
        entry.job,
        job_id=derived_id("schedule", entry.name, f"{moment:.3f}"),
        now=now,
        default_queue=default_queue,
        lanes=lanes,
        unique=Unique(row, entry.lock) if entry.lock else None,
    )
    # Remembered for a day, also when the job is long done; later moments have higher places. Each
    # hour has its own, so that a moment far ahead, by a wrong clock, keeps out none of today.
    hour = f"{row}:{moment // 3600:.0f}"
    return dataclasses.replace(new, link=Link(hour, int(moment)))


class ScheduleRunner:
    """
    Queues what is due while it has the lock.

    Args:
        entries: what there is.
        send: queues one; it may raise what queues raise.
        locks: where the lock is.
        runner_id: nobody else's.
        clock: Unix seconds.
        lease: seconds for which the lock outlives its owner.
        store_clock: what the time is by the store, Unix seconds; None: nobody asks.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        send: Callable[[Due], Awaitable[bool]],
        locks: Locks,
        runner_id: str,
        *,
        clock: Callable[[], float],
        lease: float = LEASE_SECONDS,
        store_clock: Callable[[], Awaitable[float]] | None = None,
    ) -> None:
        self._entries = entries
        self._send = send
        self._locks = locks
        self._owner = LockOwner(runner_id, 1)
        self._clock = clock
        self._lease = lease
        self._store_clock = store_clock
        self._handled: dict[str, float] = {}
        self._complained: set[str] = set()
        self._stopping = asyncio.Event()
        self._noted: bool | None = None
        self.leads = False

    def stop(self) -> None:
        """End `run` after what is being queued."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop`, whatever the store does; the lock is free then."""
        try:
            while not self._stopping.is_set():
                wait = await self.turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._stopping.wait()
        finally:
            with contextlib.suppress(DriverError):
                await self._locks.arelease(LOCK, self._owner)

    async def turn(self) -> float:
        """Queue what is due now, if this runner has the lock; return the seconds to wait."""
        try:
            if await self._is_out_of_time():
                return self._lease / 3  # the lock lapses: one with a better clock gets it
            taken = await self._locks.aacquire(LOCK, self._owner, self._lease)
        except DriverError as error:
            self._complain("the schedule waits", error)
            return RETRY_SECONDS
        self._complained.discard("the schedule waits")
        self._note(leads=taken == 0)
        if taken:
            return max(SHORTEST_WAIT, min(taken, self._lease / 3))
        # One that waits for its connection holds up no other.
        queued = [
            await self._queue(each) for each in due(self._entries, self._handled, self._clock())
        ]
        if not all(queued):
            return RETRY_SECONDS  # again, while they may still be made up for
        now = self._clock()
        upcoming = next_due(self._entries, now)
        renewal = self._lease / 3
        return renewal if upcoming is None else min(renewal, max(0.0, upcoming - now))

    async def _is_out_of_time(self) -> bool:
        """Whether this clock and that of the store say different times; logged once."""
        if self._store_clock is None:
            return False
        ahead = self._clock() - await self._store_clock()
        what = "the clock of this machine is not that of the store"
        if abs(ahead) <= CLOCK_SECONDS:
            self._complained.discard(what)
            return False
        if what not in self._complained:
            text = "%s: %+.0f s; this runner queues nothing until they agree within %g s"
            fields = {"event": "clock", "ahead": round(ahead, 1)}
            _log.error(text, what, ahead, CLOCK_SECONDS, extra=fields)
        self._complained.add(what)
        self.leads, self._noted = False, None
        return True

    async def _queue(self, each: Due) -> bool:
        name = each.entry.name
        waits, short = f"{name} waits to be queued", f"{name} is queued on too few servers"
        try:
            new = await self._send(each)
        except NotReplicated as error:  # to queue it again would change nothing
            self._complain(short, error)
        except DriverError as error:
            self._complain(waits, error)
            return False
        except Exception:  # noqa: BLE001 - code of the job (`unique_id`); the others are due too
            _log.exception("%s cannot be queued", name, extra={"event": "schedule_failed"})
        else:
            self._complained -= {waits, short}
            fields = {"event": "scheduled", "name_": name, "moment": each.moment}
            at = datetime.fromtimestamp(each.moment, UTC).isoformat(timespec="seconds")
            _log.info(_QUEUED if new else _LEFT_OUT, name, at, extra=fields)
        if each.dropped and name in self._handled:  # before that, another runner had them
            fields = {"event": "schedule_missed", "name_": name, "moments": each.dropped}
            _log.warning("%s missed %d earlier moments", name, each.dropped, extra=fields)
        self._handled[name] = each.moment
        return True

    def _complain(self, what: str, error: DriverError) -> None:
        """Log what waits and why; once, until it no longer does."""
        if what not in self._complained:
            _log.warning("%s: %s", what, error, extra={"event": "waiting"})
        self._complained.add(what)

    def _note(self, *, leads: bool) -> None:
        if leads != self._noted:
            text = "this runner queues what is due" if leads else _WAITS
            _log.info(text, extra={"event": "schedule_leader", "leads": leads})
        self.leads = self._noted = leads
