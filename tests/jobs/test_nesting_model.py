"""Chains of batches of chains, compared with what they mean, whatever fails in them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, cast

from hypothesis import given
from hypothesis import strategies as st

from broadcaster import current
from broadcaster.drivers.sync import SyncQueue
from broadcaster.drivers.sync_batches import SyncBatches
from broadcaster.jobs.chain import chain
from broadcaster.jobs.inline import InlineJobs
from broadcaster.jobs.job import Job
from broadcaster.jobs.pending_batch import batch
from tests.jobs.application import JobsApplication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.queue import Queue
    from broadcaster.jobs.pending_batch import PendingBatch

ran: list[str] = []


class Note(Job, name="model.Note"):
    text: str
    fails: bool = False

    def handle(self) -> None:
        ran.append(self.text)
        if self.fails:
            raise ValueError(self.text)


class Group(NamedTuple):
    """A batch: rows of links, of which each fails or not, alone or as a chain."""

    rows: list[list[bool]]
    allowed: bool


Links = list["bool | Group"]

rows = st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=4)
groups = st.builds(Group, rows, st.booleans())
links: st.SearchStrategy[Links] = st.lists(st.booleans() | groups, min_size=1, max_size=4)


class Meaning:
    """What is to run, in a world without queues."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.batches: list[tuple[int, int, int, bool]] = []

    def chain(self, elements: Links) -> None:
        for at, element in enumerate(elements):
            if isinstance(element, Group):
                broken = self.batch(f"{at}", element)
            else:
                self.ran[f"{at}"] += 1
                broken = element
            if broken:
                self.ran["catch"] += 1
                return

    def batch(self, name: str, group: Group) -> bool:
        failed, cancelled = 0, False
        for number, row in enumerate(group.rows):
            for at, fails in enumerate(row):
                if cancelled:
                    break
                self.ran[f"{name}.{number}.{at}"] += 1
                if fails:
                    failed += len(row) - at
                    cancelled = not group.allowed
                    break
        self.ran[f"{name} then"] += not failed
        self.ran[f"{name} finally"] += 1
        self.batches.append((sum(map(len, group.rows)), failed, failed, cancelled))
        return cancelled


def as_batch(name: str, group: Group) -> PendingBatch:
    members = [
        chain([Note(f"{name}.{number}.{at}", fails) for at, fails in enumerate(row)])
        for number, row in enumerate(group.rows)
    ]
    made = batch(members).then(Note(f"{name} then")).finally_(Note(f"{name} finally"))
    return made.allow_failures(allowed=group.allowed)


def run(elements: Links) -> Sequence[tuple[int, int, int, bool]]:
    """Run them in this process; return what became of their batches."""
    ran.clear()
    application, store = JobsApplication(), SyncBatches()
    application.batches = store
    application.queue = cast("Queue", SyncQueue(InlineJobs(lambda: store)))
    current.use(cast("Application", application))
    try:
        made = [
            as_batch(f"{at}", each) if isinstance(each, Group) else Note(f"{at}", each)
            for at, each in enumerate(elements)
        ]
        chain(made).catch(Note("catch")).dispatch()
    except ValueError:
        pass  # the job of a link, which is raised where it is dispatched
    finally:
        current.reset()
    records = list(reversed(store.newest()))
    assert all(record.finished for record in records)
    return [(one.total, one.pending, one.failed, one.cancelled) for one in records]


@given(links)
def test_what_runs_is_what_a_chain_of_batches_of_chains_means(elements: Links) -> None:
    meant = Meaning()
    meant.chain(elements)

    batches = run(elements)

    assert Counter(ran) == +meant.ran
    assert batches == meant.batches
