"""Chains and batches while workers die anywhere: between steps, and amid applying effects."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from broadcaster.contracts.batches import BatchRecord, NewBatch
from broadcaster.contracts.queue import (
    BatchMark,
    Done,
    Fail,
    Link,
    NewJob,
    Push,
    Retry,
    StepRequest,
    Unique,
)
from broadcaster.drivers.redis.batches import RedisBatches
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broadcaster.contracts.batches import Marked, Moment
    from broadcaster.contracts.queue import Owed, Pushed, Reserved, Settlement

pytestmark = pytest.mark.redis

QUEUES = ("a", "b")
LINKS, GOOD_JOBS, BAD_JOBS = 5, 6, 5
BAD = {1, 3}


class Died(Exception):
    """The worker was killed."""


class Chance:
    """Kills sometimes, until it is told to stop."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.deadly = True

    def risk(self) -> None:
        if self.deadly and self.random.random() < 0.15:
            raise Died


class MortalBatches(RedisBatches):
    """Its caller may die before and after each call."""

    def __init__(self, clients: RedisClients, chance: Chance) -> None:
        super().__init__(clients)
        self.chance = chance

    async def amark_all(self, marks: Mapping[str, Sequence[BatchMark]]) -> dict[str, Marked]:
        self.chance.risk()
        marked = await super().amark_all(marks)
        self.chance.risk()
        return marked

    async def acalled(self, batch_id: str, moments: Sequence[Moment]) -> None:
        self.chance.risk()
        await super().acalled(batch_id, moments)
        self.chance.risk()


class MortalQueue(RedisQueue):
    """Counts what was queued; its caller may die before and after pushing."""

    def __init__(self, clients: RedisClients, chance: Chance) -> None:
        super().__init__(clients, batches=MortalBatches(clients, chance))
        self.chance = chance
        self.queued: Counter[str] = Counter()

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        self.chance.risk()
        pushed = await super().apush(jobs)
        self.queued.update(pushed.new)
        self.chance.risk()
        return pushed


class Worker:
    """What a worker knows; all of it is gone when it dies."""

    def __init__(self) -> None:
        self.held: list[tuple[str, Reserved]] = []
        self.owed: list[tuple[str, Sequence[Owed]]] = []


