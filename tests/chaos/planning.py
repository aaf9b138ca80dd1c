"""Making a plan, and saying which worker is hit when, of a seed and nothing else. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Literal

from tests.chaos.plan import QUEUES, Batch, Beat, Chain, Plan, Task, weight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.chaos.plan import End, Kind, Manner, Op

POISON_EVERY = 8_000


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
        size += weight(op)
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
    if dice < 0.6:
        return _contained(chance, key)
    if dice < 0.8:
        return replace(_task(chance, key), end="timeout")
    if dice < 0.9:
        return replace(_task(chance, key, "stranger"), end="unknown_job")
    return replace(_task(chance, key), put_offs=1)


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
    key, count = f"c{number}", chance.randint(2, 6)
    bad = chance.randrange(count) if chance.random() < 0.25 else count
    links = [_link(chance, f"{key}.{at}", at - bad) for at in range(count)]
    return Chain(key=key, links=tuple(links), catch=_task(chance, f"{key}:catch"))


def _link(chance: Random, key: str, place: int) -> Task | Batch:
    """Return a link at `place` from the one that breaks; what comes behind that must not fail."""
    size, dice = chance.randint(1, 6), chance.random()
    if place == 0:
        if dice < 0.4:
            manner: Manner = "strict" if dice < 0.3 else "cancelled"
            return _batch_of(chance, key, manner, size)
        doomed = _doomed(chance, _task(chance, key))
        return replace(doomed, mendable=chance.random() < 0.4)
    if dice < 0.1:
        others: list[Manner] = ["good", "growing", "lenient"]
        return _batch_of(chance, key, chance.choice(others[: 3 if place < 0 else 2]), size)
    return _good(chance, key)


def _batch(chance: Random, number: int) -> Batch:
    manners: list[Manner] = ["good", "lenient", "strict", "cancelled", "growing"]
    (manner,) = chance.choices(manners, weights=[5, 3, 1, 1, 2])
    return _batch_of(chance, f"b{number}", manner, chance.randint(3, 25))


def _batch_of(chance: Random, key: str, manner: Manner, size: int) -> Batch:
    jobs = [_member(chance, f"{key}.{at}") for at in range(size)]
    place = chance.randrange(size)
    if manner in ("lenient", "strict"):
        mendable = chance.random() < 0.5
        jobs[place] = _culprit(chance, jobs[place].key, mendable=mendable)
        if manner == "lenient" and not mendable and chance.random() < 0.4:
            more = range(size, size + chance.randint(3, 6))
            jobs += [_contained(chance, f"{key}.{at}") for at in more]
    elif manner == "cancelled":
        jobs[place] = replace(_task(chance, jobs[place].key, "canceller"), queue="critical")
    elif manner == "growing":
        jobs[place] = replace(_task(chance, jobs[place].key, "adder"), group=key)
    then, catch, last = (
        tuple(_task(chance, f"{key}:{moment}.{at}") for at in range(chance.choice([1, 1, 2])))
        for moment in ("then", "catch", "last")
    )
    return Batch(key=key, manner=manner, jobs=tuple(jobs), then=then, catch=catch, last=last)


def _member(chance: Random, key: str) -> Task | Chain:
    if chance.random() < 0.1:
        links = [_good(chance, f"{key}.{at}") for at in range(chance.randint(2, 4))]
        return Chain(key=key, links=tuple(links), catch=_task(chance, f"{key}:catch"))
    return _good(chance, key)


def _culprit(chance: Random, key: str, *, mendable: bool) -> Task | Chain:
    """Return the member of a batch that fails."""
    if chance.random() < 0.7:
        return _broken(chance, key, mendable=mendable)
    links = [_good(chance, f"{key}.{at}") for at in range(chance.randint(2, 4))]
    place = chance.randrange(len(links))
    links[place] = _broken(chance, links[place].key, mendable=mendable)
    return Chain(key=key, links=tuple(links), catch=_task(chance, f"{key}:catch"))


def _broken(chance: Random, key: str, *, mendable: bool) -> Task:
    doomed = _doomed(chance, _task(chance, key))
    return replace(doomed, end="exception", releases=0, raises=doomed.tries, mendable=mendable)


def _good(chance: Random, key: str) -> Task:
    """Return one that is done, some of them at last."""
    task = _task(chance, key)
    return _hesitant(chance, task) if chance.random() < 0.1 else task


def _contained(chance: Random, key: str) -> Task:
    """Return one that runs in a process of its own, which the worker then uses again or not."""
    task, dice = _task(chance, key, "contained"), chance.random()
    if dice < 0.1:
        return replace(task, end="timeout")
    if dice < 0.2:
        return _doomed(chance, task)
    if dice < 0.3:
        return _hesitant(chance, task)
    return replace(task, litters=dice < 0.4)


_MAKERS: dict[Callable[[Random, int], Op], float] = {
    _plain: 40,
    _unique: 6,
    _overlap: 3,
    _ordered: 9,
    _beat: 12,
    _chain: 4,
    _batch: 1.5,
    _rare: 0.8,
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
