"""
What goes into a queue, what a worker gets out of it, and what becomes of it.

The states and guarantees are those of `broadcaster.contracts.queue`, which has these names too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_UNIQUE_SECONDS = 7 * 86_400.0
LINK_SECONDS = 86_400.0
MIN_POSTPONE_SECONDS = 1.0
MAX_POSTPONED = 1_000
MAX_TRACEBACK = 16_384
"""Characters of a traceback that are kept."""

_CUT = "\n  ...\n"


def cut_traceback(text: str) -> str:
    """
    Return at most `MAX_TRACEBACK` characters of a traceback, of a long one both ends.

    The last frames stand before the text of the error, which may be long itself.
    """
    if len(text) <= MAX_TRACEBACK:
        return text
    half = MAX_TRACEBACK // 2
    return text[: half - len(_CUT)] + _CUT + text[-half:]


class Unique(NamedTuple):
    """
    A lock that a job takes when it is queued, within its queue.

    It is free again when the job is done, has failed or was cancelled, after `Queue.unlock`,
    and after `seconds` at the latest.

    Attributes:
        key: what must not be queued twice; any text.
        seconds: longest time that the lock holds, at most `MAX_UNIQUE_SECONDS`.
    """

    key: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Link:
    """
    The place of a job in a row of jobs: a link of a chain, a callback of a batch.

    The queue remembers the highest index of each row that it was given, for a day.

    Attributes:
        row: id of the chain, or of what calls back; any text.
        index: place in the row, from 0; rises with every link pushed to one queue.
    """

    row: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class NewJob:
    """
    A job to be queued.

    Attributes:
        id: unique per job, 32 hex digits; pushing it twice queues it once.
        queue: name of the queue, or of a lane (`broadcaster.protocol.lanes`).
        body: the encoded payload (`broadcaster.protocol.payload`), never changed after.
        delay: seconds before it may be reserved.
        unique: a lock that must be free; the job then has it.
        link: its place in a row of jobs of which each is queued once.
    """

    id: str
    queue: str
    body: bytes
    delay: float = 0.0
    unique: Unique | None = None
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Pushed:
    """
    What became of pushed jobs.

    Attributes:
        new: ids that were queued, in order.
        known: ids that were waiting, held or failed already, or links that were queued before.
        locked: ids that were not queued because another job has their unique lock, and the
            id of that job.
    """

    new: Sequence[str] = ()
    known: Sequence[str] = ()
    locked: Mapping[str, str] = field(default_factory=dict[str, str])

    def new_of(self, jobs: Sequence[NewJob]) -> list[NewJob]:
        """Return those of `jobs` that were queued, each once."""
        if not self.known and not self.locked:
            return list(jobs)
        by_id = {job.id: job for job in jobs}
        return [by_id[job_id] for job_id in self.new]


class Reserved(NamedTuple):
    """
    A job that this worker holds until it is settled or its lease lapses.

    Attributes:
        id: as pushed.
        body: as pushed.
        token: the fencing token of this reservation.
        attempts: tries that were used up before this reservation.
        alone: it is a suspect: run nothing beside it.
        exceptions: tries of those that ended with an exception.
        postponed: how often it was handed back by `Postpone`.
    """

    id: str
    body: bytes
    token: int
    attempts: int
    alone: bool
    exceptions: int = 0
    postponed: int = 0


@dataclass(frozen=True, slots=True)
class Push:
    """An effect: queue `job`, which has a `Link` or an id that is never used up."""

    job: NewJob


class Culprit(NamedTuple):
    """
    The job that a callback is about.

    Attributes:
        job: registered name of its class.
        id: its id.
        error: type and text of its exception.
    """

    job: str
    id: str
    error: str


@dataclass(frozen=True, slots=True)
class BatchMark:
    """
    An effect: say how the job `index` of a batch ended; see `Batches.mark`.

    Attributes:
        failed: whether it failed for good; it is done otherwise.
        culprit: what callbacks are told if it is the first that failed.
    """

    batch_id: str
    index: int
    failed: bool = False
    culprit: Culprit | None = None


Effect = Push | BatchMark
"""What follows from a settled job; applying it twice is the same as once."""


class Done(NamedTuple):
    """The job is finished: forget it, and do what follows."""

    id: str
    token: int
    effects: tuple[Effect, ...] = ()


class Retry(NamedTuple):
    """
    The job was started and shall run again after `delay` seconds; uses up a try.

    Attributes:
        exception: it ended with an exception, which `Reserved.exceptions` counts; a job
            that hands itself back (counted release) did not.
    """

    id: str
    token: int
    delay: float = 0.0
    exception: bool = False


class Release(NamedTuple):
    """The worker hands it back after `delay` seconds as if it had never been reserved."""

    id: str
    token: int
    delay: float = 0.0


class Postpone(NamedTuple):
    """
    The job hands itself back after `delay` seconds, at least one, and uses up no try.

    `Reserved.postponed` counts it. From `MAX_POSTPONED` on it uses up a try like `Retry`;
    workers fail such a job.
    """

    id: str
    token: int
    delay: float = MIN_POSTPONE_SECONDS


class Fail(NamedTuple):
    """
    The job is given up and kept with the failed ones.

    Attributes:
        reason: a stable word (``exception``, ``timeout``, ``unknown_job``, ...).
        error: one readable line (type and text of the exception); no payload.
        attempts: tries that were used up, this one included.
        effects: what follows.
        job: registered name of its class, for searching; "" when it is not known.
        exception: name of the exception's type, or "".
        traceback: text; of a long one both ends are kept (`cut_traceback`).
    """

    id: str
    token: int
    reason: str
    error: str
    attempts: int = 0
    effects: tuple[Effect, ...] = ()
    job: str = ""
    exception: str = ""
    traceback: str = ""


Settlement = Done | Retry | Release | Postpone | Fail


GivenUp = Literal["crashed", "cancelled"]
"""Why a store gives a job up by itself."""


class Owed(NamedTuple):
    """
    What still has to be done after a job was settled, by whoever holds this.

    Attributes:
        id: of the job; hand it back to `Queue.apply` with the effects that were meant.
        key: names the entry.
        effects: what to do.
        given_up: the body of a job that the store gave up by itself; what follows from that
            (its batch, the end of its chain, its failed hook) is for the worker to find out,
            who then passes the effects on.
        attempts: tries that were used up, if it was given up.
        reason: why: it took its worker down too often, or was cancelled.
    """

    key: str
    effects: tuple[Effect, ...] = ()
    id: str = ""
    given_up: bytes | None = None
    attempts: int = 0
    reason: GivenUp = "crashed"
