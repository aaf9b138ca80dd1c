"""
What a run of chaos does, made of a seed and nothing else. Pure.

A `Task` says how one job is to behave, so that whoever runs it, and however often, it does the
same at the same try. An `Op` is what the dispatcher does in one go; `deed` is what a job does at
the end of a run; `strikes` says which worker is hit when.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

QUEUES = ("critical", "default", "low")
BACKOFF = 0.05
TIMEOUT = 0.3
"""Seconds that one try of a job may take which hangs."""
ADDED = 4
"""Jobs that an adder adds to its batch."""
POISON_EVERY = 8_000

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
        group: what its lock or its order goes by.
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
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Links, and what is queued when one fails; the failing one, if any, is the last that runs."""

    key: str
    links: tuple[Task, ...]
    catch: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Jobs that are counted together, and the callbacks of each moment."""

    key: str
    manner: Manner
    jobs: tuple[Task, ...]
    then: tuple[Task, ...]
    catch: tuple[Task, ...]
    last: tuple[Task, ...]

    @property
    def total(self) -> int:
        """Jobs that it has in the end."""
        return len(self.jobs) + (ADDED if self.manner == "growing" else 0)

    @property
    def mendable(self) -> bool:
        """Whether its failures end when the plant is mended."""
        return any(task.mendable for task in self.jobs)


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
        return sum(_weight(op) for op in self.ops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """
    What happens to a worker.

    Attributes:
        pause: seconds after the strike before.
        place: of the worker, 0 to 1, of all.
        how: it is killed, asked to stop, or frozen for a while.
        leases: for how many leases it is frozen.
    """

    pause: float
    place: float
    how: Literal["kill", "stop", "freeze"]
    leases: float


def plan(seed: int, jobs: int) -> Plan:
    """Return a plan of about `jobs` jobs, broadcasts and callbacks included."""
    chance = Random(f"plan {seed}")
    made: list[Op] = []
    size = 0
    while size < jobs:
        op = _op(chance, len(made))
        made.append(op)
        size += _weight(op)
    for number in range(1 + jobs // POISON_EVERY):
        place = chance.randrange(len(made) // 2 + 1)  # it takes its time
        made.insert(place, Task(key=f"poison{number}", kind="poison", end="crashed"))
    return Plan(seed=seed, ops=tuple(_numbered(made)))


def strikes(
    seed: int, *, shortest: float, longest: float, gentle: float = 0.0, cold: float = 0.0
) -> Iterator[Strike]:
    """
    Yield strikes without end.

    Args:
        shortest: seconds between two of them, at least.
        longest: the same at most.
        gentle: the part of them that asks a worker to stop instead of killing it, 0 to 1.
        cold: the part of the others that freezes it.
    """
    chance = Random(f"strikes {seed}")
    while True:
        yield Strike(
            pause=chance.uniform(shortest, longest),
            place=chance.random(),
            how="stop"
            if chance.random() < gentle
            else "freeze"
            if chance.random() < cold
            else "kill",
            leases=chance.uniform(0.5, 2.0),
        )


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


def tasks_of(op: Op) -> list[Task]:
    """Return the tasks that certainly or possibly run because of `op`."""
    match op:
        case Task():
            return [op]
        case Chain():
            return [*op.links, op.catch]
        case Batch():
            more = (
                [added(op.key, place) for place in range(ADDED)] if op.manner == "growing" else []
            )
            return [*op.jobs, *more, *op.then, *op.catch, *op.last]
        case Beat():
            return []


def chain_breaks(chain: Chain) -> bool:
    """Whether a link of it fails for good."""
    return chain.links[-1].end != "done"


# Making it


def _weight(op: Op) -> int:
    match op:
        case Chain():
            return len(op.links) + chain_breaks(op)
        case Batch():
            return op.total + len(op.last) + len(op.then if op.manner == "good" else op.catch)
        case Task() | Beat():
            return 1


def _op(chance: Random, number: int) -> Op:
    kinds = list(_MAKERS)
    (make,) = chance.choices(kinds, weights=[_MAKERS[kind] for kind in kinds])
    return make(chance, number)


def _plain(chance: Random, number: int) -> Task:
    kind: Kind = "sync" if chance.random() < 0.3 else "async"
    task = _task(chance, f"p{number}", kind)
    dice = chance.random()
    if dice < 0.12:
        return replace(task, delay=chance.uniform(0.05, 3.0))
    if dice < 0.24:
        return _hesitant(chance, task)
    if dice < 0.28:
        return _doomed(chance, task)
    return task


def _rare(chance: Random, number: int) -> Task:
    """Return a job that costs much, or that no worker knows."""
    key, dice = f"r{number}", chance.random()
    if dice < 0.3:
        return _task(chance, key, "contained")
    if dice < 0.6:
        return replace(_task(chance, key, "async"), end="timeout")
    if dice < 0.8:
        return replace(_task(chance, key, "stranger"), end="unknown_job")
    return replace(_task(chance, key, "async"), put_offs=1)


def _hesitant(chance: Random, task: Task) -> Task:
    """Return one that is done at last."""
    raises, releases = chance.randint(0, 2), chance.randint(0, 2)
    return replace(task, raises=raises, releases=releases, tries=raises + releases + 1)


def _doomed(chance: Random, task: Task) -> Task:
    """Return one that fails for good."""
    ends: list[End] = ["exception", "job_failed", "max_attempts"]
    end = chance.choice(ends)
    tries = chance.randint(1, 3)
    if end == "exception":
        return replace(task, end=end, raises=tries, tries=tries)
    if end == "max_attempts":
        return replace(task, end=end, raises=tries - 1, releases=1, tries=tries)
    return replace(task, end=end, raises=tries - 1, tries=tries)


def _unique(chance: Random, number: int) -> Task:
    kind: Kind = "until" if chance.random() < 0.3 else "unique"
    task = _task(chance, f"u{number}", kind)
    group = f"{kind}{number // 400 % 50}.{chance.randint(0, 5)}"
    return replace(task, ms=chance.choice([2, 20, 60]), group=group, queue="default")


def _overlap(chance: Random, number: int) -> Task:
    group = f"o{number // 200}.{chance.randint(0, 3)}"
    return replace(_task(chance, f"v{number}", "overlap"), ms=chance.choice([5, 20]), group=group)


def _ordered(chance: Random, number: int) -> Task:
    task = replace(_task(chance, f"l{number}", "ordered"), ms=chance.choice([0, 1, 3]))
    task = replace(task, group=f"account{chance.randint(0, 24)}", queue="default")
    return _hesitant(chance, task) if chance.random() < 0.03 else task


def _beat(chance: Random, number: int) -> Beat:
    del number  # numbered at the end
    return Beat(channel=f"chaos-{chance.randint(0, 30)}", number=0)


def _chain(chance: Random, number: int) -> Chain:
    key = f"c{number}"
    links = [_task(chance, f"{key}.{at}") for at in range(chance.randint(2, 6))]
    links = [_hesitant(chance, link) if chance.random() < 0.1 else link for link in links]
    if chance.random() < 0.2:
        links[-1] = _doomed(chance, _task(chance, links[-1].key))
    return Chain(key=key, links=tuple(links), catch=_task(chance, f"{key}:catch"))


def _batch(chance: Random, number: int) -> Batch:
    key = f"b{number}"
    manners: list[Manner] = ["good", "lenient", "strict", "cancelled", "growing"]
    (manner,) = chance.choices(manners, weights=[5, 3, 1, 1, 2])
    jobs = [_task(chance, f"{key}.{at}") for at in range(chance.randint(3, 25))]
    jobs = [_hesitant(chance, job) if chance.random() < 0.1 else job for job in jobs]
    place = chance.randrange(len(jobs))
    if manner in ("lenient", "strict"):
        doomed = _doomed(chance, _task(chance, jobs[place].key))
        jobs[place] = replace(doomed, end="exception", releases=0, raises=doomed.tries)
        if manner == "lenient" and chance.random() < 0.5:
            jobs[place] = replace(jobs[place], mendable=True)
    elif manner == "cancelled":
        jobs[place] = replace(_task(chance, jobs[place].key, "canceller"), queue="critical")
    elif manner == "growing":
        jobs[place] = _task(chance, jobs[place].key, "adder")
    moments = {
        moment: tuple(
            _task(chance, f"{key}:{moment}.{at}") for at in range(chance.choice([1, 1, 2]))
        )
        for moment in ("then", "catch", "last")
    }
    return Batch(key=key, manner=manner, jobs=tuple(jobs), **moments)


_MAKERS: dict[Callable[[Random, int], Op], float] = {
    _plain: 40,
    _unique: 6,
    _overlap: 3,
    _ordered: 9,
    _beat: 12,
    _chain: 4,
    _batch: 1.5,
    _rare: 0.4,
}


def _task(chance: Random, key: str, kind: Kind = "async") -> Task:
    queue = chance.choices(QUEUES, weights=[2, 6, 2])[0]
    return Task(key=key, kind=kind, queue=queue, ms=chance.choice([0, 1, 2, 5, 10, 25]))


def _numbered(ops: Sequence[Op]) -> Iterator[Op]:
    """Count the broadcasts of each channel."""
    counts: dict[str, int] = {}
    for op in ops:
        if isinstance(op, Beat):
            number = counts.get(op.channel, 0)
            counts[op.channel] = number + 1
            yield replace(op, number=number)
        else:
            yield op
