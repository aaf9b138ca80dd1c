"""
The worker processes of one group: started, started again, given slots, stopped.

A process that dies young is started again after a pause that grows; one that lived, or that
ended because it was told to, at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from broadcaster.supervisor.processes import say, send_signal
from broadcaster.supervisor.restarting import EXPECTED, Restarts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger("broadcaster.supervisor")

READY_SECONDS = 3.0
"""A process that has lived so long takes over from an older one in a rolling restart."""
HOPELESS_PAUSE = 60.0
# A pause holds up the whole group: one that lived does not, those that all die do for longer.
# A supervisor never ends by itself, so it tries what is hopeless again: it may be mended.
RESTARTS = Restarts(longest=30.0, rested=0.0, hopeless=HOPELESS_PAUSE)


class Process(Protocol):
    """A worker process."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing if it has ended."""
        ...

    def resize(self, slots: int) -> None:
        """Have it run at most `slots` jobs at once."""
        ...

    async def wait(self) -> None:
        """Return when it has ended."""
        ...


@dataclass(eq=False, slots=True)
class Child:
    """
    One process and what is meant for it.

    Attributes:
        number: in the order of their starts.
        started: monotonic seconds.
        slots: what it was told.
        patience: seconds after which it is ended if it was asked to stop and has not; those of
            its start, for it has the grace of its own command line.
        stopping: it was asked to stop.
        killed_at: when it is ended if it has not obeyed, monotonic seconds; None if nobody waits.
        old: it is to be replaced.
    """

    process: Process
    number: int
    started: float
    slots: int
    patience: float = math.inf
    stopping: bool = False
    killed_at: float | None = None
    old: bool = False


@dataclass(slots=True)
class Group:
    """
    The processes that serve one queue, or several in order.

    Args:
        name: of the queue, or ``*``.
        spawn: starts a process for (number, slots).
        patience: of those that start from now on; see `Child`.

    Attributes:
        children: all that run, those included that are stopping.
        wanted: how many should run.
        slots: of each of them.
        deaths: how many have ended that nobody asked to, other than in good order.
        last_code: how the last one ended that this supervisor had not asked to.
    """

    name: str
    spawn: Callable[[int, int], Awaitable[Process]]
    patience: float = math.inf
    children: list[Child] = field(default_factory=list["Child"])
    wanted: int = 0
    slots: int = 1
    deaths: int = 0
    last_code: int | None = None
    _pause: float = 0.0
    _not_before: float = 0.0
    _stopped: bool = False
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def active(self) -> list[Child]:
        """Those that run and were not asked to stop."""
        return [child for child in self.children if not child.stopping]

    def renew(self) -> None:
        """Have every process replaced, one after the other; what has died starts at once."""
        self._pause = self._not_before = 0.0
        for child in self.children:
            child.old = True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """
        Ask all to stop, and start none again; the second call asks them once more.

        Those that were asked before the first call, since something else had made them
        superfluous, are not pressed by it: they finish what they run like the others.
        """
        self.wanted = 0
        asked = self.children if self._stopped else self.active
        self._stopped = True
        for child in asked:
            child.stopping = True
            child.process.signal(number)

    def stop_rest(self) -> None:
        """Ask those to stop that were started while `stop` was called."""
        for child in self.active:
            self._stop(child)

    def kill(self) -> None:
        """End all at once."""
        for child in self.children:
            child.process.signal(signal.SIGKILL)

    async def tend(self, now: float) -> None:
        """
        Bring what runs closer to what should; at most one start and one stop per kind.

        Args:
            now: monotonic seconds.
        """
        self._reap(now)
        self._end_the_deaf(now)
        self._resize()
        surplus = sorted(self.active, key=lambda child: (not child.old, -child.started))
        for child in surplus[: max(0, len(surplus) - self._most)]:
            self._stop(child, now)
        while len(self.active) < self._most and now >= self._not_before:
            started = await self._start(now)
            if not started:
                return
        self._replace(now)

    @property
    def _most(self) -> int:
        """One more while an old one is replaced."""
        replacing = any(child.old for child in self.active)
        return self.wanted + (replacing and self.wanted > 0)

    def _reap(self, now: float) -> None:
        ended = [child for child in self.children if child.process.code is not None]
        for child in ended:
            self.children.remove(child)
            if not child.stopping:
                self._note_death(child, now)

    def _note_death(self, child: Child, now: float) -> None:
        code = self.last_code = child.process.code or 0
        self.deaths += code not in EXPECTED
        lived = now - child.started
        self._pause = RESTARTS.pause(code, lived, self._pause)
        self._not_before = max(self._not_before, now + self._pause)
        level = logging.INFO if code in EXPECTED else logging.ERROR
        text = "worker %d of %s ended with %d after %.0f s; another starts in %g s"
        fields = {"event": "worker_ended", "code": code, "pid": child.process.pid}
        _log.log(level, text, child.number, self.name, code, lived, self._pause, extra=fields)

    def _end_the_deaf(self, now: float) -> None:
        """End those that do not obey: stopped ones, ones that are stuck outside of Python."""
        for child in self.children:
            if child.killed_at is None or now < child.killed_at:
                continue
            child.killed_at = None
            child.process.signal(signal.SIGKILL)
            text = "worker %d of %s has not stopped within %g s and is ended"
            fields = {"event": "worker_killed", "pid": child.process.pid}
            _log.error(text, child.number, self.name, child.patience, extra=fields)

    def _resize(self) -> None:
        for child in self.active:
            if child.slots != self.slots:
                child.slots = self.slots
                child.process.resize(self.slots)

    async def _start(self, now: float) -> bool:
        number = next(self._numbers)
        try:
            process = await self.spawn(number, self.slots)
        except OSError as error:
            self._pause = RESTARTS.longer(self._pause)
            self._not_before = now + self._pause
            _log.error(
                "no worker for %s can be started: %s", self.name, error, extra={"event": "spawn"}
            )
            return False
        self.children.append(Child(process, number, now, self.slots, self.patience))
        return True

    def _replace(self, now: float) -> None:
        """Stop one old process when as many as are wanted have settled in beside it."""
        old = next((child for child in self.active if child.old), None)
        others = [child for child in self.active if child is not old]
        settled = all(now - child.started >= READY_SECONDS for child in others)
        if old is not None and settled and len(others) >= self.wanted:
            self._stop(old, now)

    def _stop(self, child: Child, now: float | None = None) -> None:
        child.stopping = True
        child.killed_at = None if now is None else now + child.patience
        child.process.signal(signal.SIGTERM)


class WorkerProcess:
    """Implements `Process` on the system's processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """See `Process.pid`."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """See `Process.code`."""
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """See `Process.signal`."""
        send_signal(self._process, number)

    def resize(self, slots: int) -> None:
        """See `Process.resize`."""
        say(self._process, f"slots {slots}")

    async def wait(self) -> None:
        """See `Process.wait`."""
        await self._process.wait()


async def start_worker(command: list[str], slots: int, nice: int = 0) -> WorkerProcess:
    """
    Start a worker that stops when this process is gone.

    Args:
        command: program and arguments.
        slots: jobs that it runs at once, until it is told otherwise.
        nice: its priority.

    Raises:
        OSError: the system refuses.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    if nice:
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, nice)
        except (OSError, AttributeError) as error:
            _log.warning("nice %d is not possible: %s", nice, error, extra={"event": "nice"})
    worker = WorkerProcess(process)
    worker.resize(slots)
    return worker
