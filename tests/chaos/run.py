"""
Kill workers while they work: ``python -m tests.chaos.run`` (`make chaos`).

A plan of jobs, chains, batches and broadcasts, made from one seed, is dispatched to real
``broadcaster work`` processes on a Redis server of its own; every 0.5 to 1 s one of them is
killed with ``kill -9`` and started again. When all is over `checks` compares what happened with
what was planned. The same seed makes the same plan and the same strikes; which jobs they hit is
up to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import SystemRandom
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.embedded import EmbeddedServer
from broadcaster.drivers.redis.fleet import RedisFleet
from broadcaster.errors import DriverUnavailable
from broadcaster.settings import load_settings
from broadcaster.wiring.backend import open_backend
from tests.chaos import state
from tests.chaos.checks import check, summary
from tests.chaos.dispatching import Dispatcher, retry_mended
from tests.chaos.history import State
from tests.chaos.listening import Listener
from tests.chaos.planning import plan, strikes
from tests.chaos.plant import Plant, environment
from tests.chaos.record import Record
from tests.polling import eventually_async

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from tests.chaos.history import Finding
    from tests.chaos.plan import Plan
    from tests.chaos.planning import Strike

PREFIX = "chaos"
POLL = 0.2
SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class Options:
    """
    How a run goes.

    Attributes:
        seed: of everything that is left to chance.
        jobs: about how many.
        workers: processes.
        seconds: over which the jobs are dispatched.
        kills: strikes, spread over the dispatching; None goes on until all is over.
        pause: seconds between two strikes, at least and at most.
        gentle: part of the strikes that ask a worker to stop instead.
        cold: part of the others that freeze it, for half a lease to two, and let it go on.
        lease: seconds.
        max_crashes: times a job may take its worker down while it runs alone: more than usual,
            so that no job is hit so often by chance.
        patience: seconds for which nothing may move before all is over.
        restart_redis: seconds between two kills of the server; None leaves it alone.
    """

    seed: int
    jobs: int = 20_000
    workers: int = 4
    seconds: float = 60.0
    kills: int | None = None
    pause: tuple[float, float] = (0.5, 1.0)
    gentle: float = 0.0
    cold: float = 0.0
    lease: float = 2.0
    max_crashes: int = 5
    patience: float = 60.0
    restart_redis: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run has shown."""

    findings: Sequence[Finding]
    numbers: dict[str, int]
    seconds: float


async def chaos(options: Options, folder: Path, say: Callable[[str], None]) -> Verdict:
    """Make one run; its servers and logs live in `folder`."""
    started = time.monotonic()
    made = plan(options.seed, options.jobs)
    async with AsyncExitStack() as stack:
        show = await _Show.open(options, made, folder, stack)
        work = asyncio.create_task(show.play(say))
        tasks = [asyncio.create_task(each) for each in show.beside(say)]
        stack.push_async_callback(_end, tasks)
        left = await work
        history = list(show.record.read())
    findings = check(made, history, left, lease=options.lease, max_crashes=options.max_crashes)
    return Verdict(
        findings=findings,
        numbers=dict(summary(made, history)),
        seconds=time.monotonic() - started,
    )


