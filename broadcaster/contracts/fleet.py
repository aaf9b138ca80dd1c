"""What workers tell about themselves, and what all of them are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CURRENT = 50
"""Jobs that a record names; `WorkerRecord.running` counts them all."""

BEAT_SECONDS = 2.0
RECORD_SECONDS = 15.0
"""Silence after which a worker is no longer listed."""

WorkerState = Literal["running", "paused", "stopping"]


class CurrentJob(NamedTuple):
    """
    A job that a worker runs now.

    Attributes:
        id: as pushed.
        job: registered name of its class, or "" while that is not known.
        queue: where it came from.
        age: seconds for which it has been running.
    """

    id: str
    job: str
    queue: str
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """
    One worker process as it last described itself.

    Attributes:
        id: unique among all workers ever started.
        name: what it was called when it was started, or "".
        pool: the pool that it belongs to, or "".
        host: name of its machine.
        pid: its process there.
        queues: what it serves, the most urgent first.
        slots: jobs that it can run at once.
        running: jobs that it runs now, those of lanes included.
        current: some of these, the oldest first; at most `MAX_CURRENT`.
        held: jobs that it has reserved and not begun.
        memory: bytes of RAM that its process takes.
        uptime: seconds since it started.
        done: jobs that it finished.
        failed: tries that ended badly.
        lost: jobs whose lease it lost.
        forgotten: jobs that it held and that the server did not know any more.
        server_changes: how often another server process answered than before.
        state: what it does.
        seen_at: Unix seconds, by the store's clock, of this description; 0 until it was stored.
    """

    id: str
    name: str = ""
    pool: str = ""
    host: str = ""
    pid: int = 0
    queues: tuple[str, ...] = ()
    slots: int = 1
    running: int = 0
    current: tuple[CurrentJob, ...] = field(default=())
    held: int = 0
    memory: int = 0
    uptime: float = 0.0
    done: int = 0
    failed: int = 0
    lost: int = 0
    forgotten: int = 0
    server_changes: int = 0
    state: WorkerState = "running"
    seen_at: float = 0.0


class Fleet(Protocol):
    """
    All workers on one store.

    Methods raise `DriverUnavailable` or `DriverRefused`.
    """

    async def beat(self, record: WorkerRecord) -> float:
        """
        Store `record` for `RECORD_SECONDS`; forget workers that are silent for longer.

        Returns the moment of the last `restart`, Unix seconds by the store's clock; 0 if
        there was none. A worker stops when it changes.
        """
        ...

    async def leave(self, worker_id: str) -> None:
        """Forget this worker: it has stopped."""
        ...

    def workers(self) -> Sequence[WorkerRecord]:
        """Return all that have described themselves lately, by name and id; blocking."""
        ...

    def restart(self) -> float:
        """
        Ask all workers to finish what they run and stop; blocking.

        Whatever started them starts new ones, with the code of today. Returns the moment.
        """
        ...
