"""What must become of each task of a plan, and what of it comes before what. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tests.chaos.plan import (
    Batch,
    Chain,
    End,
    Task,
    added_to,
    batches_of,
    breaks,
    links_of,
    reached,
    tasks_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.chaos.plan import Op

Fate = End | Literal["never", "maybe"]
"""How a task ends at last; that it is not queued at all; that either is fine, or being skipped."""


def fates(op: Op) -> dict[str, Fate]:
    """Return the fate of each task of `op`, by its key."""
    match op:
        case Task():
            return {op.key: "done" if op.mendable else op.end}
        case Chain():
            return _of_chain(op)
        case Batch():
            return _of_batch(op)
        case _:
            return {}


def begun(op: Op) -> list[Batch]:
    """Return the batches of `op` that are begun at last."""
    links = {link.key for link in reached(op)} if isinstance(op, Chain) else {""}
    return [batch for batch in batches_of(op) if batch is op or batch.key in links]


def ends_cancelled(batch: Batch) -> bool:
    """Whether `batch` is cancelled in the end; retrying what failed takes it back."""
    return batch.manner == "cancelled" or (batch.manner == "strict" and not batch.mendable)


def before_next(link: Task | Batch) -> Iterator[tuple[str, bool]]:
    """
    Yield what has happened before a chain goes on after `link`.

    Each is the key of a task and whether it was done; or else it has begun.
    """
    if isinstance(link, Task):
        yield link.key, True
    elif link.manner == "strict":  # and it heals
        yield from ((task.key, True) for one in link.jobs if breaks(one) for task in links_of(one))
    else:
        yield from before_last(link)


def before_last(batch: Batch) -> Iterator[tuple[str, bool]]:
    """Yield what has happened before `batch` calls that all have run; see `before_next`."""
    if batch.manner in ("good", "growing"):
        yield from before_then(batch)
    elif batch.manner != "cancelled":
        for member in batch.jobs:
            if batch.manner == "lenient" or breaks(member):
                yield from _before_the_end(member)


def before_then(batch: Batch) -> Iterator[tuple[str, bool]]:
    """Yield what has happened before `batch` calls that all is done; see `before_next`."""
    known = _of_batch(batch)
    for task in (*batch.members, *added_to(batch)):
        if known[task.key] == "done":
            yield task.key, True


def _of_chain(chain: Chain) -> dict[str, Fate]:
    due = _all(tasks_of(chain), "never")
    for link in reached(chain):
        due |= fates(link)
    return due | _all([chain.catch], "done" if breaks(chain) else "never")


def _of_batch(batch: Batch) -> dict[str, Fate]:
    due = _all(added_to(batch), "done")
    for member in batch.jobs:
        due |= _of_member(batch, member)
    broke = batch.manner in ("lenient", "strict")
    then = batch.manner in ("good", "growing") or batch.mendable
    due |= _all(batch.then, "done" if then else "never")
    due |= _all(batch.catch, "done" if broke else "never")
    return due | _all(batch.last, "done")


def _all(tasks: Iterable[Task], fate: Fate) -> dict[str, Fate]:
    return {task.key: fate for task in tasks}


def _of_member(batch: Batch, member: Task | Chain) -> dict[str, Fate]:
    """Of what fails it is known what becomes; what is beside that may be skipped."""
    due = fates(member)
    if batch.manner in ("strict", "cancelled") and not breaks(member):
        return {key: "never" if fate == "never" else "maybe" for key, fate in due.items()}
    return due


def _before_the_end(member: Task | Chain) -> Iterator[tuple[str, bool]]:
    for task in links_of(member):
        yield task.key, not breaks(task)
        if breaks(task):
            break