class _Show:
    """One run and all that belongs to it."""

    def __init__(
        self,
        options: Options,
        made: Plan,
        *,
        record: Record,
        plant: Plant,
        clients: RedisClients,
        server: EmbeddedServer,
    ) -> None:
        self.options = options
        self.plan = made
        self.record = record
        self.plant = plant
        self.server = server
        self.remains = state.Remains(clients)
        self.fleet = RedisFleet(clients)
        self.clients = clients
        self.dispatcher = Dispatcher(record)
        self.listener = Listener(clients.blocking(), f"{PREFIX}:{{1:chaos-*}}")
        self.struck = self.restarts = 0
        self.calm = False

    @classmethod
    async def open(cls, options: Options, made: Plan, folder: Path, stack: AsyncExitStack) -> _Show:
        server = EmbeddedServer(folder / "redis", appendonly=options.restart_redis is not None)
        records = EmbeddedServer()
        for each in (server, records):
            await asyncio.to_thread(each.start)
            stack.callback(each.stop)
        record = Record(records.url)
        stack.push_async_callback(record.aclose)
        env = environment(server.url, PREFIX, options.lease, options.max_crashes)
        application = open_backend(load_settings(cwd=folder, environ=env))
        stack.enter_context(current.replaced(application))
        stack.push_async_callback(application.aclose)
        clients = RedisClients(server.url, PREFIX)
        stack.push_async_callback(clients.aclose)
        if options.restart_redis is not None:
            clients.sync.config_set("appendfsync", "always")
        plant = Plant(record, records.url, env, folder, options.workers, options.lease)
        stack.callback(plant.kill_all)
        show = cls(options, made, record=record, plant=plant, clients=clients, server=server)
        stack.push_async_callback(show.listener.aclose)
        await show.listener.open()
        return show

    def beside(self, say: Callable[[str], None]) -> list[Coroutine[object, object, None]]:
        """What goes on while the run is played."""
        servers = [] if self.options.restart_redis is None else [self._strike_server()]
        servers = servers or [self.listener.listen()]  # which ends with the server
        seats = [self.plant.keep(seat) for seat in self.plant.seats]
        return [*seats, self._strike(), self._tell(say), *servers]

    async def play(self, say: Callable[[str], None]) -> State:
        """Dispatch everything, wait until it is over, and return what is left."""
        await self.dispatcher.carry_out(self.plan, self.options.seconds, self._may_go_on)
        waited = await self._over()
        if waited:
            await self._mend()
            waited = await self._over()
        self.calm = True
        if waited:
            await asyncio.sleep(self.options.lease + 0.5)  # locks of the dead lapse
            waited = await self._all_seats_taken()
        exits = await self.plant.close()
        if self.options.restart_redis is None:
            await self.listener.hear_the_last(self.clients.sync)
        say("all workers have stopped; now it is compared with the plan")
        application = current.application()
        return State(
            failed=state.failed_states(application.failed_jobs),
            batches=state.batch_states(application.batches),
            keys=self.remains.keys(),
            bodies=self.remains.bodies(),
            settled=self.remains.settled(),
            published=self.listener.heard if self.options.restart_redis is None else None,
            exits=exits,
            complaints=[one for log in self.plant.logs() for one in state.complaints(log)],
            orphans=await self.plant.orphans(),
            waited=waited,
        )

    def _may_go_on(self, part: float) -> bool:
        """Whether `part` of the plan may be dispatched: each strike shall have work to hit."""
        return self.options.kills is None or self.struck >= int(self.options.kills * part)

    async def _mend(self) -> None:
        """Let jobs succeed that failed, and have their batches retry them."""
        self.record.mend()
        await eventually_async(self._retry, within=self.options.patience)

    async def _retry(self) -> bool:
        try:
            await asyncio.to_thread(retry_mended, self.plan)
        except DriverUnavailable:  # safe to repeat
            return False
        return True

    async def _over(self) -> bool:
        """Wait until no job is left; False if nothing moves for too long."""
        moved, before = time.monotonic(), ""
        while time.monotonic() < moved + self.options.patience:
            with suppress(DriverUnavailable):
                if await asyncio.to_thread(self.remains.are_nothing):
                    return True
                now = await asyncio.to_thread(self.remains.progress)
                if now != before:
                    moved, before = time.monotonic(), now
            await asyncio.sleep(POLL)
        return False

    async def _all_seats_taken(self) -> bool:
        """Wait until every worker is up, so that it can be asked to stop."""
        deadline = time.monotonic() + self.options.patience
        while time.monotonic() < deadline:
            if len(self.plant.up(await self._living())) == self.options.workers:
                return True
            await asyncio.sleep(POLL)
        return False

    async def _living(self) -> set[int]:
        """Return the process ids of workers that have begun to work; the dead are among them."""
        try:
            return {each.pid for each in await asyncio.to_thread(self.fleet.workers)}
        except DriverUnavailable:
            return set()

    async def _strike(self) -> None:
        shortest, longest = self.options.pause
        for strike in strikes(
            self.options.seed,
            shortest=shortest,
            longest=longest,
            gentle=self.options.gentle,
            cold=self.options.cold,
        ):
            await asyncio.sleep(strike.pause)
            if self.calm or self.struck == self.options.kills:
                return
            await eventually_async(partial(self._hit, strike), within=self.options.patience)
            self.struck += 1

    async def _hit(self, strike: Strike) -> bool:
        return await self.plant.strike(strike, await self._living())

    async def _strike_server(self) -> None:
        pause = self.options.restart_redis
        assert pause is not None
        while True:
            await asyncio.sleep(pause)
            if self.calm:
                return
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(self.server.pid, signal.SIGKILL)
                self.restarts += 1

    async def _waiting(self) -> str:
        try:
            return f"{len(await asyncio.to_thread(self.remains.bodies))} jobs"
        except DriverUnavailable:
            return "unknown"

    async def _tell(self, say: Callable[[str], None]) -> None:
        started = time.monotonic()
        while not self.calm:
            events = await asyncio.to_thread(self.record.count)
            say(
                f"{time.monotonic() - started:5.0f} s: {self.dispatcher.done} of "
                f"{len(self.plan.ops)} dispatched, {await self._waiting()} in queues, "
                f"{events} events, {self.struck} strikes, {self.restarts} restarts of the server"
            )
            await asyncio.sleep(5.0)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the run of the command line; return 1 if a promise was broken."""
    options = _parsed(arguments)
    _say(f"seed {options.seed}: again with  make chaos ARGS='--seed {options.seed}'")
    folder = Path(mkdtemp(prefix="chaos-"))
    verdict = asyncio.run(chaos(options, folder, _say))
    for finding in verdict.findings[:SHOWN]:
        _say(f"BROKEN  {finding}")
    if len(verdict.findings) > SHOWN:
        _say(f"... and {len(verdict.findings) - SHOWN} more")
    numbers = ", ".join(f"{number} {what}" for what, number in verdict.numbers.items())
    _say(f"seed {options.seed}: {numbers}; {verdict.seconds:.1f} s")
    if verdict.findings:
        _say(f"{len(verdict.findings)} promises were broken; logs are in {folder}")
        return 1
    _say("every promise was kept")
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command-line tool


def _parsed(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0, help="spread the jobs over them")
    parser.add_argument("--kills", type=int, default=None, help="at most so many strikes")
    parser.add_argument("--gentle", type=float, default=0.0, help="part of them that are SIGTERM")
    parser.add_argument("--cold", type=float, default=0.0, help="part of them that freeze it")
    parser.add_argument("--lease", type=float, default=2.0)
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--restart-redis", type=float, default=None, metavar="SECONDS")
    said = vars(parser.parse_args(arguments))
    seed = said.pop("seed")
    return Options(seed=SystemRandom().randrange(10**6) if seed is None else seed, **said)


if __name__ == "__main__":
    sys.exit(main())
