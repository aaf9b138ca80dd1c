"""
Keeps groups of workers running, and as many as there is work for.

Each turn it looks how long the queues are, decides (`broadcaster.supervisor.balance`) and acts
(`broadcaster.supervisor.children`). While the queues cannot be looked at, what runs stays as
it is, and is still started again when it dies. When it is asked to, it reads its tables again
(`broadcaster.supervisor.reloading`); those that are wrong change nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

from broadcaster.contracts.supervision import GroupStatus, PoolStatus, SupervisorStatus
from broadcaster.errors import BroadcasterError, DriverError
from broadcaster.supervisor.aside import Aside
from broadcaster.supervisor.backlog import mean_runtime
from broadcaster.supervisor.balance import ALL, Load, Rules, balanced, groups
from broadcaster.supervisor.children import Group
from broadcaster.supervisor.reloading import Made, actions, in_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from broadcaster.supervisor.backlog import Backlog
    from broadcaster.supervisor.children import Child, Process

_log = logging.getLogger("broadcaster.supervisor")

TICK_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""Longest time that one look at the queues, or telling the status, may take."""
KILLED_SECONDS = 2.0
"""For which those that had to be killed are waited for."""
MAX_REFUSED = 500
"""Characters that are told of what is wrong with the settings."""


class PoolPlan(NamedTuple):
    """
    What ``[supervisors.<name>]`` asks for.

    Attributes:
        queues: the most urgent first.
        grace: seconds that workers get to finish.
        start: starts a worker for (queues, number, slots).
        look: returns how the queues are; blocking, in a thread.
        workers: what decides how its workers run; they are replaced when it changes.
    """

    name: str
    queues: tuple[str, ...]
    rules: Rules
    grace: float
    start: Callable[[tuple[str, ...], int, int], Awaitable[Process]]
    look: Callable[[], Sequence[Backlog]]
    workers: object = None

    @property
    def made(self) -> Made:
        """What another plan of its name is compared by."""
        return Made(self.workers, (self.queues, self.rules, self.grace))


class Pool:
    """
    The groups of one table.

    Attributes:
        plan: what it goes by.
        groups: by queue, or one for all.
        leaving: those that the plan no longer has, until their workers have ended.
        draining: there is no such table any more.
    """

    def __init__(self, plan: PoolPlan) -> None:
        self.plan = plan
        self.groups = {name: self._group(name) for name in groups(plan.queues, plan.rules)}
        self.leaving: list[Group] = []
        self.draining = False
        self._changed = -math.inf
        self._loads: dict[str, Load] = {}

    def _group(self, name: str) -> Group:
        async def spawn(number: int, slots: int) -> Process:
            queues = self.plan.queues if name == ALL else (name,)
            return await self.plan.start(queues, number, slots)

        return Group(name, spawn, patience=self.plan.grace + LOOK_SECONDS)

    @property
    def all_groups(self) -> list[Group]:
        """Those that are wanted, and those that leave."""
        return [*self.groups.values(), *self.leaving]

    @property
    def gone(self) -> bool:
        """Whether it was to drain, and has."""
        return self.draining and not self.leaving

    def change(self, plan: PoolPlan, *, renew: bool) -> None:
        """
        Go by `plan`; what it says of how many there are holds from the next turn on.

        Args:
            renew: replace every worker, one per queue at a time.
        """
        self.plan = plan
        names = groups(plan.queues, plan.rules)
        self._leave([name for name in self.groups if name not in names])
        self.groups = {name: self.groups.get(name) or self._group(name) for name in names}
        self._changed = -math.inf
        for group in self.groups.values():
            group.patience = plan.grace + LOOK_SECONDS
            if renew:
                group.renew()

    def drain(self) -> None:
        """Let all workers finish what they run, and start none again."""
        self.draining = True
        self._leave(list(self.groups))

    def _leave(self, names: Sequence[str]) -> None:
        for name in names:
            group = self.groups.pop(name)
            group.wanted = 0
            self.leaving.append(group)

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
        for group in self.all_groups:
            await group.tend(now)
        self.leaving = [group for group in self.leaving if group.children]

    def status(self) -> PoolStatus:
        """Return how it is."""
        found = [
            GroupStatus(
                queue=group.name,
                wanted=group.wanted,
                slots=group.slots,
                pids=_living(group.active),
                stopping=_living(child for child in group.children if child.stopping),
                deaths=group.deaths,
                last_code=group.last_code,
                ready=self._loads.get(group.name, Load()).ready,
                runtime=self._loads.get(group.name, Load()).runtime,
            )
            for group in self.all_groups
        ]
        return PoolStatus(
            name=self.plan.name,
            balance=self.plan.rules.balance,
            groups=tuple(found),
            draining=self.draining,
        )


