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
- **Idempotent push.** An id that is waiting, held or failed is not queued again. A job
  with a `Link` is not queued again for a day, even after it has finished.
- **Effects** of a settlement are kept with it in one step, and applied at least once by
  whoever gets them as `StepReply.owed`; each is harmless when it is applied again.
- **Paused** queues reserve nothing; settling goes on.
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

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from broadcaster.contracts.settlements import (
    MAX_POSTPONED,
    BatchMark,
    Done,
    Effect,
    Fail,
    Link,
    NewJob,
    Owed,
    Postpone,
    Push,
    Pushed,
    Release,
    Reserved,
    Retry,
    Settlement,
    Unique,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = [
    "MAX_POSTPONED",
    "OWED_SECONDS",
    "BatchMark",
    "Done",
    "Effect",
    "Fail",
    "FailedLimits",
    "Hold",
    "Link",
    "NewJob",
    "Owed",
    "Postpone",
    "Push",
    "Pushed",
    "Pushing",
    "Queue",
    "QueueSizes",
    "Release",
    "Reserved",
    "Retry",
    "Settlement",
    "StepReply",
    "StepRequest",
    "Survey",
    "Unique",
]

OWED_SECONDS = 3.0
"""How long what is owed is left to the worker that got it."""
Pushing: TypeAlias = "Callable[[Sequence[NewJob]], Awaitable[Pushed]]"
"""What queues jobs, as `Queue.apush` does."""


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
        force: reserve although the queue is paused.
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
    force: bool = False


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
        paused: the queue is paused.
        owed: effects for this worker to hand to `Queue.apply`, soon: of its settlements, and
            what others left undone. After `OWED_SECONDS` another worker gets them.
    """

    reserved: Sequence[Reserved] = ()
    refused: Sequence[str] = ()
    crashed: Sequence[str] = ()
    lapsed: int = 0
    ready: int = 0
    next_in: float | None = None
    drain: bool = False
    paused: bool = False
    owed: Sequence[Owed] = ()


class Survey(NamedTuple):
    """
    How the lanes of one queue are.

    Attributes:
        due: lanes of which a step may bring something now: jobs that nobody holds, lapsed
            leases, delayed jobs that are due, effects that were left undone.
        share: lanes that each living worker should serve at most, so that all are served.
        next_in: seconds until another lane is due by time alone, or None.
    """

    due: Sequence[int]
    share: int
    next_in: float | None


class Hold(Enum):
    """What became of a lease that was to be renewed."""

    KEPT = "kept"
    LOST = "lost"  # somebody has a newer token: stop working on it
    GONE = "gone"  # the job no longer exists: finish quietly


@dataclass(frozen=True, slots=True)
class QueueSizes:
    """
    How many jobs of one queue are in which state.

    Attributes:
        ready: waiting suspects included.
        failed: not counting those that were put back since.
        oldest: seconds for which the next ready job has been ready, or None; up to 15 too
            few, and of over an hour an estimate.
        paused: it is paused.
    """

    ready: int = 0
    delayed: int = 0
    held: int = 0
    failed: int = 0
    oldest: float | None = field(default=None, compare=False)
    paused: bool = False


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

    def push(self, jobs: Sequence[NewJob]) -> Pushed:
        """
        Queue `jobs` in order, atomically per queue and thousand; thousands take several trips.

        A push that raises may have queued some of them.
        """
        ...

    async def apush(self, jobs: Sequence[NewJob]) -> Pushed:
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

    async def apply(self, queue: str, owed: Sequence[Owed], push: Pushing | None = None) -> None:
        """
        Do what a step of `queue` has said is owed, then forget it; safe to repeat.

        Args:
            push: queues what follows; None is `apush` of this queue. Whoever wants to know
                what was queued gives one that calls it.
        """
        ...

    async def unlock(self, queue: str, key: str, job_id: str) -> bool:
        """Free the unique lock `key` early if job `job_id` has it; False otherwise."""
        ...

    async def wait(self, queue: str, timeout: float) -> str | None:  # noqa: ASYNC109 - the store times it
        """
        Wait at most `timeout` seconds for a hint that a step may find jobs.

        Returns the queue to step: `queue` itself, or one of its lanes; None without a hint.
        """
        ...

    async def survey(
        self, queue: str, lanes: Sequence[int], worker: str, *, force: bool = False
    ) -> Survey:
        """
        Look at many lanes of `queue` in one round trip, and tell that `worker` serves them.

        Args:
            force: a paused lane is due as well.
        """
        ...

    def extend(self, queue: str, holds: Mapping[str, int], lease: float) -> Mapping[str, Hold]:
        """Renew the leases of `holds` (id -> token) to `lease` seconds from now; blocking."""
        ...

    def sizes(self, queue: str) -> QueueSizes:
        """Count the jobs of `queue` and its lanes, or of one lane, by state; blocking."""
        ...

    async def asizes(self, queue: str) -> QueueSizes:
        """Count jobs by state; see `sizes`."""
        ...

    def queues(self) -> Sequence[str]:
        """Return the names of all queues ever pushed to, sorted; blocking."""
        ...
