"""
Keeps groups of workers running, and as many as there is work for.

Each turn it looks how long the queues are, decides (`broadcaster.supervisor.balance`) and acts
(`broadcaster.supervisor.children`). While the queues cannot be looked at, what runs stays as
it is, and is still started again when it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

from broadcaster.contracts.supervision import GroupStatus, PoolStatus, SupervisorStatus
from broadcaster.errors import DriverError
from broadcaster.supervisor.backlog import mean_runtime
from broadcaster.supervisor.balance import ALL, Load, Rules, balanced, groups
from broadcaster.supervisor.children import Group

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from broadcaster.supervisor.backlog import Backlog
    from broadcaster.supervisor.children import Process

_log = logging.getLogger("broadcaster.supervisor")

TICK_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""Longest time that one look at the queues, or telling the status, may take."""


class PoolPlan(NamedTuple):
    """
    What ``[supervisors.<name>]`` asks for.

    Attributes:
        queues: the most urgent first.
        grace: seconds that workers get to finish.
        start: starts a worker for (queues, number, slots).
        look: returns how the queues are; blocking, in a thread.
    """

    name: str
    queues: tuple[str, ...]
    rules: Rules
    grace: float
    start: Callable[[tuple[str, ...], int, int], Awaitable[Process]]
    look: Callable[[], Sequence[Backlog]]


class Pool:
    """The groups of one table."""

    def __init__(self, plan: PoolPlan) -> None:
        self.plan = plan
        self.groups = {name: self._group(name) for name in groups(plan.queues, plan.rules)}
        self._changed = -math.inf
        self._loads: dict[str, Load] = {}

    def _group(self, name: str) -> Group:
        queues = self.plan.queues if name == ALL else (name,)

        async def spawn(number: int, slots: int) -> Process:
            return await self.plan.start(queues, number, slots)

        return Group(name, spawn, patience=self.plan.grace + LOOK_SECONDS)

    def decide(self, backlogs: Sequence[Backlog], now: float) -> None:
        """Say how many processes and slots each group should have; `now` is monotonic."""
        self._loads = loads(list(self.groups), backlogs)
        present = {name: group.wanted for name, group in self.groups.items()}
        shares = balanced(self._loads, present, self.plan.rules, now - self._changed)
        for name, share in shares.items():
            group = self.groups[name]
            if share.processes != group.wanted:
                self._changed = now
                text = "%s: processes of %s: %d, after %d"
                fields = {"event": "balanced", "queue": name, "processes": share.processes}
                _log.info(text, self.plan.name, name, share.processes, group.wanted, extra=fields)
            group.wanted, group.slots = share

    async def tend(self, now: float) -> None:
        """Start and stop what there is to; `now` is monotonic."""
        for group in self.groups.values():
            await group.tend(now)

    def status(self) -> PoolStatus:
        """Return how it is."""
        found = [
            GroupStatus(
                queue=name,
                wanted=group.wanted,
                slots=group.slots,
                pids=tuple(child.process.pid for child in group.active),
                stopping=tuple(c.process.pid for c in group.children if c.stopping),
                deaths=group.deaths,
                last_code=group.last_code,
                ready=self._loads.get(name, Load()).ready,
                runtime=self._loads.get(name, Load()).runtime,
            )
            for name, group in self.groups.items()
        ]
        return PoolStatus(name=self.plan.name, balance=self.plan.rules.balance, groups=tuple(found))


def loads(names: Sequence[str], backlogs: Sequence[Backlog]) -> dict[str, Load]:
    """Return what there is to do in each of these groups."""
    known: Mapping[str, Backlog] = {each.queue: each for each in backlogs}
    found: dict[str, Load] = {}
    for name in names:
        mine = known.get(name)
        if mine is None:
            found[name] = Load()
            continue
        ready = 0 if mine.pause is not None else mine.ready  # nobody can take them
        arriving = mine.rates[0].arrived / 60 if mine.rates and mine.pause is None else 0.0
        found[name] = Load(ready, mine.running, mean_runtime(mine.runtimes), arriving)
    return found


class Supervisor:
    """
    All pools of one process.

    Args:
        pools: what there is to keep.
        name: of this process, unique on all hosts.
        tell: stores the status document; blocking, in a thread.
        tick: seconds between two turns.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        name: str,
        tell: Callable[[SupervisorStatus], None],
        tick: float = TICK_SECONDS,
    ) -> None:
        self._pools = pools
        self._name = name
        self._tell = tell
        self._tick = tick
        self._stopping = asyncio.Event()
        self._started = time.time()
        self._state: Literal["running", "stopping", "stopped"] = "running"
        self._complained: set[str] = set()

    def stop(self) -> None:
        """Let all workers finish, and end; the second call has them hand back what runs."""
        self._stopping.set()
        self._state = "stopping"
        for group in self._all():
            group.stop()

    def restart(self) -> None:
        """Replace every worker, one per queue at a time, with the code of today."""
        _log.info("all workers are replaced, one by one", extra={"event": "rolling_restart"})
        for group in self._all():
            group.renew()

    async def run(self) -> None:
        """Run until `stop`, and until all workers have ended."""
        while not self._stopping.is_set():
            await self.turn()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._stopping.wait()
        await self._end()

    async def turn(self) -> None:
        """Look, decide, act and tell, once."""
        for pool in self._pools:
            await self._decide(pool)
            if not self._stopping.is_set():
                await pool.tend(time.monotonic())
        await self._aside("the status", lambda: self._tell(self.status()))

    def status(self) -> SupervisorStatus:
        """Return how everything is."""
        return SupervisorStatus(
            name=self._name,
            started_at=self._started,
            state=self._state,
            pools=tuple(pool.status() for pool in self._pools),
        )

    async def _decide(self, pool: Pool) -> None:
        found: list[Backlog] = []
        looked = await self._aside(pool.plan.name, lambda: found.extend(pool.plan.look()))
        begun = any(group.wanted for group in pool.groups.values())
        if (looked or not begun) and not self._stopping.is_set():
            pool.decide(found, time.monotonic())

    async def _aside(self, what: str, call: Callable[[], object]) -> bool:
        """
        Make a blocking call in a thread; False if it fails, whyever: the workers stay.

        Args:
            what: it is about, for a complaint: once, until it succeeds again.
        """
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await asyncio.to_thread(call)
        except Exception as error:  # noqa: BLE001 - workers end with this process
            if what not in self._complained:
                known = isinstance(error, DriverError | TimeoutError)
                text = f"{what}: the store cannot be asked: {error or 'it does not answer'}"
                _log.warning("%s", text, extra={"event": "away"}, exc_info=not known)
            self._complained.add(what)
            return False
        if what in self._complained:
            self._complained.remove(what)
            _log.info("%s: the store answers again", what, extra={"event": "back"})
        return True

    async def _end(self) -> None:
        """Wait for the workers, as long as they may take; then end them."""
        for group in self._all():
            group.stop_rest()
        grace = max((pool.plan.grace for pool in self._pools), default=0.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace + LOOK_SECONDS):
                await asyncio.gather(*(process.wait() for process in self._running()))
        for group in self._all():
            group.kill()
        self._state = "stopped"
        await self._aside("the status", lambda: self._tell(self.status()))

    def _running(self) -> list[Process]:
        return [
            child.process
            for group in self._all()
            for child in group.children
            if child.process.code is None
        ]

    def _all(self) -> list[Group]:
        return [group for pool in self._pools for group in pool.groups.values()]
