"""The step script against a model in Python: any order of calls, the same answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from broadcaster.contracts.queue import Done, Fail, NewJob, Release, Retry, StepRequest
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.contracts.queue import Reserved, StepReply

pytestmark = pytest.mark.redis

MAX_CRASHES = 2


@dataclass
class Model:
    """What the queue should be; leases lapse only when a rule says so."""

    ordered: bool
    ready: list[str] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)
    held: dict[str, tuple[int, bool]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)

    def known(self, job: str) -> bool:
        return job in self.ready + self.suspects or job in self.held or job in self.failed

    def push(self, job: str) -> bool:
        if self.known(job):
            return False
        self.ready.append(job)
        return True

    def settle(self, settlements: list[Any]) -> set[str]:
        refused: set[str] = set()
        returned: list[tuple[int, str]] = []
        front: list[str] = []
        back: list[str] = []
        for one in sorted(settlements, key=lambda one: not isinstance(one, Done)):
            if self.held.get(one.id, (None,))[0] != one.token:
                refused.add(one.id)
                continue
            token, _ = self.held.pop(one.id)
            if isinstance(one, Done | Fail):
                self.forget(one.id)
                (self.done if isinstance(one, Done) else self.failed).add(one.id)
                continue
            if isinstance(one, Retry):
                self.attempts[one.id] = self.attempts.get(one.id, 0) + 1
                if self.crashes.get(one.id) == 0:
                    del self.crashes[one.id]
            if self.ordered:
                returned.append((token, one.id))
            else:
                (back if isinstance(one, Retry) else front).append(one.id)
        self.put(front, at_front=True)
        self.put(back)
        if returned:
            self.take_back(returned, min(token for token, _ in returned))
        return refused

    def take_back(self, returned: list[tuple[int, str]], lowest: int) -> None:
        behind = [(token, job) for job, (token, _) in self.held.items() if token > lowest]
        for _, job in behind:
            del self.held[job]
        self.ready[:0] = [job for _, job in sorted(returned + behind)]

    def lapse(self, jobs: list[str]) -> set[str]:
        crashed: set[str] = set()
        again: list[tuple[int, str]] = []
        for job in jobs:
            token, alone = self.held.pop(job)
            self.crashes[job] = self.crashes.get(job, 0) + (1 if alone else 0)
            if alone and self.crashes[job] >= MAX_CRASHES:
                self.forget(job)
                self.failed.add(job)
                crashed.add(job)
            else:
                again.append((token, job))
        if not self.ordered:
            self.put([job for _, job in again])
        elif jobs:
            self.take_back(again, 0)
        return crashed

    def put(self, jobs: list[str], *, at_front: bool = False) -> None:
        plain = [job for job in jobs if job not in self.crashes]
        self.suspects += [job for job in jobs if job in self.crashes]
        self.ready[:0] = plain if at_front else []
        self.ready += [] if at_front else plain

    def forget(self, job: str) -> None:
        self.attempts.pop(job, None)
        self.crashes.pop(job, None)

    def reserve(self, count: int, *, idle: bool) -> tuple[list[str], bool]:
        """Return what is reserved, and whether alone."""
        if self.ordered:
            if self.held:
                return [], False
            if self.ready and self.ready[0] in self.crashes:
                return [self.ready.pop(0)], idle
            taken: list[str] = []
            while self.ready and len(taken) < count and self.ready[0] not in self.crashes:
                taken.append(self.ready.pop(0))
            return taken, False
        if self.suspects:
            return ([self.suspects.pop(0)], True) if idle else ([], False)
        taken, self.ready = self.ready[:count], self.ready[count:]
        return taken, False


class QueueMachine(RuleBasedStateMachine):
    """Runs every call against Redis and the model."""

    ordered = False
    clients: RedisClients
    runner: asyncio.Runner
    made = 0

    def __init__(self) -> None:
        super().__init__()
        QueueMachine.made += 1
        self.name = f"q{QueueMachine.made}"
        self.queue = RedisQueue(self.clients)
        self.model = Model(self.ordered)
        self.old: list[Reserved] = []
        self.held: dict[str, Reserved] = {}
        self.count = 0
        self.top_token = 0

    @rule(fresh=st.integers(0, 4), repeat=st.booleans())
    def push(self, fresh: int, *, repeat: bool) -> None:
        ids = [f"{self.count + i:032x}" for i in range(fresh)]
        self.count += fresh
        if repeat and self.held:
            ids.append(next(iter(self.held)))
        expected = sum(self.model.push(job) for job in ids)

        jobs = [NewJob(job, self.name, b"b" + job.encode()) for job in ids]

        assert len(self.runner.run(self.queue.apush(jobs)).new) == expected

    @rule(data=st.data(), reserve=st.integers(0, 4), idle=st.booleans())
    def step(self, data: st.DataObject, reserve: int, *, idle: bool) -> None:
        settlements = [
            self._settlement(data, job) for job in self._some(data, [*self.held.values()])
        ]
        settlements += [Done(job.id, job.token) for job in self._some(data, self.old[-3:])]
        refused = self.model.settle(settlements)
        self._step(settlements, reserve, idle=idle, refused=refused, crashed=set())

    @rule(reserve=st.integers(1, 4), idle=st.booleans())
    def step_whose_answer_is_lost(self, reserve: int, *, idle: bool) -> None:
        lost, alone = self.model.reserve(reserve, idle=idle)
        reply = self._send([], reserve, idle=idle)
        assert [job.id for job in reply.reserved] == lost
        self.model.held |= {job.id: (job.token, alone) for job in reply.reserved}

        self._send([], 0, idle=idle, recover_after=self.top_token)

        returned = [(self.model.held.pop(job.id)[0], job.id) for job in reply.reserved]
        if self.ordered and returned:
            self.model.take_back(returned, returned[0][0])
        elif not self.ordered:
            self.model.put([job for _, job in returned], at_front=True)
        self.top_token = max([self.top_token, *(token for token, _ in returned)])

    @rule(data=st.data(), reserve=st.integers(0, 4), idle=st.booleans())
    def step_after_leases_ran_out(self, data: st.DataObject, reserve: int, *, idle: bool) -> None:
        jobs = [*self.held.values()]
        if not self.ordered:
            jobs = self._some(data, jobs)
        key = self.clients.keys.queue(self.name, "reserved")
        # Redis hands out the lapsed in the order of their lease's end.
        for index, job in enumerate(jobs):
            self.clients.sync.zadd(key, {job.id: 1 + index})
        crashed = self.model.lapse([job.id for job in jobs])
        self._step([], reserve, idle=idle, refused=set(), crashed=crashed)

    def _step(
        self,
        settlements: list[Any],
        reserve: int,
        *,
        idle: bool,
        refused: set[str],
        crashed: set[str],
    ) -> None:
        expected, alone = self.model.reserve(reserve, idle=idle) if reserve else ([], False)

        reply = self._send(settlements, reserve, idle=idle)

        if not idle and not self.ordered and self.model.suspects and not reply.drain:
            # Another worker drains for the suspect, so this one may go on.
            expected, self.model.ready = self.model.ready[:reserve], self.model.ready[reserve:]
        assert [job.id for job in reply.reserved] == expected
        assert set(reply.refused) == refused
        assert set(reply.crashed) == crashed
        assert reply.ready == len(self.model.ready) + len(self.model.suspects)
        for job in reply.reserved:
            assert job.body == b"b" + job.id.encode()
            assert job.token > self.top_token
            assert job.attempts == self.model.attempts.get(job.id, 0)
            assert job.alone == alone
            self.top_token = job.token
            self.model.held[job.id] = (job.token, job.alone)
            self.held[job.id] = job
        for job_id in [each for each in self.held if each not in self.model.held]:
            self.old.append(self.held.pop(job_id))

    def _send(
        self,
        settlements: list[Any],
        reserve: int,
        *,
        idle: bool,
        recover_after: int | None = None,
    ) -> StepReply:
        return self.runner.run(
            self.queue.step(
                StepRequest(
                    queue=self.name,
                    settlements=settlements,
                    reserve=reserve,
                    lease=3600,
                    worker="w",
                    idle=idle,
                    ordered=self.ordered,
                    max_crashes=MAX_CRASHES,
                    recover_after=recover_after,
                )
            )
        )

    @invariant()
    def nothing_is_lost_and_nothing_is_twice(self) -> None:
        model, sizes = self.model, self.queue.sizes(self.name)
        assert sizes.ready == len(model.ready) + len(model.suspects)
        assert sizes.held == len(model.held)
        assert sizes.failed == len(model.failed)
        alive = sizes.ready + sizes.held + sizes.failed
        assert alive + len(model.done) == self.count
        stored: Any = self.clients.sync.hlen(self.clients.keys.queue(self.name, "jobs"))
        assert stored == sizes.ready + sizes.held

    def _some(self, data: st.DataObject, jobs: list[Reserved]) -> list[Reserved]:
        return [job for job in jobs if data.draw(st.booleans())]

    def _settlement(self, data: st.DataObject, job: Reserved) -> Any:
        kind = data.draw(st.sampled_from(["done", "retry", "release", "fail"]))
        match kind:
            case "done":
                return Done(job.id, job.token)
            case "retry":
                return Retry(job.id, job.token)
            case "release":
                return Release(job.id, job.token)
            case _:
                return Fail(job.id, job.token, "exception", "x", 1)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.mark.parametrize("ordered", [False, True], ids=["plain", "lane"])
def test_the_queue_does_what_the_model_does(
    redis_url: str, prefix: str, runner: asyncio.Runner, *, ordered: bool
) -> None:
    clients = RedisClients(redis_url, prefix)
    given = {"ordered": ordered, "clients": clients, "runner": runner}
    machine = type("Machine", (QueueMachine,), given)

    try:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis leaves it open
            machine,
            settings=settings(
                max_examples=60,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        runner.run(clients.aclose())
