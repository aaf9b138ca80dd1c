"""Handling queues on Redis from outside; see `broadcaster.contracts.queue_admin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue_admin import MAX_CLASSES, QueueStats
from broadcaster.drivers.redis.queue import list_queues, queue_names
from broadcaster.drivers.redis.queue_state import read_pause, read_states, state_commands
from broadcaster.drivers.redis.queue_stats import fields_of, rates, runtimes, seconds_of
from broadcaster.drivers.redis.queue_wire import Argument, hint_of, queue_keys, to_ms
from broadcaster.drivers.redis.scripts_loader import (
    Call,
    aread,
    arun,
    arun_many,
    load_behind,
    load_script,
    read,
    run,
    run_many,
)
from broadcaster.protocol.lanes import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broadcaster.contracts.queue_admin import Pause, QueueState
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.redis.scripts_loader import Command

_PAUSE_KEYS = ["meta", "ready", "suspects", "notify"]
_DROP_KEYS = [
    *("jobs", "ready", "delayed", "suspects", "attempts", "crashes", "reserved", "held"),
    *("meta", "outbox", "outbox_due", "notify"),
]
_TELL_KEYS = ["runtimes:0", "runtimes:1"]
_CANCEL_PAGE = 100
_LOOKS = 20_000  # for one page of jobs in all queues, in the time of one call
STATES_PAGE = 200
"""Queues that are looked at in one round trip."""


class RedisQueueAdmin:
    """Implements `QueueAdmin` and `RuntimeStore` of `broadcaster.contracts.queue_admin`."""

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients

    def pause(
        self, queue: str, seconds: float | None = None, by: str = "", *, lanes: int = 0
    ) -> None:
        """See `QueueAdmin.pause`; in two round trips."""
        calls = self._pauses(parts_of(queue, lanes, list_queues(self._clients)), seconds, by)
        run_many(self._clients.sync, calls, repeat_lost=True)

    async def apause(
        self, queue: str, seconds: float | None = None, by: str = "", *, lanes: int = 0
    ) -> None:
        """See `QueueAdmin.pause`; in two round trips."""
        calls = self._pauses(parts_of(queue, lanes, await self._known()), seconds, by)
        await arun_many(self._clients.aio, calls, repeat_lost=True)

    def resume(self, queue: str, *, lanes: int = 0) -> bool:
        """See `QueueAdmin.resume`; in two round trips."""
        calls = self._resumptions(parts_of(queue, lanes, list_queues(self._clients)))
        return any(run_many(self._clients.sync, calls, repeat_lost=True))

    async def aresume(self, queue: str, *, lanes: int = 0) -> bool:
        """See `QueueAdmin.resume`; in two round trips."""
        calls = self._resumptions(parts_of(queue, lanes, await self._known()))
        return any(await arun_many(self._clients.aio, calls, repeat_lost=True))

    def paused(self, queue: str) -> Pause | None:
        """See `QueueAdmin.paused`."""
        fields = ("paused_until", "paused_since", "paused_by")
        command = ("HMGET", self._clients.keys.queue(queue, "meta"), *fields)
        values, clock = read(self._clients.sync, [command, ("TIME",)])
        return read_pause(values, seconds_of(clock))

    def clear(self, queue: str) -> int:
        """See `QueueAdmin.clear`."""
        total, more = 0, 1
        while more:
            count, more = self._drop("clear", queue)
            total += int(count)
        return total

    def cancel(self, queue: str | None, job_ids: Sequence[str]) -> int:
        """See `QueueAdmin.cancel`. In a queue of a million jobs each takes a call of its own."""
        total, parts = 0, list_queues(self._clients) if queue is None else [queue]
        for ids in _pages(job_ids, len(parts)):
            there = read(self._clients.sync, self._looks(parts, ids))
            for part, left in _found(parts, ids, there):
                while left:
                    count, looked = self._drop("cancel", part, *left)
                    total += int(count)
                    del left[: int(looked)]
        return total

    async def acancel(self, queue: str | None, job_ids: Sequence[str]) -> int:
        """See `cancel`."""
        total, parts = 0, await self._known() if queue is None else [queue]
        for ids in _pages(job_ids, len(parts)):
            there = await aread(self._clients.aio, self._looks(parts, ids))
            for part, left in _found(parts, ids, there):
                while left:
                    count, looked = await self._adrop("cancel", part, *left)
                    total += int(count)
                    del left[: int(looked)]
        return total

    def stats(self, queue: str) -> QueueStats:
        """See `QueueAdmin.stats`."""
        stats, *slots = queue_keys(self._clients.keys, queue, ["stats", *_TELL_KEYS])
        commands = [("HGETALL", key) for key in (stats, *slots)]
        *hashes, clock = read(self._clients.sync, [*commands, ("TIME",)])
        counts, *told = map(fields_of, hashes)
        now = seconds_of(clock)
        return QueueStats(rates(counts, now), runtimes(told, now))

    def states(self, queues: Sequence[str]) -> Sequence[QueueState]:
        """See `QueueAdmin.states`."""
        found: list[QueueState] = []
        for first in range(0, len(queues), STATES_PAGE):
            page = queues[first : first + STATES_PAGE]
            commands = state_commands(self._clients.keys, page)
            found += read_states(read(self._clients.sync, commands), page)
        return found

    async def tell(self, queue: str, bins: Mapping[tuple[str, int], int]) -> None:
        """See `RuntimeStore.tell`."""
        if not bins:
            return
        args: list[Argument] = [MAX_CLASSES]
        for (job, at), count in bins.items():
            args += (job, at, count)
        keys = queue_keys(self._clients.keys, queue, _TELL_KEYS)
        await arun(self._clients.aio, load_script("queue_tell"), keys, args)

    def _looks(self, parts: Sequence[str], job_ids: Sequence[str]) -> list[Command]:
        keys = [self._clients.keys.queue(part, "jobs") for part in parts]
        return [("HEXISTS", key, job_id) for key in keys for job_id in job_ids]

    def _drop(self, verb: str, queue: str, *job_ids: str) -> Any:
        call = self._dropping(verb, queue, job_ids)
        return run(self._clients.sync, *call, repeat_lost=True)

    async def _adrop(self, verb: str, queue: str, *job_ids: str) -> Any:
        call = self._dropping(verb, queue, job_ids)
        return await arun(self._clients.aio, *call, repeat_lost=True)

    def _dropping(self, verb: str, queue: str, job_ids: Sequence[str]) -> Call:
        script = load_behind(f"queue_{verb}", "queue_drop_start")
        keys = queue_keys(self._clients.keys, queue, _DROP_KEYS)
        return Call(script, keys, (hint_of(queue), *job_ids))

    async def _known(self) -> list[str]:
        (names,) = await aread(
            self._clients.aio, [("SMEMBERS", self._clients.keys.queues("names"))]
        )
        return queue_names(names)

    def _pauses(self, queues: Sequence[str], seconds: float | None, by: str) -> list[Call]:
        milliseconds = 0 if seconds is None else max(1, to_ms(seconds))
        return [self._call(queue, "pause", hint_of(queue), milliseconds, by) for queue in queues]

    def _resumptions(self, queues: Sequence[str]) -> list[Call]:
        return [self._call(queue, "resume", hint_of(queue), 0, "") for queue in queues]

    def _call(self, queue: str, *args: Argument) -> Call:
        return Call(
            load_script("queue_pause"), queue_keys(self._clients.keys, queue, _PAUSE_KEYS), args
        )


def _pages(job_ids: Sequence[str], queues: int) -> Iterator[Sequence[str]]:
    size = max(1, min(_CANCEL_PAGE, _LOOKS // max(1, queues)))
    for first in range(0, len(job_ids), size):
        yield job_ids[first : first + size]


def _found(
    parts: Sequence[str], job_ids: Sequence[str], there: Sequence[int]
) -> Iterator[tuple[str, list[str]]]:
    """Return which of the jobs are in which queue; `there` are the answers to `_looks`."""
    for at, part in enumerate(parts):
        answers = there[at * len(job_ids) : (at + 1) * len(job_ids)]
        yield part, [job_id for job_id, is_there in zip(job_ids, answers, strict=True) if is_there]
