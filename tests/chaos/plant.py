"""Real worker processes that are killed again and again, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.record import SERVER, WORKER
from tests.chaos.survivors import survivors
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tests.chaos.planning import Strike
    from tests.chaos.record import Record

ROOT = Path(__file__).parents[2]
GRACE = 5.0
AWAY = 60.0
STOP_SECONDS = 30.0
WORKLOAD = "tests.chaos.workload"
_ALL = "critical,broadcasts,default,low"
MANNERS = (
    ("--queue", _ALL, "--concurrency", "8", "--reserve-ahead", "0"),
    ("--queue", _ALL, "--concurrency", "8"),
    ("--queue", "critical:4,default:2,low:1,broadcasts:1", "--concurrency", "4"),
    ("--queue", "critical,default,low", "--concurrency", "16", "--reserve-ahead", "64"),
)
"""How workers are started, by turns."""


@dataclass
class Seat:
    """
    One worker that is always there: when its process ends, another one is started.

    Attributes:
        number: of all seats, from 0.
        log: where its processes write.
        generation: number of its process, from 1.
        process: the one that lives.
        asked: it was asked to stop.
        frozen: it does nothing, and does not know it.
    """

    number: int
    log: Path
    generation: int = 0
    process: asyncio.subprocess.Process | None = None
    asked: bool = False
    frozen: bool = False

    @property
    def worker(self) -> str:
        """Name of its process."""
        return f"w{self.number}.{self.generation}"


@dataclass
class Plant:
    """
    The workers of a run.

    Args:
        record: is told who was born, hit, asked to stop, and dead.
        environment: of the processes.
        folder: for their logs.

    Attributes:
        seats: the workers.
        exits: codes with which workers ended that were asked to stop, by name.
        closing: nobody is started again.
        watches: look for what outlives the workers that have ended.
    """

    record: Record
    record_url: str
    environment: Mapping[str, str]
    folder: Path
    workers: int
    lease: float
    seats: list[Seat] = field(default_factory=list[Seat])
    exits: dict[str, int] = field(default_factory=dict[str, int])
    closing: bool = False
    thaws: set[asyncio.Task[None]] = field(default_factory=set["asyncio.Task[None]"])
    watches: set[asyncio.Task[list[str]]] = field(default_factory=set["asyncio.Task[list[str]]"])

    def __post_init__(self) -> None:
        self.seats = [
            Seat(number, self.folder / f"worker{number}.log") for number in range(self.workers)
        ]

    async def keep(self, seat: Seat) -> None:
        """Keep a worker in `seat` until the plant closes."""
        while not self.closing:
            await self._start(seat)
            process = seat.process
            assert process is not None
            code = await process.wait()
            await self.record.anote("dead", "", worker=seat.worker)
            self.watches.add(asyncio.create_task(survivors(seat.worker, self.record_url)))
            if seat.asked:
                self.exits[seat.worker] = code
            seat.process = None

    def up(self, living: Collection[int]) -> list[Seat]:
        """Return the seats whose process is among `living` and was left alone so far."""
        return [
            seat
            for seat in self.seats
            if seat.process is not None and seat.process.pid in living
            if not (seat.asked or seat.frozen)
        ]

    async def strike(self, strike: Strike, living: Collection[int]) -> bool:
        """
        Hit a worker; False if less than half of them work.

        Args:
            living: process ids of workers that have begun to work: a worker that is killed
                before has nothing to lose, and where only such live nothing is ever done.
        """
        seats = self.up(living)
        if len(seats) * 2 < len(self.seats):
            return False
        wanted = int(strike.place * len(self.seats))
        seat = min(seats, key=lambda one: (one.number - wanted) % len(self.seats))
        match strike.how:
            case "kill":
                await self.record.anote("hit", "", worker=seat.worker)
                _send(seat, signal.SIGKILL)
            case "stop":
                await self._ask(seat)
            case "freeze":
                await self.record.anote("frozen", "", worker=seat.worker)
                thaw = asyncio.create_task(self._freeze(seat, strike.leases * self.lease))
                self.thaws.add(thaw)
                thaw.add_done_callback(self.thaws.discard)
        return True

    async def close(self) -> Mapping[str, int]:
        """Ask all workers to stop; return the exit codes of those that lived to the end."""
        self.closing = True
        if self.thaws:
            await asyncio.wait(self.thaws)
        last = [seat.worker for seat in self.seats if seat.process is not None]
        for seat in self.seats:
            if seat.process is not None:
                await self._ask(seat)
        await eventually(
            lambda: all(seat.process is None for seat in self.seats), within=STOP_SECONDS
        )
        return {worker: self.exits[worker] for worker in last}

    async def orphans(self) -> list[str]:
        """Return what has outlived its worker."""
        return [found for one in await asyncio.gather(*self.watches) for found in one]

    def kill_all(self) -> None:
        """End everything at once."""
        self.closing = True
        for seat in self.seats:
            _send(seat, signal.SIGKILL)

    def logs(self) -> list[list[str]]:
        """Return the lines that the workers of each seat have written."""
        return [
            seat.log.read_text(encoding="utf-8", errors="replace").splitlines()
            for seat in self.seats
            if seat.log.exists()
        ]

    async def _start(self, seat: Seat) -> None:
        seat.generation += 1
        seat.asked = seat.frozen = False
        # Should this process be killed, its server ends, and then what has no server.
        ends = ("--grace", str(GRACE), "--max-away", str(AWAY))
        options = (*MANNERS[seat.number % len(MANNERS)], *ends, "--json")
        mine = {SERVER: self.record_url, WORKER: seat.worker}
        with seat.log.open("ab") as log:
            seat.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "broadcaster", "work", WORKLOAD, *options, "--log-level", "warning"),
                env={**self.environment, **mine},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        await self.record.anote("born", "", worker=seat.worker)

    async def _freeze(self, seat: Seat, seconds: float) -> None:
        seat.frozen = True
        process = seat.process
        try:
            _send(seat, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            if seat.process is process:
                seat.frozen = False
                _send(seat, signal.SIGCONT)

    async def _ask(self, seat: Seat) -> None:
        seat.asked = True
        await self.record.anote("asked", "", worker=seat.worker)
        _send(seat, signal.SIGTERM)


def environment(redis_url: str, prefix: str, lease: float, max_crashes: int) -> dict[str, str]:
    """Return the environment of a process that knows nothing but this server."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return kept | {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "auth"))),
        "REDIS_URL": redis_url,
        "BROADCASTER_PREFIX": prefix,
        "BROADCASTER_APP_ID": "1",
        "BROADCASTER_APP_KEY": "key",
        "BROADCASTER_APP_SECRET": "secret-of-the-chaos",
        "BROADCASTER_QUEUE__LEASE": str(lease),
        "BROADCASTER_QUEUE__MAX_CRASHES": str(max_crashes),
    }


def _send(seat: Seat, number: signal.Signals) -> None:
    if seat.process is not None and seat.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(seat.process.pid, number)
