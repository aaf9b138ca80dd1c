r"""
A fake bus: it writes down what is dispatched, run now, chained and batched.

::

    def test_an_import_is_one_batch(bus_fake: BusFake) -> None:
        start_import(["a.csv", "b.csv"])

        bus_fake.assert_batched(lambda batch: batch.name == "import" and len(batch.jobs) == 2)
        bus_fake.assert_chained([Charge, Pack(order_id=7), Ship])

Other than the fake queue it takes `run_now` and `arun_now` too, and counts jobs of a batch
as the batch. A target is a job class, a listener, or a registered name.

Source: Laravel, ``Illuminate\Support\Testing\Fakes\BusFake``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from broadcaster.jobs import inline
from broadcaster.jobs.registry import RESERVED_PREFIX
from broadcaster.protocol.payload import BROADCAST_JOB
from broadcaster.testing.pushes import Pushes, counted, missing, unwanted
from broadcaster.testing.records import (
    RecordedBatch,
    are_jobs,
    chosen,
    is_job,
    jobs_of,
    listed,
    read_push,
    shown_jobs,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.batches import NewBatch
    from broadcaster.jobs.job import Job
    from broadcaster.testing.pushes import Predicate
    from broadcaster.testing.records import PushedJob


class BusFake(Pushes):
    """See the head of this module. Assertions raise `AssertionError` and say what there was."""

    def __init__(self) -> None:
        super().__init__()
        self._run: list[Job] = []

    def __enter__(self) -> Self:
        super().__enter__()
        self._stack.callback(inline.intercept(self._take_run))
        return self

    @property
    def records(self) -> list[PushedJob]:
        """Everything that was dispatched, in order; of batches nothing, of chains the head."""
        return [one for one in self._taken if one.batch_id is None]

    @property
    def batches(self) -> list[RecordedBatch]:
        """The batches that were dispatched, in order."""
        return [self._batch(batch) for batch in self._kept]

    @property
    def chains(self) -> list[tuple[Job, ...]]:
        """The chains that were dispatched, in order, their first links included."""
        heads = [one for one in self.records if one.payload.chain is not None]
        return [(one.job, *one.chain) for one in heads if one.job is not None]

    def clear(self) -> None:
        """Forget what was taken."""
        super().clear()
        self._run.clear()

    def wants(self, pushed: PushedJob) -> bool:
        """See `broadcaster.testing.application.Recorder`."""
        return pushed.name != BROADCAST_JOB and super().wants(pushed)

    def dispatched(self, target: object = None, predicate: Predicate | None = None) -> list[Any]:
        """Return what was dispatched or run now, of `target` or all."""
        queued = [one.subject for one in self._queued(target, predicate)]
        return [*queued, *self._now(target, predicate)]

    def assert_dispatched(
        self, target: object, predicate: Predicate | None = None, *, times: int | None = None
    ) -> None:
        """Fail unless `target` was dispatched, or run now, and `predicate` holds."""
        __tracebackhide__ = True
        found = self._found(target, predicate)
        if times is not None:
            counted("dispatched", title_of(target), times, found)
        elif not found:
            same = [] if predicate is None else self._found(target, None)
            missing("dispatched", target, [*self.records, *self._run], refused=same)

    def assert_dispatched_times(self, target: object, times: int) -> None:
        """Fail unless `target` was dispatched, or run now, exactly `times` times."""
        __tracebackhide__ = True
        self.assert_dispatched(target, times=times)

    def assert_dispatched_once(self, target: object) -> None:
        """Fail unless `target` was dispatched, or run now, exactly once."""
        __tracebackhide__ = True
        self.assert_dispatched(target, times=1)

    def assert_not_dispatched(self, target: object, predicate: Predicate | None = None) -> None:
        """Fail if `target` was dispatched or run now."""
        __tracebackhide__ = True
        found = self._found(target, predicate)
        unwanted(f"{title_of(target)} was dispatched, and should not have been", found)

    def assert_nothing_dispatched(self) -> None:
        """Fail if anything was dispatched or run now; batches are asked for by themselves."""
        __tracebackhide__ = True
        found = [*self.records, *self._run]
        unwanted("jobs were dispatched, and none should have been", found)

    def assert_dispatched_now(
        self, target: object, predicate: Predicate | None = None, *, times: int | None = None
    ) -> None:
        """Fail unless `target` was run by `run_now` or `arun_now`."""
        __tracebackhide__ = True
        found = self._now(target, predicate)
        if times is not None:
            counted("run now", title_of(target), times, found)
        elif not found:
            there = listed("run were:", self._run, "nothing was run now")
            raise AssertionError(f"{title_of(target)} was not run now; {there}")

    def assert_not_dispatched_now(self, target: object, predicate: Predicate | None = None) -> None:
        """Fail if `target` was run by `run_now` or `arun_now`."""
        __tracebackhide__ = True
        found = self._now(target, predicate)
        unwanted(f"{title_of(target)} was run now, and should not have been", found)

    def assert_chained(self, chain: Sequence[object]) -> None:
        """
        Fail unless these jobs were dispatched as a chain; a list in it is a batch.

        Args:
            chain: jobs that are equal to the links, their classes, or functions that say so.
        """
        __tracebackhide__ = True
        if not any(are_jobs(jobs, chain) for jobs in self.chains):
            shown = [shown_jobs(jobs) for jobs in self.chains]
            there = listed("chains were:", shown, "there was no chain")
            raise AssertionError(f"the chain {shown_jobs(chain)} was not dispatched; {there}")

    def assert_nothing_chained(self) -> None:
        """Fail if a chain was dispatched."""
        __tracebackhide__ = True
        found = [shown_jobs(jobs) for jobs in self.chains]
        unwanted("chains were dispatched, and none should have been", found)

    def assert_dispatched_without_chain(
        self, target: object, predicate: Predicate | None = None
    ) -> None:
        """Fail unless `target` was dispatched with nothing after it."""
        __tracebackhide__ = True
        if not any(not one.chain for one in self._queued(target, predicate)):
            missing("dispatched", target, self.records, where=" without a chain")

    def assert_batched(self, wanted: Callable[[RecordedBatch], object] | Sequence[object]) -> None:
        """
        Fail unless such a batch was dispatched.

        Args:
            wanted: says whether a batch is meant; or its jobs, see `assert_chained`.
        """
        __tracebackhide__ = True
        batches = self.batches
        if callable(wanted):
            found, title = any(wanted(batch) for batch in batches), "no batch fulfils the predicate"
        else:
            found = any(are_jobs(batch.jobs, wanted) for batch in batches)
            title = f"no batch of {shown_jobs(wanted)} was dispatched"
        if not found:
            raise AssertionError(f"{title}; {listed('there were:', batches, 'there was none')}")

    def assert_batch_count(self, count: int) -> None:
        """Fail unless exactly `count` batches were dispatched."""
        __tracebackhide__ = True
        counted("dispatched", "a batch", count, self.batches)

    def assert_nothing_batched(self) -> None:
        """Fail if a batch was dispatched."""
        __tracebackhide__ = True
        unwanted("batches were dispatched, and none should have been", self.batches)

    def _found(self, target: object, predicate: Predicate | None) -> list[PushedJob | Job]:
        return [*self._queued(target, predicate), *self._now(target, predicate)]

    def _queued(self, target: object, predicate: Predicate | None) -> list[PushedJob]:
        return self.records if target is None else chosen(self.records, target, predicate)

    def _now(self, target: object, predicate: Predicate | None) -> list[Job]:
        return [
            job
            for job in self._run
            if (target is None or _is_target(job, target)) and (predicate is None or predicate(job))
        ]

    def _take_run(self, job: Job) -> bool:
        taken = self._selects(partial(_is_target, job))
        if taken:
            self._run.append(job)
        return taken

    def _batch(self, batch: NewBatch) -> RecordedBatch:
        mine = [one for one in self._taken if one.batch_id == batch.id]
        jobs = [job for one in mine for job in (one.job, *one.chain)]
        kept = batch.options.items()
        return RecordedBatch(
            id=batch.id,
            name=batch.name,
            jobs=tuple(job for job in jobs if job is not None),
            options={word: value for word, value in kept if not word.startswith(RESERVED_PREFIX)},
            allow_failures=batch.allow_failures,
            callbacks={
                moment: jobs_of([read_push(new, "").payload for new in called])
                for moment, called in batch.callbacks.items()
            },
        )


def _is_target(job: Job, target: object) -> bool:
    if isinstance(target, str):
        return job.options.name == target
    return isinstance(target, type) and is_job(job, target)
