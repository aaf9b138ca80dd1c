"""
The queue on Redis: see `broadcaster.contracts.queue` for what it guarantees.

All decisions fall in ``scripts/queue_*.lua``, which see one consistent state and Redis's
clock. Here requests become arguments and replies become values, by pure functions that
the sync and the async edge share.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from broadcaster.contracts.queue import (
    Done,
    Fail,
    FailedLimits,
    Hold,
    QueueSizes,
    Release,
    Reserved,
    Retry,
    StepReply,
)
from broadcaster.drivers.redis.client import ANSWER_SECONDS, VERB_SECONDS, translated
from broadcaster.drivers.redis.scripts_loader import Call, arun, arun_many, load_script, run_many
from broadcaster.drivers.redis.scripts_loader import run as run_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis.asyncio

    from broadcaster.contracts.queue import NewJob, Settlement, StepRequest
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.redis.keys import Keys
    from broadcaster.drivers.redis.scripts_loader import Command

PUSH_CHUNK = 1_000
MAX_RESERVE = 1_000
RELIST_SECONDS = 60.0
RESERVE_SECONDS = ANSWER_SECONDS - 0.1
"""A step that begins later than this reserves nothing: its caller may be gone."""

_STEP_KEYS = [
    "jobs",
    "ready",
    "delayed",
    "reserved",
    "held",
    "attempts",
    "crashes",
    "suspects",
    "meta",
    "notify",
    "failed",
    "failed_jobs",
    "failed_notes",
]
_PUSH_KEYS = ["jobs", "ready", "delayed", "notify", "failed_jobs"]
_EXTEND_KEYS = ["jobs", "reserved", "held", "meta"]
_HOLDS = {1: Hold.KEPT, 0: Hold.LOST, -1: Hold.GONE}

Argument = str | bytes | int | float


class RedisQueue:
    """
    Implements `broadcaster.contracts.queue.Queue`.

    Args:
        clients: connections; `wait` opens one more per queue that is waited for.
        limits: how many failed jobs are kept, and how long.
    """

    def __init__(self, clients: RedisClients, limits: FailedLimits | None = None) -> None:
        self._clients = clients
        self._keys = clients.keys
        self._limits = limits or FailedLimits()
        self._listed: dict[str, float] = {}
        self._waiting: dict[str, redis.asyncio.Redis] = {}
        self._clock = _ServerClock()

    def push(self, jobs: Sequence[NewJob]) -> int:
        """See `Queue.push`."""
        if not jobs:
            return 0
        calls, names = push_calls(self._keys, jobs), self._unlisted(jobs)
        replies = run_many(self._clients.sync, calls, repeat_lost=True, ahead=self._listing(names))
        self._listed |= dict.fromkeys(names, time.monotonic())
        return sum(int(reply) for reply in replies)

    async def apush(self, jobs: Sequence[NewJob]) -> int:
        """See `Queue.push`."""
        if not jobs:
            return 0
        calls, names = push_calls(self._keys, jobs), self._unlisted(jobs)
        replies = await arun_many(
            self._clients.aio, calls, repeat_lost=True, ahead=self._listing(names)
        )
        self._listed |= dict.fromkeys(names, time.monotonic())
        return sum(int(reply) for reply in replies)

    async def step(self, request: StepRequest) -> StepReply:
        """See `Queue.step`. At most 1,000 jobs are reserved at once."""
        keys = queue_keys(self._keys, request.queue, _STEP_KEYS)
        valid_until = self._clock.at(time.monotonic() + RESERVE_SECONDS)
        args = step_args(request, self._limits, valid_until)
        reply = await arun(self._clients.aio, load_script("queue_step"), keys, args)
        self._clock.seen(int(reply[0]), time.monotonic())
        return parse_step(reply)

    async def wait(self, queue: str, timeout: float) -> bool:  # noqa: ASYNC109 - Redis times it
        """See `Queue.wait`. Each queue is waited for on a connection of its own."""
        client = self._waiting.get(queue)
        if client is None:
            client = self._waiting[queue] = self._clients.blocking()
        key = self._keys.queue(queue, "notify")
        with translated(client):
            # The reads of a blocking client wait for ever; a frozen server shows here.
            async with asyncio.timeout(timeout + VERB_SECONDS):
                return await client.blpop([key], timeout=max(timeout, 0.001)) is not None

    def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
        """See `Queue.extend`."""
        if not holds:
            return {}
        args: list[Argument] = [_ms(lease)]
        for job_id, token in holds.items():
            args += (job_id, token)
        keys = queue_keys(self._keys, queue, _EXTEND_KEYS)
        script = load_script("queue_extend")
        reply = run_script(self._clients.sync, script, keys, args, repeat_lost=True)
        return {job_id: _HOLDS[int(code)] for job_id, code in zip(holds, reply, strict=True)}

    def sizes(self, queue: str) -> QueueSizes:
        """See `Queue.sizes`."""
        client = self._clients.sync
        with translated(client):
            pipeline = client.pipeline(transaction=True)
            for command in _size_commands(self._keys, queue):
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py
            return _sizes(pipeline.execute())

    async def asizes(self, queue: str) -> QueueSizes:
        """See `Queue.sizes`."""
        client = self._clients.aio
        with translated(client):
            async with asyncio.timeout(VERB_SECONDS):
                pipeline = client.pipeline(transaction=True)
                for command in _size_commands(self._keys, queue):
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py
                return _sizes(await pipeline.execute())

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


class _Note(msgspec.Struct):
    reason: str
    error: str
    attempts: int


def queue_keys(keys: Keys, queue: str, suffixes: Sequence[str]) -> list[str]:
    """Return the keys of one queue, in the order in which a script declares them."""
    return [keys.queue(queue, suffix) for suffix in suffixes]


def list_queues(clients: RedisClients) -> list[str]:
    """Return the names of all queues ever pushed to, sorted."""
    client = clients.sync
    with translated(client):
        names: Any = client.smembers(clients.keys.queues("names"))
    return sorted(name.decode() for name in names)


def push_calls(keys: Keys, jobs: Sequence[NewJob]) -> list[Call]:
    """Return the script calls that queue `jobs`: one per queue and 1,000 jobs."""
    by_queue: defaultdict[str, list[NewJob]] = defaultdict(list)
    for job in jobs:
        by_queue[job.queue].append(job)
    calls: list[Call] = []
    for queue, mine in by_queue.items():
        for first in range(0, len(mine), PUSH_CHUNK):
            args: list[Argument] = []
            for job in mine[first : first + PUSH_CHUNK]:
                args += (job.id, _ms(job.delay), job.body)
            calls.append(Call(load_script("queue_push"), queue_keys(keys, queue, _PUSH_KEYS), args))
    return calls


def step_args(request: StepRequest, limits: FailedLimits, valid_until_ms: int) -> list[Argument]:
    """Return the arguments of ``queue_step.lua``."""
    crashed = f"the worker died or hung {request.max_crashes} times while running only this job"
    args: list[Argument] = [
        _ms(request.lease),
        max(0, min(request.reserve, MAX_RESERVE)),
        request.worker,
        int(request.idle),
        int(request.ordered),
        request.max_crashes,
        limits.count,
        _ms(limits.seconds),
        msgspec.json.encode(_Note("crashed", crashed, 0)),
        valid_until_ms,
        "" if request.recover_after is None else request.recover_after,
    ]
    done = [one for one in request.settlements if isinstance(one, Done)]
    args.append(len(done))
    for one in done:
        args += one
    for other in request.settlements:
        if not isinstance(other, Done):
            args += _settlement(other)
    return args


def parse_step(reply: Sequence[Any]) -> StepReply:
    """Return the reply of ``queue_step.lua`` as a value."""
    _, flat, refused, crashed, lapsed, ready, next_ms, drain, late = reply
    reserved = [
        Reserved(
            id=read_id(flat[i]),
            body=flat[i + 1],
            token=int(flat[i + 2]),
            attempts=int(flat[i + 3]),
            alone=bool(int(flat[i + 4])),
        )
        for i in range(0, len(flat), 5)
    ]
    return StepReply(
        reserved=reserved,
        refused=[read_id(job_id) for job_id in refused],
        crashed=[read_id(job_id) for job_id in crashed],
        lapsed=int(lapsed),
        ready=int(ready),
        # Too late only because a clock jumped, for the reply was read: ask again at once.
        next_in=0.0 if late else None if next_ms < 0 else next_ms / 1000,
        drain=bool(drain),
    )


def read_id(data: bytes) -> str:
    """
    Return a job's id as text.

    Ids of ours are hexadecimal. What others put into a queue comes out as something that
    names no job: such a job cannot be settled, and is given up as one that crashes.
    """
    return data.decode("ascii", "backslashreplace")


def decode_note(note: bytes | None) -> tuple[str, str, int]:
    """Return reason, error and attempts of a failed job."""
    if note is None:
        return "unknown", "", 0
    try:
        read = msgspec.json.decode(note, type=_Note)
    except (ValueError, RecursionError):
        return "unknown", "", 0
    return read.reason, read.error, read.attempts


def _settlement(one: Settlement) -> tuple[Argument, ...]:
    match one:
        case Retry(job_id, token, delay):
            return ("retry", job_id, token, _ms(delay), "")
        case Release(job_id, token, delay):
            return ("release", job_id, token, _ms(delay), "")
        case Fail(job_id, token, reason, error, attempts):
            return ("fail", job_id, token, "", msgspec.json.encode(_Note(reason, error, attempts)))
        case Done(job_id, token):
            raise AssertionError(f"Done of {job_id} ({token}) is sent apart")


class _Count(NamedTuple):
    command: str
    suffix: str


_COUNTS = (
    _Count("LLEN", "ready"),
    _Count("LLEN", "suspects"),
    _Count("ZCARD", "delayed"),
    _Count("ZCARD", "reserved"),
    _Count("ZCARD", "failed"),
)


def _size_commands(keys: Keys, queue: str) -> list[tuple[str, str]]:
    return [(count.command, keys.queue(queue, count.suffix)) for count in _COUNTS]


def _sizes(counts: Sequence[int]) -> QueueSizes:
    ready, suspects, delayed, held, failed = counts
    return QueueSizes(ready=ready + suspects, delayed=delayed, held=held, failed=failed)


def _ms(seconds: float) -> int:
    """Round up, so that a short delay is never none."""
    return max(0, -int(-seconds * 1000 // 1))