class Plant:
    """Three workers on two queues, a chain, and two batches."""

    def __init__(self, clients: RedisClients, random: Random, run: int) -> None:
        self.clients = clients
        self.random = random
        self.chance = Chance(random)
        self.queue = MortalQueue(clients, self.chance)
        self.batches = RedisBatches(clients)
        self.names = {queue: f"{queue}{run}" for queue in QUEUES}
        self.workers = {f"w{number}": Worker() for number in range(3)}
        self.good, self.bad = f"{run:031x}1", f"{run:031x}2"
        self.accepted: Counter[str] = Counter()

    async def prepare(self) -> None:
        self.chance.deadly = False
        for batch_id, total in ((self.good, GOOD_JOBS), (self.bad, BAD_JOBS)):
            moments: tuple[Moment, ...] = ("then", "catch", "finally")
            callbacks = {moment: [self.callback(batch_id, moment)] for moment in moments}
            batch = NewBatch(id=batch_id, total=total, allow_failures=True, callbacks=callbacks)
            await self.batches.acreate(batch)
            await self.queue.apush(
                [self.job(f"{batch_id}:{index}", self.names["a"]) for index in range(total)]
            )
        await self.queue.apush([self.link(0)])
        self.chance.deadly = True

    def job(self, name: str, queue: str, link: Link | None = None) -> NewJob:
        return NewJob(name, queue, name.encode(), unique=Unique(name, 600), link=link)

    def callback(self, batch_id: str, moment: str) -> NewJob:
        name = f"{batch_id}:{moment}"
        return self.job(name, self.names["b"], Link(name))

    def link(self, index: int) -> NewJob:
        return self.job(f"chain:{index}", self.names[QUEUES[index % 2]], Link("chain", index))

    def settlement(self, job: Reserved) -> Settlement:
        if self.chance.deadly and self.random.random() < 0.2:
            return Retry(job.id, job.token, exception=True)
        batch_id, _, index = job.id.partition(":")
        if batch_id == "chain":
            nth = int(index) + 1
            return Done(job.id, job.token, (Push(self.link(nth)),) if nth < LINKS else ())
        if not index.isdigit():
            return Done(job.id, job.token)
        if batch_id == self.bad and int(index) in BAD:
            mark = BatchMark(batch_id, int(index), failed=True)
            return Fail(job.id, job.token, "exception", "x", 1, effects=(mark,))
        return Done(job.id, job.token, (BatchMark(batch_id, int(index)),))

    async def step(self, name: str) -> None:
        worker, queue = self.workers[name], self.random.choice(QUEUES)
        mine = [job for at, job in worker.held if at == queue and self.random.random() < 0.7]
        settlements = [self.settlement(job) for job in mine]
        request = StepRequest(
            queue=self.names[queue],
            settlements=settlements,
            reserve=self.random.randint(0, 3),
            lease=3600,
            worker=name,
            max_crashes=1_000,
        )
        reply = await self.queue.step(request)
        ended = {one.id for one in settlements if isinstance(one, Done | Fail)}
        self.accepted.update(ended - set(reply.refused))
        if self.chance.deadly and self.random.random() < 0.1:  # the answer never came
            raise Died
        worker.held = [one for one in worker.held if one[1] not in mine]
        worker.held += [(queue, job) for job in reply.reserved]
        if reply.owed:
            worker.owed.append((self.names[queue], reply.owed))

    async def act(self) -> None:
        name = self.random.choice(list(self.workers))
        worker = self.workers[name]
        try:
            if worker.owed and self.random.random() < 0.5:
                await self.queue.apply(*worker.owed[0])
                del worker.owed[0]
            elif self.random.random() < 0.05:
                self.chance.risk()
            else:
                await self.step(name)
        except Died:
            self.workers[name] = Worker()
        if self.random.random() < 0.1:
            await self.time_passes()

    async def time_passes(self) -> None:
        """Leases that nobody renews lapse, and what is owed by the dead is due."""
        alive = {job.id for worker in self.workers.values() for _, job in worker.held}
        for name in self.names.values():
            for suffix in ("reserved", "outbox_due"):
                key = self.clients.keys.queue(name, suffix)
                ids: Any = await self.clients.aio.zrange(key, 0, -1)
                lapsed = {each: 1 for each in ids if each.decode() not in alive}
                if lapsed:
                    await self.clients.aio.zadd(key, lapsed)

    async def is_over(self) -> bool:
        for name in self.names.values():
            sizes = await self.queue.asizes(name)
            if (
                sizes.ready
                or sizes.held
                or await self.clients.aio.exists(self.clients.keys.queue(name, "outbox"))
            ):
                return False
        return True

    async def finish(self) -> None:
        self.chance.deadly = False
        self.workers = {"last": Worker()}
        for _ in range(500):
            await self.time_passes()
            await self.act()
            if await self.is_over():
                return
        raise AssertionError("the queues never ran empty")

    async def record(self, batch_id: str) -> BatchRecord:
        record = await self.batches.afind(batch_id)
        assert record is not None
        return record


async def play(plant: Plant) -> None:
    await plant.prepare()
    for _ in range(plant.random.randint(20, 80)):
        await plant.act()
    await plant.finish()

    good, bad = await plant.record(plant.good), await plant.record(plant.bad)
    assert (good.pending, good.failed, good.finished) == (0, 0, True)
    assert (bad.pending, bad.failed, bad.finished) == (len(BAD), len(BAD), True)
    expected = {f"chain:{index}" for index in range(LINKS)}
    expected |= {f"{plant.good}:{index}" for index in range(GOOD_JOBS)}
    expected |= {f"{plant.bad}:{index}" for index in range(BAD_JOBS)}
    expected |= {f"{plant.good}:then", f"{plant.good}:finally"}
    expected |= {f"{plant.bad}:catch", f"{plant.bad}:finally"}
    assert plant.accepted == dict.fromkeys(expected, 1)
    assert plant.queue.queued == dict.fromkeys(expected, 1)
    for number, name in enumerate(sorted(expected)):  # every unique lock is free
        for queue in plant.names.values():
            job = NewJob(f"after {number}", queue, b"", unique=Unique(name, 1))
            assert not (await plant.queue.apush([job])).locked


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.mark.timeout(400)  # forty plays, which a busy machine takes long for
def test_row_18_chains_and_batches_are_exact_whoever_is_killed_when(
    redis_url: str, prefix: str, runner: asyncio.Runner
) -> None:
    clients = RedisClients(redis_url, prefix)
    runs = iter(range(1, 1_000_000))

    @settings(
        max_examples=40,
        deadline=None,
        phases=[Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def plays(seed: int) -> None:
        runner.run(play(Plant(clients, Random(seed), next(runs))))

    try:
        plays()
    finally:
        runner.run(clients.aclose())
