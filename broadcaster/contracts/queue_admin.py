"""What people and monitors ask of queues, beside the work itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.queue import QueueSizes

RUNTIME_BOUNDS = tuple(0.001 * 1.25**step for step in range(72))
"""Upper ends of the bins of runtimes, in seconds: from 1 ms to about two hours."""
MAX_CLASSES = 200
"""Job classes of a queue whose runtimes are told apart; the rest counts as ``other``."""


@dataclass(frozen=True, slots=True)
class Pause:
    """
    A queue is paused.

    Attributes:
        since: Unix seconds, by the store's clock.
        until: when it ends by itself, or None.
        by: who paused it, as they said.
    """

    since: float
    until: float | None
    by: str


class Rate(NamedTuple):
    """What happened in the last `seconds`, per minute."""

    seconds: int
    arrived: float
    done: float
    failed: float


class Runtime(NamedTuple):
    """How long jobs of one class took within the last quarter to half hour, in seconds."""

    job: str
    ended: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class QueueStats:
    """
    How a queue has been doing.

    Attributes:
        rates: over the last 1, 5 and 15 minutes.
        runtimes: per job class, the most frequent first.
    """

    rates: Sequence[Rate]
    runtimes: Sequence[Runtime]


class QueueState(NamedTuple):
    """How one queue, or one lane, is; a pause of None: it is not paused."""

    sizes: QueueSizes
    stats: QueueStats
    pause: Pause | None


class QueueAdmin(Protocol):
    """
    Handling queues from outside; raises as `Queue` does, and blocks but for the coroutines.

    Pauses hold a queue with all its lanes; the rest is done lane by lane
    (`broadcaster.protocol.lanes`).
    """

    def pause(
        self, queue: str, seconds: float | None = None, by: str = "", *, lanes: int = 0
    ) -> None:
        """
        Reserve nothing of `queue` from now on, for `seconds` or until `resume`.

        Args:
            by: who wants it, for those who look.
            lanes: that it has, used or not; those that were used are held in any case.
        """
        ...

    async def apause(
        self, queue: str, seconds: float | None = None, by: str = "", *, lanes: int = 0
    ) -> None:
        """Pause from a coroutine; see `pause`."""
        ...

    def resume(self, queue: str, *, lanes: int = 0) -> bool:
        """End a pause at once; False if there was none."""
        ...

    async def aresume(self, queue: str, *, lanes: int = 0) -> bool:
        """End a pause from a coroutine; see `resume`."""
        ...

    def paused(self, queue: str) -> Pause | None:
        """Return the pause of `queue`, or None."""
        ...

    def clear(self, queue: str) -> int:
        """
        Forget all jobs that wait, delayed ones too; return their number.

        Those of batches and chains have failed there, as if they were cancelled one by one.
        """
        ...

    def cancel(self, queue: str | None, job_ids: Sequence[str]) -> int:
        """
        Forget these jobs of `queue`, or of any queue; return how many there were.

        One that runs ends in peace but is not tried again. In its batch it has failed, its
        chain breaks, and a worker calls its `failed` hook; it is not kept with the failed ones.
        """
        ...

    async def acancel(self, queue: str | None, job_ids: Sequence[str]) -> int:
        """Forget jobs from a coroutine; see `cancel`."""
        ...

    def stats(self, queue: str) -> QueueStats:
        """Return rates and runtimes."""
        ...

    def states(self, queues: Sequence[str]) -> Sequence[QueueState]:
        """
        Return how each of these queues and lanes is by itself, in order: for showing.

        Hundreds share a round trip. A job that changes its state meanwhile may be counted in
        both, or in none.
        """
        ...


class RuntimeStore(Protocol):
    """Where workers tell how long jobs take."""

    async def tell(self, queue: str, bins: Mapping[tuple[str, int], int]) -> None:
        """
        Add counts of ended jobs of `queue`, by class and bin; see `bin_of`.

        Meant to be called every few seconds with what was gathered.
        """
        ...


def bin_of(seconds: float) -> int:
    """Return the index of the bin of `RUNTIME_BOUNDS` that `seconds` falls into."""
    for index, bound in enumerate(RUNTIME_BOUNDS):
        if seconds <= bound:
            return index
    return len(RUNTIME_BOUNDS) - 1
