"""Worker processes, producers that never rest, and what becomes of their jobs in an outage."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.fleet import RedisFleet
from broadcaster.errors import DriverUnavailable
from tests.cli.worker_process import environment, opened
from tests.e2e.chain import backend
from tests.polling import eventually, eventually_async
from tests.worker.noting_jobs import Lasting, Noted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from tests.cli.worker_process import Process, Shop

LEASE = 3.0
WORKERS = 2
PAUSE = 0.004


class Load:
    """
    Numbered jobs, dispatched by ``dispatch()`` in a thread and by ``adispatch()`` here.

    Attributes:
        began: number -> monotonic time at which its dispatch began.
        accepted: number -> monotonic time at which its dispatch had returned.
        refused: numbers whose dispatch raised; their jobs may run all the same, once.
        slowest: verb -> seconds of its longest call.
    """

    def __init__(self) -> None:
        self.began: dict[int, float] = {}
        self.accepted: dict[int, float] = {}
        self.refused: set[int] = set()
        self.slowest = {"dispatch": 0.0, "adispatch": 0.0}
        self._numbers = count()
        self._stopped = False

    async def run(self) -> None:
        """Dispatch until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(self._in_a_thread))
            group.create_task(self._here())

    def stop(self) -> None:
        self._stopped = True

    def since(self, moment: float) -> set[int]:
        """Return what was dispatched after `moment`, monotonic, and accepted."""
        return {number for number in self.accepted.copy() if self.began[number] > moment}

    def _in_a_thread(self) -> None:
        while not self._stopped:
            number, began = next(self._numbers), time.monotonic()
            self.began[number] = began
            try:
                Noted(number).dispatch()
            except DriverUnavailable:
                self.refused.add(number)
            else:
                self.accepted[number] = time.monotonic()
            self._took("dispatch", time.monotonic() - began)
            time.sleep(PAUSE)

    async def _here(self) -> None:
        while not self._stopped:
            number, began = next(self._numbers), time.monotonic()
            self.began[number] = began
            try:
                await Noted(number).adispatch()
            except DriverUnavailable:
                self.refused.add(number)
            else:
                self.accepted[number] = time.monotonic()
            self._took("adispatch", time.monotonic() - began)
            await asyncio.sleep(PAUSE)

    def _took(self, verb: str, seconds: float) -> None:
        self.slowest[verb] = max(self.slowest[verb], seconds)


class Plant:
    """Workers and their load."""

    def __init__(
        self, shop: Shop, workers: Sequence[Process], load: Load, clients: RedisClients
    ) -> None:
        self.clients = clients
        self.shop = shop
        self.workers = workers
        self.load = load

    @property
    def runs(self) -> Counter[str]:
        """How often each job was run, by number or name."""
        return Counter(line.split()[0] for line in self.shop.notes)

    @property
    def done(self) -> set[int]:
        """Numbers of the jobs that were run."""
        return {int(name) for name in self.runs if name.isdigit()}

    @property
    def first_runs(self) -> dict[str, float]:
        """When each job was run first, monotonic, by number or name."""
        notes = [line.split() for line in self.shop.notes]
        return {name: float(at) for name, _, at in reversed(notes)}

    @property
    def output(self) -> str:
        return "\n".join(worker.output for worker in self.workers)

    async def busy(self) -> None:
        """Wait until both workers have run jobs, and another fifty were run since."""
        await self._all_work(0)

    async def on_again(self) -> float:
        """Return the seconds until both workers run jobs that were dispatched from now on."""
        now = time.monotonic()
        await self._all_work(now)
        return time.monotonic() - now

    async def hold(self, *names: str) -> None:
        """Have the workers run a job for each name that ends when `let_go` is called."""
        for name in names:
            await Lasting(name).adispatch()
        await eventually(lambda: set(names) <= self.runs.keys(), within=20)

    def let_go(self) -> None:
        (self.shop.folder / "enough").touch()

    async def all_run(self, numbers: set[int]) -> None:
        """Wait until `numbers` were run."""
        await eventually(lambda: numbers <= self.done, within=20)

    async def told(self, forgotten: int, changes: int) -> None:
        """Wait until the workers have told monitors what the server has forgotten."""
        fleet = RedisFleet(self.clients)

        async def found() -> bool:
            try:
                records = await asyncio.to_thread(fleet.workers)
            except DriverUnavailable:
                return False
            known = [each for each in records if each.server_changes == changes]
            return len(known) == WORKERS and sum(each.forgotten for each in known) >= forgotten

        await eventually_async(found)

    async def _all_work(self, since: float) -> None:
        def working() -> bool:
            new = self.load.since(since)
            notes = [line.split() for line in self.shop.notes]
            pids = {pid for name, pid, _ in notes if name.isdigit() and int(name) in new}
            return len(pids) == len(self.workers)

        await eventually(working, within=30)


@asynccontextmanager
async def plant(url: str, folder: Path) -> AsyncGenerator[Plant]:
    """Run `WORKERS` worker processes under load on the server of `url`, in an empty folder."""
    lease = {"BROADCASTER_QUEUE__LEASE": str(LEASE)}
    load, clients = Load(), RedisClients(url, "outage")
    with opened(folder, environment(url, "outage", **lease)) as shop:
        workers = [
            shop.start("work", "tests.worker.noting_jobs", "--concurrency", "4")
            for _ in range(WORKERS)
        ]
        async with backend(url, "outage"):
            running = asyncio.create_task(load.run())
            try:
                yield Plant(shop, workers, load, clients)
            finally:
                load.stop()
                await running
                await clients.aclose()