def _living(children: Iterable[Child]) -> tuple[int, ...]:
    """Return the numbers of those that have not ended; those of others may be anybody's."""
    return tuple(child.process.pid for child in children if child.process.code is None)


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
        read: reads the settings again and returns what they ask for; blocking, in a thread.
            Whatever it raises leaves everything as it is. None: they never change.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        name: str,
        tell: Callable[[SupervisorStatus], None],
        tick: float = TICK_SECONDS,
        read: Callable[[], Sequence[PoolPlan]] | None = None,
    ) -> None:
        self._pools = list(pools)
        self._name = name
        self._tell = tell
        self._tick = tick
        self._read = read
        self._renewing: bool | None = None  # while it is to read again: all workers?
        self._refused = ""
        self._stopping = asyncio.Event()
        self._started = self._read_at = time.time()
        self._state: Literal["running", "stopping", "stopped"] = "running"
        self._complained: set[str] = set()
        self._calls = Aside()

    def stop(self) -> None:
        """Let all workers finish, and end; the second call has them hand back what runs."""
        self._stopping.set()
        self._state = "stopping"
        for group in self._all():
            group.stop()

    def reload(self, *, renew: bool = True) -> None:
        """
        Read the settings again in the next turn, and do what they say.

        Args:
            renew: then replace every worker, one per queue at a time, with the code of today;
                otherwise only those whose options have changed. If the settings are wrong
                nothing is replaced: workers that start now would refuse them as well.
        """
        self._renewing = renew or bool(self._renewing)

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
        await self._reload()
        for pool in self._pools:
            await self._decide(pool)
            if not self._stopping.is_set():
                await pool.tend(time.monotonic())
        self._pools = [pool for pool in self._pools if not pool.gone]
        await self._tell_status()

    def status(self) -> SupervisorStatus:
        """Return how everything is."""
        return SupervisorStatus(
            name=self._name,
            started_at=self._started,
            state=self._state,
            pools=tuple(pool.status() for pool in self._pools),
            read_at=self._read_at,
            refused=self._refused,
        )

    async def _reload(self) -> None:
        """Read the settings again if somebody has asked for it; take them whole, or not at all."""
        renew, self._renewing = self._renewing, None
        if renew is None or self._stopping.is_set():
            return
        try:
            plans = await self._read_again()
        except Exception as error:  # noqa: BLE001 - workers end with this process
            late = isinstance(error, TimeoutError) and not str(error)
            said = f"reading them took longer than {LOOK_SECONDS:g} s" if late else str(error)
            self._refused = (said or type(error).__name__)[:MAX_REFUSED]
            known = isinstance(error, BroadcasterError | TimeoutError)
            text = "the settings are not taken, and everything goes on as it was: %s"
            fields = {"event": "reload_refused"}
            _log.error(text, self._refused, extra=fields, exc_info=not known)
            return
        if not self._stopping.is_set():
            self._take(plans, renew=renew)

    def _take(self, plans: Sequence[PoolPlan], *, renew: bool) -> None:
        self._read_at, self._refused = time.time(), ""
        present = {pool.plan.name: pool for pool in self._pools if not pool.draining}
        wanted = {plan.name: plan for plan in plans}
        old = {name: pool.plan.made for name, pool in present.items()}
        new = {name: plan.made for name, plan in wanted.items()}
        found = actions(old, new, renew=renew)
        _log.info("settings read: %s", in_words(found), extra={"event": "reloaded"})
        for name, action in found.items():
            if action == "start":
                self._pools.append(Pool(wanted[name]))
            elif action == "drain":
                present[name].drain()
            elif action != "keep":
                present[name].change(wanted[name], renew=action == "renew")

    async def _read_again(self) -> Sequence[PoolPlan]:
        if self._read is not None:
            return await self._calls.call("the settings", self._read, LOOK_SECONDS)
        return [pool.plan for pool in self._pools if not pool.draining]

    async def _decide(self, pool: Pool) -> None:
        if pool.draining:
            return
        found: list[Backlog] = []
        looked = await self._aside(pool.plan.name, lambda: found.extend(pool.plan.look()))
        begun = any(group.wanted for group in pool.groups.values())
        if (looked or not begun) and not self._stopping.is_set():
            pool.decide(found, time.monotonic())

    async def _tell_status(self) -> None:
        status = self.status()
        await self._aside("the status", lambda: self._tell(status))

    async def _aside(self, what: str, call: Callable[[], object]) -> bool:
        """
        Make a blocking call in a thread; False if it fails, whyever: the workers stay.

        Args:
            what: it is about, for a complaint: once, until it succeeds again.
        """
        try:
            await self._calls.call(what, call, LOOK_SECONDS)
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
        patience = max((child.patience for child in self._running()), default=0.0)
        await self._ended(patience)
        for group in self._all():
            group.kill()
        await self._ended(KILLED_SECONDS)
        self._state = "stopped"
        await self._tell_status()

    async def _ended(self, within: float) -> None:
        """Wait until all workers have ended, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.gather(*(child.process.wait() for child in self._running()))

    def _running(self) -> list[Child]:
        return [
            child for group in self._all() for child in group.children if child.process.code is None
        ]

    def _all(self) -> list[Group]:
        return [group for pool in self._pools for group in pool.all_groups]
