"""What happened in a run of chaos, and what is left of it: values that `checks` judges. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Event(NamedTuple):
    """
    One thing that happened; their order is that of the record.

    Attributes:
        at: Unix seconds, by the clock of the record.
        what: of a run: "start", then a `Deed`, or "cut" if it was cancelled. Of a worker:
            "born", "hit" (written before it is killed), "asked" (to stop) and "dead". Of a
            unique job: "queued", or "skipped" for `job_id`, which had the lock.
        key: of the task; of events of workers "".
        job_id: of the job.
        attempt: number of the try.
        token: of the reservation.
        worker: name of the process.
        group: of the task.
        pid: of the process in which the job runs.
    """

    at: float
    what: str
    key: str = ""
    job_id: str = ""
    attempt: int = 0
    token: int = 0
    worker: str = ""
    group: str = ""
    pid: int = 0


class FailedState(NamedTuple):
    """A failed job as it is listed."""

    job_id: str
    key: str
    reason: str
    attempts: int
    retried: bool = False


class BatchState(NamedTuple):
    """A batch as it is in the end."""

    total: int
    pending: int
    failed: int
    cancelled: bool
    finished: bool


class KeyState(NamedTuple):
    """A key that is left: name without prefix, kind, seconds until it expires or None, entries."""

    name: str
    kind: str
    expires: float | None
    size: int
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """
    What is left in the end.

    Attributes:
        failed: jobs that are listed as failed.
        batches: by key of the plan; several if a chain was dispatched twice.
        keys: everything that is left in Redis.
        bodies: ids of jobs that are still in a queue.
        settled: how many jobs were settled as done, and as failed, as the queues have counted.
        published: numbers of the broadcasts that came, by channel.
        exits: codes of workers that were asked to stop.
        complaints: what workers logged that must not be.
        orphans: processes that have outlived their worker.
        waited: whether everything came to its end in time.
    """

    failed: Sequence[FailedState] = ()
    batches: Mapping[str, Sequence[BatchState]] = field(
        default_factory=dict[str, "Sequence[BatchState]"]
    )
    keys: Sequence[KeyState] = ()
    bodies: Sequence[str] = ()
    settled: tuple[int, int] | None = None
    published: Mapping[str, Sequence[int]] | None = None
    exits: Mapping[str, int] = field(default_factory=dict[str, int])
    complaints: Sequence[str] = ()
    orphans: Sequence[str] = ()
    waited: bool = True


class Run(NamedTuple):
    """
    One run of a job: a reservation that came as far as its code.

    Attributes:
        start: place of its start among all events.
        end: place of its end, or None.
        ending: what it ended with, or "".
    """

    key: str
    job_id: str
    attempt: int
    token: int
    worker: str
    group: str
    pid: int
    start: int
    started_at: float
    end: int | None = None
    ended_at: float | None = None
    ending: str = ""


class Finding(NamedTuple):
    """A broken promise: which rule, by whom, and what is wrong."""

    rule: str
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.who}: {self.text}"


ENDINGS = frozenset({"done", "raise", "release", "put_off", "fail", "hang", "die", "cut"})


def runs_of(history: Sequence[Event]) -> list[Run]:
    """Return the runs, by their starts. What ends without a start is not there."""
    found: dict[tuple[str, int], Run] = {}
    for place, event in enumerate(history):
        at = (event.job_id, event.token)
        if event.what == "start":
            found[at] = Run(
                event.key,
                event.job_id,
                event.attempt,
                event.token,
                event.worker,
                event.group,
                event.pid,
                place,
                event.at,
            )
        elif event.what in ENDINGS and at in found:
            found[at] = found[at]._replace(end=place, ended_at=event.at, ending=event.what)
    return sorted(found.values(), key=lambda run: run.start)


def ends_of_workers(history: Sequence[Event]) -> dict[str, int]:
    """Return the place from which each worker was hit, asked to stop, or dead by itself."""
    ends: dict[str, int] = {}
    for place, event in enumerate(history):
        if event.what in ("hit", "asked", "dead"):
            ends.setdefault(event.worker, place)
    return ends
