"""
What a run of chaos does: tasks, what they belong to, and what each does at the end of a run. Pure.

A `Task` says how one job is to behave, so that whoever runs it, and however often, it does the
same at the same try. An `Op` is what the dispatcher does in one go. `tests.chaos.planning` makes
plans, and `tests.chaos.fates` says what must become of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUES = ("critical", "default", "low")
BACKOFF = 0.05
TIMEOUT = 0.3
"""Seconds that one try of a job may take which hangs."""
ADDED = 4
"""Jobs that an adder adds to its batch."""

End = Literal[
    "done", "exception", "job_failed", "max_attempts", "timeout", "crashed", "unknown_job"
]
Kind = Literal[
    "async", "sync", "contained", "overlap", "unique", "until", "ordered", "adder", "canceller",
    "poison", "stranger",
]  # fmt: skip
Deed = Literal["done", "raise", "release", "put_off", "fail", "hang", "die"]
Manner = Literal["good", "lenient", "strict", "cancelled", "growing"]
"""Of a batch: all is well; failures are allowed; the first one cancels it; a job of it cancels it;
a job of it adds others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """
    How one job is to behave.

    Attributes:
        key: its name in the plan.
        kind: its class.
        queue: where it waits.
        ms: how long each run takes.
        delay: seconds before it may run first.
        put_offs: how often it puts itself off, without using up a try.
        raises: tries that raise, the first ones.
        releases: tries after these that put the job back.
        end: what becomes of it at last.
        tries: tries that it has.
        mendable: it fails only until the plant is mended.
        litters: it leaves a process behind.
        group: what its lock or its order goes by; of an adder, its batch.
    """

    key: str
    kind: Kind = "async"
    queue: str = "default"
    ms: int = 1
    delay: float = 0.0
    put_offs: int = 0
    raises: int = 0
    releases: int = 0
    end: End = "done"
    tries: int = 1
    mendable: bool = False
    litters: bool = False
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Links, of which one breaks at most, and what is queued then; one in a batch has only jobs."""

    key: str
    links: tuple[Task | Batch, ...]
    catch: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Jobs that are counted together, and the callbacks of each moment."""

    key: str
    manner: Manner
    jobs: tuple[Task | Chain, ...]
    then: tuple[Task, ...]
    catch: tuple[Task, ...]
    last: tuple[Task, ...]

    @property
    def members(self) -> Sequence[Task]:
        """The jobs that it begins with, links of its chains included."""
        return [task for one in self.jobs for task in links_of(one)]

    @property
    def total(self) -> int:
        """Jobs that it has in the end."""
        return len(self.members) + (ADDED if self.manner == "growing" else 0)

    @property
    def mendable(self) -> bool:
        """Whether its failures end when the plant is mended."""
        return any(task.mendable for task in self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One broadcast: the number `number` of its channel, from 0."""

    channel: str
    number: int


Op = Task | Chain | Batch | Beat


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is dispatched, in order."""

    seed: int
    ops: tuple[Op, ...]

    @property
    def size(self) -> int:
        """Jobs that it has at least."""
        return sum(weight(op) for op in self.ops)


def deed(task: Task, *, attempts: int, put_offs: int, mended: bool) -> Deed:
    """
    Return what a job does at the end of a run.

    Args:
        attempts: number of the try, from 1.
        put_offs: how often it has put itself off before.
        mended: whether the plant is mended.
    """
    if put_offs < task.put_offs:
        return "put_off"
    if mended and task.mendable:
        return "done"
    if attempts <= task.raises:
        return "raise"
    if attempts <= task.raises + task.releases:
        return "release"
    return _LAST_DEEDS.get(task.end, "done")


_LAST_DEEDS: dict[End, Deed] = {"job_failed": "fail", "timeout": "hang", "crashed": "die"}


def added(batch: str, place: int) -> Task:
    """Return the job `place` of those that an adder adds to `batch`."""
    return Task(key=f"{batch}+{place}")


def added_to(batch: Batch) -> list[Task]:
    """Return what an adder adds to `batch`."""
    return [added(batch.key, place) for place in range(ADDED if batch.manner == "growing" else 0)]


def links_of(member: Task | Chain) -> list[Task]:
    """Return the jobs that a member of a batch is counted as."""
    if isinstance(member, Task):
        return [member]
    return [link for link in member.links if isinstance(link, Task)]


def tasks_of(op: Op) -> list[Task]:
    """Return the tasks that certainly or possibly run because of `op`."""
    match op:
        case Task():
            return [op]
        case Chain():
            return [*(task for link in op.links for task in tasks_of(link)), op.catch]
        case Batch():
            jobs = [task for one in op.jobs for task in tasks_of(one)]
            return [*jobs, *added_to(op), *op.then, *op.catch, *op.last]
        case Beat():
            return []


def batches_of(op: Op) -> list[Batch]:
    """Return `op`, if it is a batch, or the batches that are links of it."""
    if isinstance(op, Chain):
        return [link for link in op.links if isinstance(link, Batch)]
    return [op] if isinstance(op, Batch) else []


def breaks(link: Task | Chain | Batch) -> bool:
    """Whether it fails for good at first: a link, or a member of a batch."""
    match link:
        case Task():
            return link.end != "done"
        case Chain():
            return any(map(breaks, link.links))
        case Batch():
            return link.manner in ("strict", "cancelled")


def heals(link: Task | Batch) -> bool:
    """Whether one that breaks is done when the plant is mended."""
    return link.mendable


def reached(chain: Chain) -> list[Task | Batch]:
    """Return the links that are queued at last: up to the one that breaks, if it does not heal."""
    found: list[Task | Batch] = []
    for link in chain.links:
        found.append(link)
        if breaks(link) and not heals(link):
            break
    return found


def weight(op: Op) -> int:
    """Return how many jobs `op` comes to at least."""
    match op:
        case Chain():
            return sum(map(weight, reached(op))) + breaks(op)
        case Batch():
            return op.total + len(op.last) + len(op.then if op.manner == "good" else op.catch)
        case Task() | Beat():
            return 1
