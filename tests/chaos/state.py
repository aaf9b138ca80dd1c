"""Reading what is left in Redis when a run of chaos is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.drivers.redis.client import translated
from broadcaster.protocol.lanes import LANES, lane_names
from broadcaster.protocol.payload import decode_payload
from tests.chaos.history import BatchState, FailedState, KeyState
from tests.chaos.plan import QUEUES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.batches import Batches
    from broadcaster.contracts.stores import FailedJob, FailedJobs
    from broadcaster.drivers.redis.client import RedisClients

ALL_QUEUES = (*QUEUES, "broadcasts")
MOST_FAILED = 1_000_000
GONE = -2
"""What PTTL says of a key that is not there."""


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
        kind = self._read("TYPE", name).decode()
        expires = self._read("PTTL", name)
        if kind == "none" or expires == GONE:  # it has just expired
            return None
        size = self._read(_SIZES[kind], name) if kind in _SIZES else 1
        shown = name.decode("utf-8", "replace").removeprefix(prefix)
        return KeyState(shown, kind, None if expires < 0 else expires / 1000, size)

    def _read(self, *command: Any) -> Any:
        with translated(self._clients.sync):
            return self._clients.sync.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py


_SIZES = {"hash": "HLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "string": "STRLEN"}


def failed_states(store: FailedJobs) -> list[FailedState]:
    """Return all failed jobs."""
    return [_failed_state(job) for job in store.find(limit=MOST_FAILED)]


def batch_states(store: Batches, ids: Mapping[str, str]) -> dict[str, BatchState | None]:
    """Return the batches with these ids, by key of the plan."""
    found: dict[str, BatchState | None] = {}
    for key, batch_id in ids.items():
        record = store.find(batch_id)
        found[key] = None
        if record is not None:
            found[key] = BatchState(
                record.total, record.pending, record.failed, record.cancelled, record.finished
            )
    return found


def complaints(lines: Sequence[str]) -> list[str]:
    """Return what workers have logged that is nobody's fault but ours."""
    bad: list[str] = []
    for line in lines:
        try:
            said = msgspec.json.decode(line, type=dict[str, Any])
        except ValueError:
            if line.startswith(("Traceback", "Fatal", "ERROR")):
                bad.append(line[:500])
            continue
        if said.get("event") in _BUGS or "heartbeat failed" in str(said.get("message", "")):
            bad.append(line[:500])
    return bad


_BUGS = frozenset({"bug", "hook_failed"})


def _failed_state(job: FailedJob) -> FailedState:
    key = ""  # of one that was put back, for its body is in the queue again
    if job.body:
        task: Any = decode_payload(job.body).data.get("task", {})
        key = str(task.get("key", "?"))
    return FailedState(job.id, key, job.reason, job.attempts, job.retried_at is not None)
