"""Carrying out a plan: everything goes through the verbs that applications use."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from broadcaster import batch, chain, current
from broadcaster.contracts.settlements import NewJob
from broadcaster.errors import DriverUnavailable
from broadcaster.events.broadcast import abroadcast
from broadcaster.events.channels import Channel
from broadcaster.events.event import ShouldBroadcast
from broadcaster.jobs.batch import Batch as BegunBatch
from broadcaster.jobs.bus import Skipped, fresh_id
from broadcaster.jobs.failures import retry_failed
from broadcaster.protocol.payload import Payload, encode_payload
from tests.chaos import workload
from tests.chaos.plan import BACKOFF, TIMEOUT, Batch, Beat, Chain, Task, batches_of
from tests.chaos.state import MOST_BATCHES, failed_states
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.jobs.bus import PreparedJob
    from broadcaster.jobs.job import Job
    from tests.chaos.plan import Op, Plan
    from tests.chaos.record import Record

AGAIN_SECONDS = 0.1
PATIENCE = 60.0
SYNC_EVERY = 10
"""One dispatch of so many is a sync one, from a thread."""


@dataclass(frozen=True)
class Beaten(ShouldBroadcast):
    """A broadcast with its number."""

    channel: str
    number: int

    def broadcast_on(self) -> Channel:
        return Channel(self.channel)


class Dispatcher:
    """
    Dispatches a plan.

    Args:
        record: is told of unique jobs, and of what may have been dispatched twice.

    Attributes:
        done: number of operations that were carried out.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self.done = 0

    async def carry_out(
        self, plan: Plan, seconds: float, may_go_on: Callable[[float], bool]
    ) -> None:
        """
        Dispatch everything, evenly spread over `seconds`.

        Args:
            may_go_on: whether so much of the plan, 0 to 1, may be dispatched already.
        """
        started = time.monotonic()
        for number, op in enumerate(plan.ops):
            ahead = started + seconds * number / len(plan.ops) - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            part = number / len(plan.ops)
            await eventually(partial(may_go_on, part), within=PATIENCE)
            await self._insist(op, number)
            self.done = number + 1

    async def _insist(self, op: Op, number: int) -> None:
        """Dispatch `op`, again and again while Redis is away."""
        made = _batch(op) if isinstance(op, Batch) else None
        while True:
            try:
                await self._send(op, made, number)
            except DriverUnavailable:
                await self._record.anote("uncertain", _key(op))
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _send(self, op: Op, made: Any, number: int) -> None:
        match op:
            case Task(kind="stranger"):
                await current.application().queue.apush([_stranger(op)])
            case Task():
                await self._send_task(op, number)
            case Chain():
                await _chain(op).adispatch()
            case Batch():
                await made.adispatch()
            case Beat():
                await abroadcast(Beaten(op.channel, op.number))

    async def _send_task(self, task: Task, number: int) -> None:
        ready = _prepared(task)
        if number % SYNC_EVERY:
            answer = await ready.adispatch()
        else:
            answer = await asyncio.to_thread(ready.dispatch)
        if task.kind == "unique":
            what = "skipped" if isinstance(answer, Skipped) else "queued"
            owner = answer.owner if isinstance(answer, Skipped) else answer
            await self._record.anote(what, task.key, job_id=owner, group=task.group)
        elif isinstance(answer, Skipped):
            await self._record.anote("skipped", task.key, job_id=answer.owner, group=task.group)
        elif task.kind == "until":
            await self._record.anote("queued", task.key, job_id=answer, group=task.group)


def retry_mended(plan: Plan) -> None:
    """
    Run again what has failed and can be mended: batches by themselves, links by their jobs.

    Raises:
        DriverUnavailable: do it once more.
    """
    application = current.application()
    batches = {one.key for op in plan.ops for one in batches_of(op) if one.mendable}
    for record in application.batches.newest(MOST_BATCHES):
        if record.name in batches:
            BegunBatch(record).retry_failed()
    chains = [op for op in plan.ops if isinstance(op, Chain)]
    links = [link for op in chains for link in op.links if isinstance(link, Task)]
    mendable = {link.key for link in links if link.mendable}
    failed = failed_states(application.failed_jobs)
    ids = [one.job_id for one in failed if one.key in mendable and not one.retried]
    retry_failed(application.failed_jobs, ids)


def _key(op: Op) -> str:
    return op.channel if isinstance(op, Beat) else op.key


def _prepared(task: Task) -> PreparedJob:
    options: dict[str, Any] = {"queue": task.queue, "tries": task.tries}
    if task.kind == "poison":
        options["tries"] = 0
    if task.delay:
        options["delay"] = task.delay
    if task.end == "timeout":
        options |= {"timeout": TIMEOUT, "fail_on_timeout": True}
    return _job(task).with_options(**options)


def _job(task: Task) -> Job:
    match task.kind:
        case "unique":
            return workload.Unique(task.group, task)
        case "until":
            return workload.Until(task.group, task)
        case "ordered":
            return workload.Ordered(task.group, task)
        case _:
            return _CLASSES[task.kind](task)


_CLASSES: dict[str, Callable[[Task], Job]] = {
    "async": workload.Async,
    "poison": workload.Async,
    "sync": workload.Sync,
    "contained": workload.Contained,
    "overlap": workload.Overlap,
    "adder": workload.Adder,
    "canceller": workload.Canceller,
}


def _stranger(task: Task) -> NewJob:
    """Return a job that no worker knows."""
    job_id = fresh_id()
    payload = Payload(id=job_id, job="nobody.knows", data={"task": {"key": task.key}})
    return NewJob(job_id, task.queue, encode_payload(payload))


def _chain(op: Chain) -> Any:
    links = [_batch(link) if isinstance(link, Batch) else _prepared(link) for link in op.links]
    return chain(links).catch(_prepared(op.catch))


def _batch(op: Batch) -> Any:
    jobs = [_chain(job) if isinstance(job, Chain) else _prepared(job) for job in op.jobs]
    made = batch(jobs).name(op.key)
    made = made.then(*map(_prepared, op.then)).catch(*map(_prepared, op.catch))
    made = made.finally_(*map(_prepared, op.last)).options({"backoff": BACKOFF})
    return made.allow_failures(allowed=op.manner != "strict")
