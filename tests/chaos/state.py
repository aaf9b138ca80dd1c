"""Reading what is left in Redis when a run of chaos is over."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.drivers.redis.client import translated
from broadcaster.protocol.lanes import LANES, lane_names
from broadcaster.protocol.payload import decode_payload
from tests.chaos.history import BatchState, FailedState, KeyState
from tests.chaos.plan import QUEUES
from tests.chaos.workload import Flaw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.batches import Batches
    from broadcaster.contracts.stores import FailedJob, FailedJobs
    from broadcaster.drivers.redis.client import RedisClients

ALL_QUEUES = (*QUEUES, "broadcasts")
MOST_FAILED = 1_000_000
MOST_BATCHES = 100_000
GONE, FOR_EVER = -2, -1
"""What PTTL says of a key that is not there, and of one that never expires."""


class Remains:
    """
    What is left under one prefix.

    Args:
        clients: of the server that jobs are queued on.
        lanes: of each queue.
    """

    def __init__(self, clients: RedisClients, lanes: int = LANES) -> None:
        self._clients = clients
        self._lines = [line for queue in ALL_QUEUES for line in (queue, *lane_names(queue, lanes))]

    def bodies(self) -> list[str]:
        """Return the ids of all jobs that are in a queue."""
        return [
            job_id.decode("ascii", "replace")
            for line in self._lines
            for job_id in self._read("HKEYS", self._clients.keys.queue(line, "jobs"))
        ]

    def are_nothing(self) -> bool:
        """Whether no job and no effect is left; all of it is looked at in one moment."""
        with translated(self._clients.sync):
            pipeline = self._clients.sync.pipeline(transaction=True)
            for line in self._lines:
                names = [self._clients.keys.queue(line, suffix) for suffix in ("jobs", "outbox")]
                pipeline.exists(*names)
            return not any(pipeline.execute())

    def progress(self) -> str:
        """Return something that changes when a job comes, goes, or takes its worker down."""
        crashes = [
            self._read("HGETALL", self._clients.keys.queue(line, "crashes")) for line in self._lines
        ]
        return f"{sorted(self.bodies())} {self.settled()} {crashes}"

    def settled(self) -> tuple[int, int]:
        """Return how many jobs all queues have settled as done and as failed, in an hour."""
        counts = {"d": 0, "f": 0}
        for line in self._lines:
            stats: Mapping[bytes, bytes] = self._read(
                "HGETALL", self._clients.keys.queue(line, "stats")
            )
            for field, number in stats.items():
                letter = field[:1].decode()
                counts[letter] = counts.get(letter, 0) + int(number)
        return counts["d"], counts["f"]

    def keys(self) -> list[KeyState]:
        """Return every key that is left."""
        prefix = f"{self._clients.prefix}:"
        names = sorted(self._clients.sync.scan_iter(match=f"{prefix}*", count=10_000))
        found = [self._key(name, prefix) for name in names]
        return [key for key in found if key is not None]

    def _key(self, name: bytes, prefix: str) -> KeyState | None:
        """Return what `name` is, or None if it has expired since it was found."""
        with translated(self._clients.sync):
            pipeline = self._clients.sync.pipeline(transaction=True)
            pipeline.type(name)
            pipeline.pttl(name)
            kind_name, expires = pipeline.execute()  # in one moment
        kind = kind_name.decode()
        if expires == GONE:
            return None
        size = self._read(_SIZES[kind], name) if kind in _SIZES else 1
        shown = name.decode("utf-8", "replace").removeprefix(prefix)
        return KeyState(shown, kind, None if expires == FOR_EVER else expires / 1000, size)

    def _read(self, *command: Any) -> Any:
        with translated(self._clients.sync):
            return self._clients.sync.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py


_SIZES = {"hash": "HLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "string": "STRLEN"}


def failed_states(store: FailedJobs) -> list[FailedState]:
    """Return all failed jobs."""
    return [_failed_state(job) for job in store.find(limit=MOST_FAILED)]


def batch_states(store: Batches) -> dict[str, list[BatchState]]:
    """Return all batches, by key of the plan."""
    found: defaultdict[str, list[BatchState]] = defaultdict(list)
    for each in store.newest(MOST_BATCHES):
        state = BatchState(each.total, each.pending, each.failed, each.cancelled, each.finished)
        found[each.name].append(state)
    return dict(found)


def complaints(lines: Sequence[str]) -> list[str]:
    """
    Return what a worker has logged that is nobody's fault but ours.

    The processes of jobs print what jobs raise; they may be killed amid a traceback.
    """
    bad: list[str] = []
    tracebacks = 0
    for line in lines:
        try:
            said = msgspec.json.decode(line, type=dict[str, Any])
        except ValueError:
            tracebacks += line.startswith("Traceback")
            ends = tracebacks > 0 and _EXCEPTION.match(line) is not None
            tracebacks -= ends
            if line.startswith(("Fatal", "ERROR")) or (ends and not line.startswith(_PLANNED)):
                bad.append(line[:500])
            continue
        if said.get("event") in _BUGS or "heartbeat failed" in str(said.get("message", "")):
            bad.append(line[:500])
    return bad


_BUGS = frozenset({"bug", "hook_failed"})
_EXCEPTION = re.compile(r"[\w.]+(:|$)")
_PLANNED = f"{Flaw.__module__}.{Flaw.__qualname__}:"


def _failed_state(job: FailedJob) -> FailedState:
    key = ""  # of one that was put back, for its body is in the queue again
    if job.body:
        task: Any = decode_payload(job.body).data.get("task", {})
        key = str(task.get("key", "?"))
    return FailedState(job.id, key, job.reason, job.attempts, job.retried_at is not None)
