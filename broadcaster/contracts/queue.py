"""
Where jobs wait, and how a worker takes them, keeps them and gives them back.

States of a job, all in one queue::

    push ──▶ ready ──reserve──▶ held ──Done──▶ gone
      │        ▲                 │ ├──Fail──▶ failed ──retry──▶ ready
      └─▶ delayed ◀──Retry/Release┘ └─lease lapsed─▶ suspect ──reserve, alone──▶ held

Guarantees of every driver:

- **At least once.** A pushed job stays until a settlement with its current token is
  accepted. A worker that dies loses nothing: its jobs come back when their lease lapses.
- **Fencing.** Every reservation has a token that is higher than any token the job had
  before. A settlement with another token than the current one is refused and changes
  nothing, so a slow worker cannot settle what somebody else holds now.
- **Only the store's clock counts.** Delays and leases are relative; the clocks of
  producers and workers are never compared. A delayed job is never handed out early.
- **Attempts are counted when a started job is given back** (`Retry`), not when it is
  reserved: a lapsed lease or a `Release` uses no try.
- **Suspects.** Jobs that were held when their lease lapsed may have killed their worker.
  They are handed out one at a time, to a worker that holds nothing else; only a lapse
  while alone counts as a crash, and `StepRequest.max_crashes` of those fail the job.
- **After an outage** (nobody reached the queue for a third of the lease) no lease lapses
  for another third of it, so that living workers renew theirs first.
- **Idempotent push.** An id that is waiting, held or failed is not queued again.
- **Ordered lane** (`StepRequest.ordered`): jobs leave in the order in which they became
  ready, and nobody reserves while any job of the queue is held, so one worker at a time
  has the lane. A job that is given back, or whose lease lapsed, returns to the front, and
  with it everything held behind it; a delay of its retry holds up the whole lane. A
  suspect of a lane keeps its place: it is handed out alone at once, but its lapse counts
  as a crash only if its worker was `StepRequest.idle`.

Drivers raise `DriverUnavailable` when the store cannot be reached, `DriverRefused` when it
refuses what stands in it, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class NewJob:
    """
    A job to be queued.

    Attributes:
        id: unique per job, 32 hex digits; pushing it twice queues it once.
        queue: name of the queue.
        body: the encoded payload (`broadcaster.protocol.payload`), never changed after.
        delay: seconds before it may be reserved.
    """

    id: str
    queue: str
    body: bytes
    delay: float = 0.0


class Reserved(NamedTuple):
    """
    A job that this worker holds until it is settled or its lease lapses.

    Attributes:
        id: as pushed.
        body: as pushed.
        token: the fencing token of this reservation.
        attempts: tries that were used up before this reservation.
        alone: it is a suspect: run nothing beside it.
    """

    id: str
    body: bytes
    token: int
    attempts: int
    alone: bool


class Done(NamedTuple):
    """The job is finished: forget it."""

    id: str
    token: int


class Retry(NamedTuple):
    """The job was started and shall run again after `delay` seconds; uses up a try."""

    id: str
    token: int
    delay: float = 0.0


class Release(NamedTuple):
    """The job is handed back after `delay` seconds as if it had never been reserved."""

    id: str
    token: int
    delay: float = 0.0


class Fail(NamedTuple):
    """
    The job is given up and kept with the failed ones.

    Attributes:
        reason: a stable word (``exception``, ``timeout``, ``unknown_job``, ...).
        error: one readable line (type and text of the exception); no payload.
        attempts: tries that were used up, this one included.
    """

    id: str
    token: int
    reason: str
    error: str
    attempts: int = 0


Settlement = Done | Retry | Release | Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """
    What a worker wants from one round trip.

    Attributes:
        queue: name of the queue.
        settlements: what became of jobs it held.
        reserve: jobs it can start now; 0 to settle only.
        lease: seconds until what it reserves lapses.
        worker: a name for this worker, unique among the living.
        idle: nothing else runs in this worker that a crash could be blamed on, so it may
            take a suspect.
        ordered: the queue is an ordered lane.
        max_crashes: lapses of a job while alone that fail it.
        recover_after: None, or the highest token that `worker` has seen of this queue. It
            is given when the answer of its last step never came: what it holds under
            higher tokens, without knowing, is handed back.
    """

    queue: str
    settlements: Sequence[Settlement] = ()
    reserve: int = 0
    lease: float = 30.0
    worker: str = ""
    idle: bool = True
    ordered: bool = False
    max_crashes: int = 3
    recover_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReply:
    """
    What one round trip brought.

    Attributes:
        reserved: jobs this worker holds from now on, in order.
        refused: ids whose settlement had a stale token.
        crashed: ids that failed because they lapsed alone too often.
        lapsed: number of jobs of any worker whose lease had run out.
        ready: jobs that are still ready, suspects included.
        next_in: seconds until something becomes due by time alone, or None.
        drain: a suspect waits for this worker: finish what is held and reserve nothing else.
    """

    reserved: Sequence[Reserved] = ()
    refused: Sequence[str] = ()
    crashed: Sequence[str] = ()
    lapsed: int = 0
    ready: int = 0
    next_in: float | None = None
    drain: bool = False


class Hold(Enum):
    """What became of a lease that was to be renewed."""

    KEPT = "kept"
    LOST = "lost"  # somebody has a newer token: stop working on it
    GONE = "gone"  # the job no longer exists: finish quietly


@dataclass(frozen=True, slots=True)
class QueueSizes:
    """How many jobs of one queue are in which state; `ready` includes waiting suspects."""

    ready: int = 0
    delayed: int = 0
    held: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedLimits:
    """
    How much a queue keeps of its failed jobs.

    Attributes:
        count: failed jobs kept per queue.
        seconds: age of the oldest failed job kept.
    """

    count: int = 10_000
    seconds: float = 7 * 86_400.0


class Queue(Protocol):
    """A store of jobs; see the guarantees at the head of this module."""

    def push(self, jobs: Sequence[NewJob]) -> int:
        """Queue `jobs`, one round trip per queue; return how many were new."""
        ...

    async def apush(self, jobs: Sequence[NewJob]) -> int:
        """Queue `jobs` from a coroutine; see `push`."""
        ...

    async def step(self, request: StepRequest) -> StepReply:
        """
        Settle, collect what is due or lapsed, and reserve, in one atomic round trip.

        A call that raises may have been carried out, but reserves nothing from then on.
        Repeating its settlements is safe (they are refused the second time); what it had
        reserved comes back by `StepRequest.recover_after`, or by its lease.
        """
        ...

    async def wait(self, queue: str, timeout: float) -> bool:  # noqa: ASYNC109 - the store times it
        """Wait at most `timeout` seconds for a hint that a step may find jobs."""
        ...

    def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
        """Renew the leases of `holds` (id -> token) to `lease` seconds from now; blocking."""
        ...

    def sizes(self, queue: str) -> QueueSizes:
        """Count the jobs of `queue` by state; blocking."""
        ...

    async def asizes(self, queue: str) -> QueueSizes:
        """Count the jobs of `queue` by state."""
        ...

    def queues(self) -> Sequence[str]:
        """Return the names of all queues ever pushed to, sorted; blocking."""
        ...
