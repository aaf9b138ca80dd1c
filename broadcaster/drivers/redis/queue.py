"""
The queue on Redis: see `broadcaster.contracts.queue` for what it guarantees.

All decisions fall in ``scripts/queue_*.lua``, which see one consistent state and Redis's
clock. Here requests become arguments and replies become values, by pure functions that
the sync and the async edge share.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue import FailedLimits, Hold, Pushed, QueueSizes
from broadcaster.drivers.redis.batches import RedisBatches
from broadcaster.drivers.redis.client import ANSWER_SECONDS, VERB_SECONDS, translated
from broadcaster.drivers.redis.gathering import Gathering
from broadcaster.drivers.redis.owed import OwedEffects
from broadcaster.drivers.redis.queue_push import (
    Outcome,
    PushCall,
    copying,
    outcomes,
    push_calls,
    push_rounds,
    pushed,
    unique_key,
    unless_copied,
)
from broadcaster.drivers.redis.queue_state import (
    lane_listing,
    listed_parts,
    read_sizes,
    size_commands,
)
from broadcaster.drivers.redis.queue_wire import (
    EXTEND_KEYS,
    STEP_KEYS,
    Argument,
    hinted_queue,
    parse_step,
    queue_keys,
    read_survey,
    step_args,
    survey_call,
    to_ms,
)
from broadcaster.drivers.redis.scripts_loader import (
    aread,
    arun,
    arun_many,
    load_behind,
    load_script,
    read,
    run_many,
)
from broadcaster.drivers.redis.scripts_loader import run as run_script
from broadcaster.drivers.redis.sentinel import FRESH_SECONDS
from broadcaster.protocol.lanes import is_queue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import redis.asyncio

    from broadcaster.contracts.queue import NewJob, Owed, Pushing, StepReply, StepRequest, Survey
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.redis.scripts_loader import Command

RELIST_SECONDS = 60.0
RESERVE_SECONDS = ANSWER_SECONDS - 0.1
"""A step that begins later than this reserves nothing: its caller may be gone."""

_HOLDS = {1: Hold.KEPT, 0: Hold.LOST, -1: Hold.GONE}


class RedisQueue:
    """
    Implements `broadcaster.contracts.queue.Queue`.

    Args:
        clients: connections; `wait` opens one more per queue that is waited for.
        limits: how many failed jobs are kept, and how long.
        batches: where effects mark jobs of batches.
        replicas: how many must have a job before a push of it ends, `COPY_SECONDS` at most.
    """

    def __init__(
        self,
        clients: RedisClients,
        limits: FailedLimits | None = None,
        *,
        batches: RedisBatches | None = None,
        replicas: int = 0,
    ) -> None:
        self._clients = clients
        self._keys = clients.keys
        self._limits = limits or FailedLimits()
        self._replicas = replicas
        self._listed: dict[str, float] = {}
        self._waiting: dict[str, redis.asyncio.Redis] = {}
        self._clock = _ServerClock()
        self._gathering = Gathering(self._send)
        self._owed = OwedEffects(clients, batches or RedisBatches(clients), self.apush)

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        """See `Queue.push`."""
        if not jobs:
            return Pushed()
        calls, names = push_calls(self._keys, jobs), self._unlisted(jobs)
        replies: list[Any] = []
        for part in (rounds := push_rounds(jobs, calls)):
            replies += run_many(
                self._clients.sync,
                [each.call for each in part],
                repeat_lost=True,
                ahead=self._listing(names),
                behind=self._copying(jobs) if part is rounds[-1] else (),
            )
        self._listed |= dict.fromkeys(names, time.monotonic())
        return pushed(jobs, self._outcomes(calls, replies))

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
        """See `Queue.push`. Calls that are made in one tick of a loop share a round trip."""
        if not jobs:
            return Pushed()
        found = await self._gathering.push(jobs)
        with translated(self._clients.aio):
            return pushed(jobs, found)

    async def _send(self, jobs: Sequence[NewJob]) -> list[Outcome]:
        calls, names = push_calls(self._keys, jobs), self._unlisted(jobs)
        replies: list[Any] = []
        for part in (rounds := push_rounds(jobs, calls)):
            replies += await arun_many(
                self._clients.aio,
                [each.call for each in part],
                repeat_lost=True,
                ahead=self._listing(names),
                behind=self._copying(jobs) if part is rounds[-1] else (),
                keep_refused=True,
            )
        self._listed |= dict.fromkeys(names, time.monotonic())
        return self._outcomes(calls, replies)

    async def step(self, request: StepRequest) -> StepReply:
        """See `Queue.step`. At most 1,000 jobs are reserved at once."""
        keys = queue_keys(self._keys, request.queue, STEP_KEYS)
        valid_until = self._clock.at(time.monotonic() + RESERVE_SECONDS)
        args = step_args(request, self._limits, valid_until)
        reply = await arun(self._clients.aio, load_behind("queue_step", "queue_start"), keys, args)
        self._clock.seen(int(reply[0]), time.monotonic())
        return parse_step(reply, request.settlements)

    async def apply(self, queue: str, owed: Sequence[Owed], push: Pushing | None = None) -> None:
        """See `Queue.apply` and `OwedEffects`."""
        await self._owed.apply(queue, owed, push)

    async def unlock(self, queue: str, key: str, job_id: str) -> bool:
        """See `Queue.unlock`."""
        script, keys = load_script("queue_unlock"), [unique_key(self._keys, queue, key)]
        return bool(await arun(self._clients.aio, script, keys, [job_id], repeat_lost=True))

    async def survey(
        self, queue: str, lanes: Sequence[int], worker: str, *, force: bool = False
    ) -> Survey:
        """See `Queue.survey`."""
        call = survey_call(self._keys, queue, lanes, worker, force=force)
        (reply,) = await arun_many(self._clients.aio, [call], repeat_lost=True)
        return read_survey(reply, lanes)

    async def wait(self, queue: str, timeout: float) -> str | None:  # noqa: ASYNC109 - Redis times it
        """
        See `Queue.wait`. Each queue is waited for on a connection of its own.

        Behind sentinels no wait is longer than `FRESH_SECONDS`: each one asks for the master.
        """
        if self._clients.follows:
            timeout = min(timeout, FRESH_SECONDS)
        client = self._waiting.get(queue)
        if client is None:
            client = self._waiting[queue] = self._clients.blocking()
        key = self._keys.hints(queue)
        with translated(client):
            # The reads of a blocking client wait for ever; a frozen server shows here.
            async with asyncio.timeout(timeout + VERB_SECONDS):
                popped = await client.blpop([key], timeout=max(timeout, 0.001))
        return None if popped is None else hinted_queue(queue, popped[1])

    def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
        """See `Queue.extend`."""
        if not holds:
            return {}
        args: list[Argument] = [to_ms(lease)]
        for job_id, token in holds.items():
            args += (job_id, token)
        keys = queue_keys(self._keys, queue, EXTEND_KEYS)
        script = load_script("queue_extend")
        reply = run_script(self._clients.sync, script, keys, args, repeat_lost=True)
        return {job_id: _HOLDS[int(code)] for job_id, code in zip(holds, reply, strict=True)}

    def sizes(self, queue: str) -> QueueSizes:
        """See `Queue.sizes`; in two round trips, or in one for a lane."""
        client = self._clients.sync
        asked = lane_listing(self._keys, queue)
        parts = listed_parts(queue, read(client, asked) if asked else [])
        with translated(client):
            pipeline = client.pipeline(transaction=True)  # the lanes of a queue share a slot
            for command in size_commands(self._keys, parts):
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py
            return read_sizes(pipeline.execute(), parts)

    async def asizes(self, queue: str) -> QueueSizes:
        """See `sizes`."""
        client = self._clients.aio
        asked = lane_listing(self._keys, queue)
        parts = listed_parts(queue, await aread(client, asked) if asked else [])
        with translated(client):
            async with asyncio.timeout(VERB_SECONDS):
                pipeline = client.pipeline(transaction=True)
                for command in size_commands(self._keys, parts):
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py
                return read_sizes(await pipeline.execute(), parts)

    def queues(self) -> Sequence[str]:
        """See `Queue.queues`."""
        return list_queues(self._clients)

    def _unlisted(self, jobs: Sequence[NewJob]) -> list[str]:
        """Return the queues to be listed now: again each minute, as a server may lose them."""
        old = time.monotonic() - RELIST_SECONDS
        return sorted(
            name for name in {job.queue for job in jobs} if self._listed.get(name, old) <= old
        )

    def _listing(self, names: Sequence[str]) -> list[Command]:
        """A queue is listed before it has jobs, so that none of them is out of sight."""
        return [("SADD", self._keys.queues("names"), *names)] if names else []

    def _copying(self, jobs: Sequence[NewJob]) -> list[Command]:
        return copying(self._keys, jobs[-1].queue, self._replicas) if self._replicas else []

    def _outcomes(self, calls: Sequence[PushCall], replies: Sequence[Any]) -> list[Outcome]:
        """What answers `_copying` comes behind the replies of `calls`."""
        found = outcomes(calls, replies[: len(calls)])
        if not self._replicas:
            return found
        where = self._clients.address
        return unless_copied(found, int(replies[-1]), replicas=self._replicas, where=where)


class _ServerClock:
    """
    Redis's clock as this process last saw it.

    A call that times out here may run much later there, when a frozen server wakes up
    and reads what is left in its sockets. Such a step would reserve jobs for nobody, so
    each says until when its caller waits.
    """

    def __init__(self) -> None:
        self._offset_ms: float | None = None

    def seen(self, redis_ms: int, monotonic: float) -> None:
        self._offset_ms = redis_ms - monotonic * 1000

    def at(self, monotonic: float) -> int:
        return 0 if self._offset_ms is None else int(self._offset_ms + monotonic * 1000)


def list_queues(clients: RedisClients) -> list[str]:
    """Return the names of all queues ever pushed to, sorted."""
    client = clients.sync
    with translated(client):
        names: Any = client.smembers(clients.keys.queues("names"))
    return queue_names(names)


def queue_names(members: Iterable[bytes]) -> list[str]:
    """Return the names in a set of bytes, sorted; what can be no queue is left out."""
    return sorted(filter(is_queue, (name.decode("utf-8", "replace") for name in members)))
